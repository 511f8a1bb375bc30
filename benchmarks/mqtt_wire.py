"""MQTT 3.1.1 by hand, QoS 1: a publisher and a subscriber that cost the machine next to nothing, so that the peers have it."""

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

__all__ = ["Publisher", "Subscriber"]

_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90
_QOS_1 = 0x02
_SHORT = struct.Struct(">H")
_PUBACK_BYTES = 4
_PACKET_IDS = 65_535
_WINDOW = 60_000  # fewer than there are packet identifiers
_CHUNK = 256
_READ_BYTES = 1 << 20
_TIMEOUT_S = 30.0


class _Connection:
    def __init__(self, port: int, client_id: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Clean session, no keep-alive.
        self._socket.sendall(_packet(_CONNECT, _text("MQTT") + b"\x04\x02\x00\x00" + _text(client_id)))
        answer = self._socket.recv(4)
        if answer != bytes((_CONNACK, 2, 0, 0)):
            raise ConnectionError(f"expected an accepting CONNACK, got {answer.hex()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


class Publisher(_Connection):
    """Publishes a burst and waits for every PUBACK."""

    def burst(self, messages: Sequence[tuple[str, bytes]]) -> float:
        """Publish (topic, payload) pairs at QoS 1, as fast as the broker takes them; return time.monotonic of the first byte.

        The packets are made before that.
        """
        packets = [
            _packet(_PUBLISH | _QOS_1, _text(topic) + _SHORT.pack(1 + at % _PACKET_IDS) + payload)
            for at, (topic, payload) in enumerate(messages)
        ]
        chunks = [b"".join(packets[at : at + _CHUNK]) for at in range(0, len(packets), _CHUNK)]
        self._socket.setblocking(False)
        begin = time.monotonic()
        unsent = b""
        sent = acknowledged_bytes = 0
        while acknowledged_bytes < len(packets) * _PUBACK_BYTES:
            has_room = sent * _CHUNK - acknowledged_bytes // _PUBACK_BYTES < _WINDOW
            if not unsent and sent < len(chunks) and has_room:
                unsent = chunks[sent]
                sent += 1
            readable, writable, _ = select.select([self._socket], [self._socket] if unsent else [], [], _TIMEOUT_S)
            if not readable and not writable:
                raise TimeoutError("the MQTT broker acknowledges no more")
            if writable:
                unsent = unsent[self._socket.send(unsent) :]
            if readable:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ConnectionError("the MQTT broker closed the connection")
                acknowledged_bytes += len(data)
        return begin


class Subscriber(_Connection):
    """Subscribes at QoS 1 and keeps the payloads."""

    def __init__(self, port: int, client_id: str, topic_filter: str) -> None:
        super().__init__(port, client_id)
        self.payloads: list[bytes] = []
        self.last_arrival = 0.0  # time.monotonic
        self._buffer = bytearray()
        self._socket.sendall(_packet(_SUBSCRIBE, _SHORT.pack(1) + _text(topic_filter) + b"\x01"))
        answer = self._socket.recv(5)
        if answer != bytes((_SUBACK, 3, 0, 1, 1)):
            raise ConnectionError(f"expected a SUBACK that grants QoS 1, got {answer.hex()}")

    def receive(self, count: int, *, idle_s: float) -> int:
        """Receive until `count` payloads are there in all, or nothing comes for `idle_s`; return how many there are."""
        return self.receive_until(lambda: len(self.payloads) >= count, idle_s=idle_s)

    def receive_until(self, done: Callable[[], bool], *, idle_s: float) -> int:
        """Receive until `done()`, or nothing comes for `idle_s`; return how many there are."""
        self._socket.settimeout(idle_s)
        while not done():
            try:
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                break
            if not data:
                raise ConnectionError("the MQTT broker closed the connection")
            acknowledgements = self._take(data)
            if acknowledgements:
                self.last_arrival = time.monotonic()
                self._socket.sendall(acknowledgements)
        return len(self.payloads)

    def _take(self, data: bytes) -> bytes:
        buffer = self._buffer
        buffer += data
        acknowledgements: list[bytes] = []
        at = 0
        while (packet := _whole_packet(buffer, at)) is not None:
            start, end = packet
            if buffer[at] & 0xF0 == _PUBLISH:
                topic_end = start + 2 + _SHORT.unpack_from(buffer, start)[0]
                if buffer[at] & 0x06:
                    acknowledgements.append(b"\x40\x02" + buffer[topic_end : topic_end + 2])
                    topic_end += 2
                self.payloads.append(bytes(buffer[topic_end:end]))
            at = end
        del buffer[:at]
        return b"".join(acknowledgements)


def _whole_packet(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Return where the content of the packet at `at` begins and ends; None if it is not all there."""
    length = shift = 0
    cursor = at + 1
    while cursor < len(buffer):
        byte = buffer[cursor]
        length |= (byte & 0x7F) << shift
        cursor, shift = cursor + 1, shift + 7
        if byte < 0x80:
            return (cursor, cursor + length) if cursor + length <= len(buffer) else None
    return None


def _packet(kind: int, content: bytes) -> bytes:
    length = len(content)
    header = bytearray((kind,))
    while True:
        length, low = length >> 7, length & 0x7F
        header.append(low | 0x80 if length else low)
        if not length:
            return bytes(header) + content


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _SHORT.pack(len(encoded)) + encoded
