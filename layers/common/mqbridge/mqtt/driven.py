"""A paho client that is driven by whoever waits for its messages, without a thread of its own, at a fraction of the cost.

paho makes the connection, keeps it alive, subscribes, and receives QoS 2. What happens for every message is short-cut: a socket in
between reads ahead and gathers what is written; PUBLISH packets of QoS 0 and 1, the publishing of all three and the acknowledgements
are encoded and decoded by `packets`. (Measured: 180 us of CPU a message with paho's own loop in a thread of its own; its system calls
for each packet and acknowledgement handed the interpreter's lock to and fro.)
"""

import contextlib
import select
import ssl
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import LogLevel, MQTTErrorCode, MQTTProtocolVersion

from mqbridge.mqtt.packets import (
    MalformedPacket,
    Publish,
    decode_acknowledgement,
    decode_publish,
    encode_publish,
    frame_length,
)

__all__ = ["BufferedSocket", "DrivenClient"]

_READ_BYTES = 256 * 1024
# A broker that never pauses must not keep the worker from sending on what has come.
_PACKETS_AT_ONCE = 2_000
_UPKEEP_S = 1.0

_PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 0x30, 0x40, 0x50, 0x62, 0x70
_FAILURE = 0x80
# Gathered bytes beyond this are written before more is gathered.
_WRITE_BYTES = 256 * 1024
_OK = MQTTErrorCode.MQTT_ERR_SUCCESS


