"""The MQTT source against brokers that a test plays: when it reads, what it takes for new, and when it stays away."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mqbridge.mqtt import Publish
from mqbridge.mqtt.packets import encode_publish
from mqbridge.rules import BatchWindow, MqttInstance
from mqbridge.telemetry import Counters
from mqbridge_cli.runner import mqtt_source
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.mqtt_source import READ_CREDITS, SHORT_LIVED_IN_A_ROW, STAY_AWAY_MAX_S, MqttSource
from mqbridge_cli.runner.state import RuleState, State

_CONNACK, _CONNACK_SESSION_PRESENT = b"\x20\x03\x00\x00\x00", b"\x20\x03\x01\x00\x00"
_CONNACK_3 = b"\x20\x02\x00\x00"
_PUBACK, _DISCONNECT = 0x40, b"\xe0\x00"
CREDIT = 5
LIMIT = READ_CREDITS * CREDIT


class HangingUp:
    """A broker that lets the first client subscribe and hangs up on it, and on all others before they have said anything."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.hung_up = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            first, _ = self._listener.accept()
            with first:
                first.recv(1000)
                first.sendall(_CONNACK)
                subscribe = first.recv(1000)
                first.sendall(b"\x90\x04" + subscribe[2:4] + b"\x00\x01")
                time.sleep(0.1)
            while True:
                self.hung_up += 1
                self._listener.accept()[0].close()
        except OSError:
            return  # closed: the test is over

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)


def test_connections_that_end_before_the_subscription_are_no_duel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who duels lets the other one subscribe first; a broker that hangs up at once is only away."""
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.01)
    broker = HangingUp()
    instance = MqttInstance(instance_id="m", endpoint=f"mqtt://127.0.0.1:{broker.port}")
    state = RuleState("r")
    source = MqttSource(
        instance=instance,
        topic="devices",
        rule="r",
        flow="outbound",
        inbox=Inbox(BatchWindow(count=100, seconds=0), 1_000),
        credit=1_000,
        state=state,
        counters=Counters(),
    )
    seen = set()
    deadline = time.monotonic() + 10
    while broker.hung_up < 2 * SHORT_LIVED_IN_A_ROW and time.monotonic() < deadline:
        source.pump(0.02)
        seen.add(state.snapshot.state)
    broker.close()
    assert broker.hung_up >= 2 * SHORT_LIVED_IN_A_ROW
    assert State.RUNNING in seen
    assert State.TAKEN_OVER not in seen


class Played:
    """A source and, in the test's own thread, its broker."""

    def __init__(self, version: str = "5") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        endpoint = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self.inbox = Inbox(BatchWindow(count=100, seconds=0), CREDIT)
        self.state = RuleState("r")
        self.counters = Counters()
        self.source = MqttSource(
            instance=MqttInstance(instance_id="m", endpoint=endpoint, protocol_version=version),
            topic="devices",
            rule="r",
            flow="outbound",
            inbox=self.inbox,
            credit=CREDIT,
            state=self.state,
            counters=self.counters,
        )

    def connect(self, connack: bytes) -> None:
        """Let the source connect, and answer."""
        self.pump()
        self._broker, _ = self._listener.accept()
        self._broker.settimeout(2)
        assert self._broker.recv(1_000)[0] == 0x10, "CONNECT"
        self.says(connack)
        self.subscribe = self._broker.recv(1_000)
        assert self.subscribe[0] == 0x82

    def grant(self) -> None:
        """Answer SUBSCRIBE."""
        self.says(b"\x90\x04" + self.subscribe[2:4] + b"\x00\x01")

    def says(self, data: bytes) -> None:
        self._broker.sendall(data)
        self.pump()

    def heard(self) -> bytes:
        """Return what the source has written, up to now or to its end."""
        return self._broker.recv(1_000)

    def pump(self) -> None:
        for _ in range(3):
            self.source.pump(0.01)

    def hang_up(self) -> None:
        self._broker.close()
        self.pump()

    def items(self) -> list[Item]:
        """Return what has newly come out of the inbox."""
        return self.inbox.next_batch(time.monotonic(), at_once=True)

    def settle(self, items: list[Item]) -> None:
        self.source.settle(items)
        self.inbox.settled(len(items))

    def rule_state(self) -> State:
        return self.state.snapshot.state

    def close(self) -> None:
        self.source.stop_reading()
        self._broker.close()
        self.source.close()
        self._listener.close()


