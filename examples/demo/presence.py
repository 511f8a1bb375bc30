"""The demo's status rule: its devices come and go, one is lost, one stays; and what must become of that."""

import socket
import struct
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from devstack.javatool import consume
from devstack.processes import wait_until
from examples.demo import brokers
from examples.demo.devices import DEVICES
from mqbridge.messages import StatusNotice
from mqbridge.presence import Presence, read_notice

__all__ = ["STAYS", "a_device_lost", "a_device_that_stays", "expected", "notices", "online", "records", "seen"]

LOST, STAYS = "GID_demo@@@lost", "GID_demo@@@stays"
# MQTT 3.1.1: CONNECT with a clean session, keep alive 60 s, and the client id behind it.
_CONNECT = b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack("!H", len(LOST)) + LOST.encode()

Seen = tuple[Hashable, ...]


def a_device_lost(port: int) -> None:
    """Connect, and be gone without a word, as after a power cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"\x10" + bytes([len(_CONNECT)]) + _CONNECT)
        connection.recv(4)


@contextmanager
def a_device_that_stays(port: int) -> Iterator[None]:
    """Keep a device connected."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=STAYS)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(client.is_connected, timeout_s=5)
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def expected(rounds: int) -> list[Seen]:
    """Return client id, connection and event of all that must be told, if every device connects `rounds` times and leaves as it should."""
    told: list[Seen] = [
        (f"GID_demo@@@d{number:02}", connection, event)
        for number in range(DEVICES)
        for connection in range(rounds)
        for event in ("connect", "disconnect", "tcpclean")
    ]
    return [*told, (LOST, 0, "connect"), (LOST, 0, "tcpclean"), (STAYS, 0, "connect")]


def records(rounds: int) -> int:
    """Return how many events the broker tells of: an announced end is one, and becomes two messages."""
    return DEVICES * rounds * 2 + 3


def notices(count: int) -> list[StatusNotice]:
    """Return what RocketMQ's own Java client reads."""
    found = consume(brokers.NAME_SERVER, "client_status", count, timeout_s=15, grace_s=1)
    return [read_notice(message["body"]) for message in found]


def seen(told: list[StatusNotice]) -> list[Seen]:
    """Return client id, connection (counted by client) and event of each notice."""
    connections: dict[str, list[str]] = {}
    found: list[Seen] = []
    for notice in told:
        channels = connections.setdefault(notice.client_id, [])
        if notice.channel_id not in channels:
            channels.append(notice.channel_id)
        found.append((notice.client_id, channels.index(notice.channel_id), notice.event_type))
    return found


def online(told: list[StatusNotice]) -> list[str]:
    """Return who is online by the notices."""
    presence = Presence()
    for notice in told:
        presence.add(notice)
    return [client.client_id for client in presence.online()]