class BufferedSocket:
    """What paho uses of a socket. Reads are served from a buffer that large reads fill; writes are gathered until `flush`."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self._incoming = b""
        self._at = 0
        self._outgoing = bytearray()
        self._not_now = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

    def fill(self) -> None:
        """Read what the socket has.

        Raises:
            BlockingIOError, SSLWantReadError: it has nothing yet.
            OSError: the connection is lost; also when the peer closed it.
        """
        data = self._plain.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("closed by the broker")
        self._incoming = self._incoming[self._at :] + data
        self._at = 0

    def next_packet(self) -> tuple[int, int, int] | None:
        """Return (first byte, begin behind the fixed header, end) of the packet that is next, if all of it is here."""
        if self._at >= len(self._incoming):
            return None
        begin, end = frame_length(self._incoming, self._at, len(self._incoming))
        return (self._incoming[self._at], begin, end) if begin and end <= len(self._incoming) else None

    def take(self, begin: int, end: int) -> bytes:
        """Return bytes of the buffer and go on behind them."""
        self._at = end
        return self._incoming[begin:end]

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of the buffer, for paho; it reads only when a whole packet is there."""
        data = self._incoming[self._at : self._at + size]
        self._at += len(data)
        if not data:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        """Take bytes for the next `flush`."""
        self._outgoing += data
        return len(data)

    @property
    def unsent_bytes(self) -> int:
        """How much waits to be written."""
        return len(self._outgoing)

    def flush(self) -> None:
        """Write what was gathered, as much as goes without blocking."""
        while self._outgoing:
            try:
                sent = self._plain.send(self._outgoing)
            except self._not_now:
                return
            del self._outgoing[:sent]

    def wait(self, timeout_s: float) -> bool:
        """Wait for something to read, and until then write what waits; tell whether there is something."""
        held = getattr(self._plain, "pending", None)  # TLS may hold bytes that the descriptor does not show
        if held is not None and held():
            return True
        poll = select.poll()
        poll.register(self._plain.fileno(), select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        return any(event & ~select.POLLOUT for _, event in poll.poll(timeout_s * 1000))

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return int(self._plain.fileno())

    def setblocking(self, flag: bool) -> None:
        """As the socket's."""
        self._plain.setblocking(flag)

    def close(self) -> None:
        """Close the socket; what was gathered goes out first, if it can."""
        with contextlib.suppress(OSError):  # the connection is lost, which is why it is being closed
            self.flush()
        self._plain.close()


class DrivenClient(Client):
    """paho's client on a `BufferedSocket`. Call `drive` again and again; not for several threads at once.

    `on_received` gets every PUBLISH of QoS 0 and 1; those of QoS 2 come to `on_message`, as paho delivers them. `on_acknowledged` gets
    packet identifier and reason code of every acknowledgement of what was sent by `send_publish`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_received: Callable[[Publish], None] = lambda _publish: None
        self.on_acknowledged: Callable[[int, int], None] = lambda _packet_id, _reason: None
        # With an "external event loop" paho queues packets and leaves the writing to us.
        self.on_socket_register_write = _leave_it_to_drive
        self._is_five = options.get("protocol") == MQTTProtocolVersion.MQTTv5
        self._next_upkeep = 0.0

    def _create_socket(self) -> Any:  # paho has no public way to give it a socket
        return BufferedSocket(super()._create_socket())

    def drive(self, timeout_s: float) -> bool:
        """Write what waits, wait up to `timeout_s` for packets, and handle them; tell whether there is a connection."""
        connection: Any = self.socket()
        if connection is None or not self.write_out():
            return False
        try:
            if connection.next_packet() is None and connection.wait(timeout_s):
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                    connection.fill()
            is_alive = self._handle_packets(connection)
        except (OSError, MalformedPacket) as error:
            return self._lost(error)
        now = time.monotonic()
        if is_alive and now >= self._next_upkeep:
            self._next_upkeep = now + _UPKEEP_S
            is_alive = self.loop_misc() == _OK
        return is_alive and self.write_out()

    def acknowledge(self, packet_id: int, qos: int) -> None:
        """Queue the acknowledgement of a PUBLISH; it goes out with the next `write_out` or `drive`."""
        connection: Any = self.socket()
        if qos == 1 and connection is not None:
            connection.send(bytes((_PUBACK, 2, packet_id >> 8, packet_id & 0xFF)))
        else:
            self.ack(packet_id, qos)

    def send_publish(self, publish: Publish) -> None:
        """Queue a PUBLISH whose packet identifier the caller has chosen; it goes out with the next `write_out` or `drive`.

        Raises:
            ValueError: it cannot be encoded; see `encode_publish`.
        """
        packet = encode_publish(publish, is_five=self._is_five)
        connection: Any = self.socket()
        if connection is not None:  # else the caller sees that the connection is lost
            connection.send(packet)
            if connection.unsent_bytes > _WRITE_BYTES:
                self.write_out()

    @property
    def has_unsent(self) -> bool:
        """Whether something waits to be written."""
        connection: Any = self.socket()
        return self.want_write() or (connection is not None and connection.unsent_bytes > 0)

    def write_out(self) -> bool:
        """Write everything that waits, as far as goes without blocking; tell whether there still is a connection."""
        if self.want_write() and self.loop_write() != _OK:
            return False
        connection: Any = self.socket()
        if connection is None:
            return False
        with contextlib.suppress(OSError):  # the next read meets the same, and handles it
            connection.flush()
        return True

    def _handle_packets(self, connection: BufferedSocket) -> bool:
        for _ in range(_PACKETS_AT_ONCE):
            packet = connection.next_packet()
            if packet is None:
                return True
            first, begin, end = packet
            if first & 0xF0 == _PUBLISH and first & 0x06 != 0x04:
                self.on_received(decode_publish(first & 0x0F, connection.take(begin, end), is_five=self._is_five))
            elif first in (_PUBACK, _PUBREC, _PUBCOMP):
                self._acknowledged(connection, first, *decode_acknowledgement(connection.take(begin, end)))
            elif self.loop_read() != _OK or self.socket() is None:
                return False
        return True

    def _acknowledged(self, connection: BufferedSocket, kind: int, packet_id: int, reason: int) -> None:
        if kind == _PUBREC and reason < _FAILURE:
            connection.send(bytes((_PUBREL, 2, packet_id >> 8, packet_id & 0xFF)))
        else:
            self.on_acknowledged(packet_id, reason)

    def _lost(self, error: Exception) -> bool:
        # As paho does when it meets the same while reading: closes the socket, calls on_disconnect.
        self._easy_log(LogLevel.MQTT_LOG_ERR, "connection lost: %s", error)
        self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        return False


def _leave_it_to_drive(client: Client, userdata: Any, connection: Any) -> None:
    del client, userdata, connection
