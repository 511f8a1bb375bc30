"""The source of a status rule against a broker that the test plays: what it takes, what it leaves, and what comes twice."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mqbridge.mqtt import Publish
from mqbridge.mqtt.packets import encode_publish
from mqbridge.rules import BatchWindow, load
from mqbridge.telemetry import Counters
from mqbridge_cli.runner import mqtt_source
from mqbridge_cli.runner.connection_journal import ConnectionJournal
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.state import RuleState
from mqbridge_cli.runner.status_source import StatusSource
from tests.unit.cli.test_mqtt_source import CREDIT, Played
from tests.unit.mqbridge.support import document

CONNACK, CONNACK_SESSION_PRESENT = b"\x20\x03\x00\x00\x00", b"\x20\x03\x01\x00\x00"
LOG = "$SYS/broker/log/N"
BEGIN = "1795289695: New client connected from 127.0.0.1:50650 as GID_x@@@d1 (p2, c1, k60)."
END = "1795289699: Client GID_x@@@d1 closed its connection."


class PlayedStatus(Played):
    """A status source, and its broker."""

    def __init__(self, presence_from: dict[str, Any], version: str = "5", journal: Path | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        whole = document(
            StatusRules=[{"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "t"}}]
        )
        whole["Instances"]["Mqtt"][0] |= {
            "Endpoint": f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}",
            "ProtocolVersion": version,
            "PresenceFrom": presence_from,
        }
        rules = load(whole)
        instance = rules.mqtt["mqtt-local"]
        assert instance.presence_from is not None
        self.inbox = Inbox(BatchWindow(count=100, seconds=0), CREDIT)
        self.state = RuleState("presence")
        self.counters = Counters()
        self.source: Any = StatusSource(
            instance=instance,
            presence_from=instance.presence_from,
            rule=rules.status[0],
            inbox=self.inbox,
            credit=CREDIT,
            state=self.state,
            counters=self.counters,
            journal=ConnectionJournal(journal) if journal is not None else None,
        )

    def publishes(self, packet_id: int, topic: str, payload: str, *, dup: bool = False, is_five: bool = True) -> None:
        publish = Publish(
            topic=topic,
            payload=payload.encode(),
            qos=1,
            retain=False,
            dup=dup,
            packet_id=packet_id,
            user_properties=[],
        )
        self.says(encode_publish(publish, is_five=is_five))

    def comes_back(self) -> None:
        """Have the source lose its connection and make another; the broker has its session still."""
        self.hang_up()
        self.connect(CONNACK_SESSION_PRESENT)

    def acknowledged(self) -> list[int]:
        """Return the packet identifiers of what the source has acknowledged by now."""
        self._broker.settimeout(0.2)
        try:
            data = self.heard()
        except TimeoutError:
            return []
        found = []
        while data:
            assert data[0] == 0x40
            found.append(int.from_bytes(data[2:4], "big"))
            data = data[2 + data[1] :]
        return found


def events(items: list[Item]) -> list[list[str]]:
    return [[each["eventType"] for each in json.loads(item.event["data"]["body"])["notices"]] for item in items]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedStatus]:
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.0)
    broker = PlayedStatus({"Broker": "Mosquitto"}, journal=tmp_path / "presence.connections")
    broker.connect(CONNACK)
    yield broker
    broker.close()


def test_lines_about_clients_are_events_in_a_lane_of_the_client(played: PlayedStatus) -> None:
    played.publishes(1, LOG, BEGIN)
    played.publishes(2, LOG, END)
    items = played.items()
    assert events(items) == [["connect"], ["tcpclean"]]
    assert {item.lane for item in items} == {"GID_x@@@d1"}
    assert played.acknowledged() == [], "not before RocketMQ has them"
    played.settle(items)
    assert played.acknowledged() == [1, 2]


def test_other_lines_and_other_topics_are_acknowledged_at_once(played: PlayedStatus) -> None:
    played.publishes(1, LOG, "1795289695: New connection from 127.0.0.1:50650 on port 31883.")
    played.publishes(2, "devices/d1", BEGIN)
    assert played.items() == []
    assert played.acknowledged() == [1, 2]


def test_a_line_that_is_sent_again_while_it_is_under_way_is_not_taken_twice(played: PlayedStatus) -> None:
    played.publishes(1, LOG, BEGIN)
    (first,) = played.items()
    played.comes_back()
    played.publishes(1, LOG, BEGIN, dup=True)
    assert played.items() == []
    played.settle([first])
    assert played.acknowledged() == [1]


def test_a_line_that_is_sent_again_later_says_the_same(played: PlayedStatus) -> None:
    """The acknowledgement was lost with the connection."""
    for packet_id, line in ((1, BEGIN), (2, END)):
        played.publishes(packet_id, LOG, line)
    first = played.items()
    played.settle(first)
    played.comes_back()
    for packet_id, line in ((1, BEGIN), (2, END)):
        played.publishes(packet_id, LOG, line, dup=True)
    again = played.items()
    assert [item.event["data"]["body"] for item in again] == [item.event["data"]["body"] for item in first]


def test_events_on_topics_are_taken_as_they_are() -> None:
    played = PlayedStatus({"Topics": ["presence/+"]}, version="3.1.1")
    played.connect(b"\x20\x02\x00\x00")
    for packet_id, payload in enumerate(['{"event":"client.connected","clientid":"GID_x@@@d1"}', "no event"], 1):
        played.publishes(packet_id, "presence/x", payload, is_five=False)
    items = played.items()
    assert [item.event["data"]["body"] for item in items] == [
        '{"event":"client.connected","clientid":"GID_x@@@d1"}',
        "no event",
    ]
    assert [item.lane for item in items] == ["GID_x@@@d1", "presence/x"]
    played.close()