@pytest.fixture
def played() -> Iterator[Played]:
    made = Played()
    yield made
    made.close()


def _publish(*numbers: int, qos: int = 1, dup: bool = False) -> bytes:
    return b"".join(
        encode_publish(
            Publish("devices/d1", b"%d" % number, qos, False, dup, number if qos else 0, []),
            is_five=True,
        )
        for number in numbers
    )


def _numbers(items: list[Item]) -> list[int]:
    return [int(item.event["data"]["body"]) for item in items]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_broker_that_sends_on_and_on_is_read_up_to_the_limit(played: Played, qos: int) -> None:
    """Whatever the broker makes of Receive Maximum; and what is settled makes room for as much."""
    played.connect(_CONNACK)
    played.grant()
    played.says(_publish(*range(1, 51), qos=qos))
    assert played.inbox.unsettled == LIMIT
    items = played.items()
    assert _numbers(items) == list(range(1, LIMIT + 1))
    played.settle(items[:3])
    played.pump()
    assert played.inbox.unsettled == LIMIT
    assert _numbers(played.items()) == list(range(LIMIT + 1, LIMIT + 4))


def test_pump_waits_though_there_is_something_to_read(played: Played) -> None:
    played.connect(_CONNACK)
    played.says(_publish(*range(1, 51)))
    begin = time.monotonic()
    played.source.pump(0.1)
    assert 0.09 <= time.monotonic() - begin < 1


def test_acknowledgements_go_out_while_nothing_is_read(played: Played) -> None:
    played.connect(_CONNACK)
    played.says(_publish(*range(1, 51)))
    played.settle(played.items()[:2])
    assert played.heard() == bytes((_PUBACK, 2, 0, 1, _PUBACK, 2, 0, 2))


