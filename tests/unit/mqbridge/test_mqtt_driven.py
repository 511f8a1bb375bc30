"""The driven MQTT client, bytes in and bytes out: when it reads, when it pings, and when it takes the broker for gone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from mqbridge.mqtt.driven import BufferedSocket, DrivenClient, KeepAlive
from mqbridge.mqtt.packets import Publish, decode_publish, encode_publish

KEEP_ALIVE_S = 60
_CONNACK = b"\x20\x03\x00\x00\x00"
_PINGREQ, _PINGRESP = b"\xc0\x00", b"\xd0\x00"
_PUBLISH, _PUBREC, _PUBREL, _PUBCOMP, _DISCONNECT = 0x30, 0x50, 0x62, 0x70, 0xE0


class Harness:
    """A client on one end of a pair of sockets, the test in the broker's place on the other, and a clock that the test sets."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.now = 1_000.0
        self.room = 1_000_000
        self.received: list[Publish] = []
        self.is_disconnected = False
        self.client = DrivenClient(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.clock = lambda: self.now
        # paho has no public way to give it a connection
        self.client._create_socket_connection = lambda: self.near  # type: ignore[method-assign]
        self.client.on_received = self.received.append
        self.client.has_room_for = lambda _publish: len(self.received) < self.room
        self.client.on_disconnect = lambda *_: setattr(self, "is_disconnected", True)
        self.client.connect("broker", keepalive=KEEP_ALIVE_S)
        self.client.write_out()
        self.sent()
        self.says(_CONNACK)

    def says(self, data: bytes) -> None:
        """Have the broker say something, and the client drive once."""
        self.far.sendall(data)
        self.drive()

    def drive(self, *, after_s: float = 0.0) -> bool:
        self.now += after_s
        return self.client.drive(0.0)

    def sent(self) -> bytes:
        """Return what the client has sent since the last call."""
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""

    def unread_bytes(self) -> int:
        """Return how much the client has not taken out of its socket."""
        try:
            return len(self.near.recv(1 << 20, socket.MSG_PEEK))
        except BlockingIOError:
            return 0


@pytest.fixture
def harness() -> Iterator[Harness]:
    made = Harness()
    yield made
    made.client.leave(0.0)
    made.far.close()


def _publish(number: int, *, qos: int = 1, dup: bool = False) -> bytes:
    packet_id = number if qos else 0
    return encode_publish(Publish("devices/d1", b"%d" % number, qos, False, dup, packet_id, []), is_five=True)


def _payloads(harness: Harness) -> list[int]:
    return [int(each.payload) for each in harness.received]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_nothing_is_read_while_there_is_no_room(harness: Harness, qos: int) -> None:
    harness.room = 2
    harness.says(b"".join(_publish(number, qos=qos) for number in (1, 2, 3, 4)))
    assert _payloads(harness) == [1, 2]
    harness.says(_publish(5, qos=qos))
    harness.drive()
    assert _payloads(harness) == [1, 2]
    assert harness.unread_bytes() == len(_publish(5, qos=qos))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_reading_goes_on_in_order_when_there_is_room_again(harness: Harness, qos: int) -> None:
    harness.room = 1
    harness.says(b"".join(_publish(number, qos=qos) for number in (1, 2, 3)))
    harness.says(_publish(4, qos=qos))
    harness.room = 3
    harness.drive()
    assert _payloads(harness) == [1, 2, 3]
    harness.room = 9
    harness.drive()
    harness.drive()
    assert _payloads(harness) == [1, 2, 3, 4]


def test_what_is_no_message_is_read_though_there_is_no_room(harness: Harness) -> None:
    """Or a client that comes back without room would never see its CONNACK."""
    harness.room = 0
    harness.drive(after_s=KEEP_ALIVE_S / 2)
    assert harness.sent() == _PINGREQ
    harness.says(_PINGRESP)
    assert harness.unread_bytes() == 0
    assert harness.drive(after_s=KEEP_ALIVE_S)


def test_waiting_without_room_is_no_busy_loop(harness: Harness) -> None:
    harness.room = 0
    harness.says(_publish(1))
    harness.says(_publish(2))
    begin = time.monotonic()
    assert harness.client.drive(0.05)
    assert time.monotonic() - begin >= 0.045


def test_acknowledgements_go_out_while_nothing_is_read(harness: Harness) -> None:
    harness.room = 1
    harness.says(_publish(1) + _publish(2))
    harness.client.acknowledge(1, 1)
    harness.drive()
    assert harness.sent() == b"\x40\x02\x00\x01"


def test_pings_go_on_while_nothing_is_read_and_no_answer_is_expected(harness: Harness) -> None:
    harness.room = 0
    harness.says(_publish(1))
    harness.far.sendall(_publish(2))
    for _ in range(10):
        assert harness.drive(after_s=KEEP_ALIVE_S / 2)
        assert harness.sent() == _PINGREQ
    assert not harness.is_disconnected


def test_the_connection_is_not_taken_for_dead_when_reading_goes_on(harness: Harness) -> None:
    """The answer to the last ping may be far behind, and the socket empty for a moment."""
    harness.room = 0
    harness.says(_publish(1))
    harness.drive(after_s=KEEP_ALIVE_S / 2)
    harness.drive(after_s=10 * KEEP_ALIVE_S)  # the worker was busy, and no keeper came
    harness.room = 9
    assert harness.drive()
    assert harness.drive()
    assert harness.drive(after_s=KEEP_ALIVE_S - 1)
    assert _payloads(harness) == [1]
    assert not harness.is_disconnected


def test_a_broker_that_is_gone_is_noticed_after_reading_goes_on(harness: Harness) -> None:
    harness.room = 0
    harness.says(_publish(1))
    harness.drive(after_s=3 * KEEP_ALIVE_S)
    harness.room = 9
    begin = harness.now
    while harness.drive(after_s=1.0):
        assert harness.now - begin <= 1.5 * KEEP_ALIVE_S + 2
    assert harness.is_disconnected


def test_a_silent_broker_is_noticed(harness: Harness) -> None:
    begin = harness.now
    while harness.drive(after_s=1.0):
        assert harness.now - begin <= 1.5 * KEEP_ALIVE_S + 2
    assert harness.is_disconnected
    assert harness.now - begin >= KEEP_ALIVE_S


def test_an_answered_ping_keeps_the_connection(harness: Harness) -> None:
    for _ in range(10):
        assert harness.drive(after_s=KEEP_ALIVE_S / 2)
        assert harness.sent() == _PINGREQ
        harness.says(_PINGRESP)
    assert not harness.is_disconnected


def test_what_came_while_nobody_drove_is_read_before_the_broker_is_taken_for_gone(harness: Harness) -> None:
    harness.drive(after_s=KEEP_ALIVE_S / 2)
    harness.far.sendall(_PINGRESP)
    assert harness.drive(after_s=10 * KEEP_ALIVE_S)


def test_a_connection_that_the_broker_closes_is_noticed_while_nothing_is_read(harness: Harness) -> None:
    harness.room = 0
    harness.says(_publish(1))
    harness.far.sendall(_publish(2))
    harness.far.close()
    assert not harness.drive()
    assert harness.is_disconnected


def test_qos_2_is_released_by_the_broker_after_it_was_acknowledged(harness: Harness) -> None:
    """PUBREC is the acknowledgement: until then the broker keeps the message."""
    harness.says(_publish(1, qos=2))
    assert _payloads(harness) == [1]
    assert harness.sent() == b""
    harness.client.acknowledge(1, 2)
    harness.drive()
    assert harness.sent() == bytes((_PUBREC, 2, 0, 1))
    harness.says(bytes((_PUBREL, 2, 0, 1)))
    assert harness.sent() == bytes((_PUBCOMP, 2, 0, 1))


def test_qos_2_that_is_sent_again_after_its_acknowledgement_is_no_new_message(harness: Harness) -> None:
    harness.says(_publish(1, qos=2))
    harness.client.acknowledge(1, 2)
    harness.drive()
    harness.sent()
    harness.room = 0
    harness.says(_publish(1, qos=2, dup=True))
    assert harness.sent() == bytes((_PUBREC, 2, 0, 1))
    harness.room = 9
    harness.says(bytes((_PUBREL, 2, 0, 1)) + _publish(1, qos=2))
    assert _payloads(harness) == [1, 1], "released, so its identifier is another message's"


def test_a_new_session_knows_no_old_identifiers(harness: Harness) -> None:
    harness.says(_publish(1, qos=2))
    harness.client.acknowledge(1, 2)
    harness.client.forget_session()
    harness.says(_publish(1, qos=2))
    assert _payloads(harness) == [1, 1]


def _in_background(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def test_leaving_waits_until_the_broker_has_read_all_though_much_is_unread(harness: Harness) -> None:
    """Both sides have more to say than the buffers hold, and the broker closes when it comes to DISCONNECT."""
    harness.room = 0
    harness.far.settimeout(5)
    said = bytearray()

    def broker() -> None:
        with harness.far:
            for number in range(1, 20_000):
                harness.far.sendall(_publish(number))
            while data := harness.far.recv(1 << 16):
                said.extend(data)

    thread = _in_background(broker)
    for packet_id in range(1, 60_000):
        harness.client.acknowledge(packet_id, 1)
    harness.client.leave(5.0)
    thread.join(5)
    assert said.count(b"\x40\x02") >= 59_999
    assert said[-2] == _DISCONNECT
    assert harness.is_disconnected


def test_leaving_a_broker_that_does_not_read_ends(harness: Harness) -> None:
    for packet_id in list(range(1, 60_000)) * 2:
        harness.client.acknowledge(packet_id, 1)
    begin = time.monotonic()
    harness.client.leave(0.2)
    assert 0.15 <= time.monotonic() - begin < 2


class _Pieces:
    """A socket that gives what it has in pieces, and holds bytes back as TLS does."""

    def __init__(self, data: bytes, piece_bytes: int) -> None:
        self._data, self._piece_bytes, self._at = data, piece_bytes, 0

    def recv(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + min(size, self._piece_bytes)]
        self._at += len(piece)
        return piece

    def pending(self) -> int:
        return len(self._data) - self._at

    def fileno(self) -> int:
        raise AssertionError("asked to wait though TLS holds bytes")


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 200, 1_000])
def test_packets_are_the_same_in_whatever_pieces_they_come(piece_bytes: int) -> None:
    payloads = [b"", b"x", b"y" * 130, b"z" * 3_000, b"", b"w" * 20_000]
    packets = [encode_publish(Publish("t", each, 0, False, False, 0, []), is_five=True) for each in payloads]
    data = b"".join(packets)
    connection = BufferedSocket(_Pieces(data, piece_bytes))
    found: list[bytes] = []
    while len(found) < len(packets):
        packet = connection.next_packet()
        if packet is None:
            assert connection.wait(0.0)
            connection.fill()
        else:
            found.append(decode_publish(0, connection.take(packet[1], packet[2]), is_five=True).payload)
    assert found == payloads
    with pytest.raises(ConnectionResetError):
        connection.fill()


def test_a_large_packet_in_small_pieces_takes_linear_time() -> None:
    """Copying what is there at every read would move more than 100 GB."""
    data = encode_publish(Publish("t", bytes(16 << 20), 0, False, False, 0, []), is_five=True)
    connection = BufferedSocket(_Pieces(data, 1_000))
    begin = time.process_time()
    while connection.next_packet() is None:
        connection.fill()
    assert time.process_time() - begin < 3


def test_without_a_keep_alive_nothing_is_asked_and_nobody_is_gone() -> None:
    keep_alive = KeepAlive(0, 0.0)
    assert not keep_alive.is_due(1e9)
    assert not keep_alive.is_lost(1e9)


def test_a_broker_that_never_answers_connect_is_gone() -> None:
    keep_alive = KeepAlive(10, 0.0)
    assert not keep_alive.is_lost(9.9)
    assert keep_alive.is_lost(10.0)


def test_a_second_ping_does_not_give_a_silent_broker_more_time() -> None:
    keep_alive = KeepAlive(10, 0.0)
    keep_alive.heard()
    keep_alive.asked(5.0)
    keep_alive.asked(10.0)
    assert keep_alive.is_lost(15.0)
    keep_alive.heard()
    assert not keep_alive.is_lost(100.0)