def test_what_is_sent_again_after_a_reconnect_needs_no_room_and_is_not_new(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left unread until ours is settled, it would be taken for new."""
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.0)
    played.connect(_CONNACK)
    played.says(_publish(*range(1, LIMIT + 2)))
    played.hang_up()
    played.connect(_CONNACK_SESSION_PRESENT)
    played.says(_publish(*range(1, LIMIT + 2), dup=True))
    items = played.items()
    assert _numbers(items) == list(range(1, LIMIT + 1))
    played.settle(items)
    played.pump()
    assert _numbers(played.items()) == [LIMIT + 1]


def test_a_broker_that_forgot_the_session_gives_its_identifiers_anew(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.0)
    played.connect(_CONNACK)
    played.says(_publish(1, qos=2))
    played.settle(played.items())
    played.hang_up()
    played.connect(_CONNACK)
    played.says(_publish(1, qos=2))
    assert _numbers(played.items()) == [1]


def test_a_rule_runs_when_its_sessions_messages_come_before_the_suback(played: Played) -> None:
    """A broker may put all that waited in the session in front of it, and it is read only as fast as it is sent on."""
    played.connect(_CONNACK_SESSION_PRESENT)
    assert played.rule_state() is State.STARTING
    played.says(_publish(*range(1, 51)))
    assert played.rule_state() is State.RUNNING


def test_a_rule_whose_subscription_is_refused_does_not_run(played: Played) -> None:
    played.connect(_CONNACK_SESSION_PRESENT)
    played.says(b"\x90\x04" + played.subscribe[2:4] + b"\x00\x87" + _publish(1))
    assert played.rule_state() is State.STARTING_FAILED


def test_a_connection_that_is_lost_while_nothing_is_read_is_made_again(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.0)
    played.connect(_CONNACK)
    played.grant()
    played.says(_publish(*range(1, 51)))
    played.hang_up()
    assert played.rule_state() is State.RECONNECTING
    played.connect(_CONNACK_SESSION_PRESENT)
    played.grant()
    assert played.rule_state() is State.RUNNING


def test_closing_writes_the_acknowledgements_though_much_is_unread(played: Played) -> None:
    played.connect(_CONNACK)
    played.says(_publish(*range(1, 51)))
    played.source.stop_reading()
    played.source.settle(played.items())
    closing = threading.Thread(target=played.source.close)
    closing.start()
    said = b""
    while not said.endswith(_DISCONNECT):
        said += played.heard()
    assert played.heard() == b"", "it says no more"
    closing.join(0.1)
    assert closing.is_alive(), "it waits for the broker to close"
    assert said.count(bytes((_PUBACK, 2))) == LIMIT
    played.hang_up()
    closing.join(2)
    assert not closing.is_alive()


def test_what_came_at_qos_0_and_was_not_sent_on_is_counted_when_the_source_is_closed() -> None:
    """Of QoS 1 the broker has all that is not acknowledged."""
    played = Played()
    played.connect(_CONNACK)
    played.says(_publish(1, 2, qos=0) + _publish(3))
    (first, *_) = played.items()
    played.inbox.hold([(first, 60.0)], time.monotonic())
    played.close()
    assert played.counters.snapshot() == {
        ("mqbridge_dropped_total", (("rule", "r"), ("reason", "qos0_not_kept"), ("intentional", "false"))): 1
    }


def test_a_subscription_from_when_the_rule_had_another_source_is_ended(played: Played) -> None:
    """The session has it still. What comes by it until then goes on, and no rule wants it."""
    played.connect(_CONNACK_SESSION_PRESENT)
    other = encode_publish(Publish("former/d1", b"1", 1, False, False, 9, []), is_five=True)
    played.says(other)
    unsubscribe = played.heard()
    assert unsubscribe[0] == 0xA2
    assert unsubscribe.endswith(b"\x00\x08former/#")
    played.says(other + _publish(2))
    assert [item.event["subject"] for item in played.items()] == ["former/d1", "former/d1", "devices/d1"]
    played._broker.settimeout(0.1)
    with pytest.raises(TimeoutError):
        played.heard()


def test_an_old_value_under_3_1_1_is_acknowledged_and_counted_as_dropped() -> None:
    played = Played("3.1.1")
    played.connect(_CONNACK_3)
    played.says(b"\x33\x0c\x00\x07devices\x00\x07x")  # PUBLISH, QoS 1, RETAIN
    played.pump()
    assert played.heard() == bytes((_PUBACK, 2, 0, 7))
    assert played.inbox.unsettled == 0
    (dropped,) = played.counters.snapshot()
    assert dropped[0] == "mqbridge_dropped_total"
    played.close()


def test_a_broker_that_crashes_in_a_loop_is_tried_again_every_minute(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection lasts only shortly, as in a duel of client ids."""
    monkeypatch.setattr(mqtt_source, "RECONNECT_MIN_S", 0.0)
    monkeypatch.setattr(mqtt_source, "RECONNECT_MAX_S", 0.0)
    for _ in range(SHORT_LIVED_IN_A_ROW + 3):
        played.connect(_CONNACK_SESSION_PRESENT)
        played.grant()
        played.hang_up()
    assert played.rule_state() is State.TAKEN_OVER
    monkeypatch.setattr(mqtt_source, "RECONNECT_MAX_S", 1_000.0)
    played.connect(_CONNACK_SESSION_PRESENT)
    played.grant()
    played.hang_up()
    assert f"in {STAY_AWAY_MAX_S} s" in played.state.snapshot.detail
    assert STAY_AWAY_MAX_S <= 60
