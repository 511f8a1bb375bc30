"""A sink that does not keep up, on a real mosquitto: little is held, the connection lives, and in the end all of it arrives."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from mqbridge.handler import Bridge
from mqbridge.rules import BatchWindow, MqttInstance, Tls, load
from mqbridge.telemetry import Counters
from mqbridge.testing import Captured
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.mqtt_source import READ_CREDITS, MqttSource
from mqbridge_cli.runner.state import RuleState, State
from mqbridge_cli.runner.worker import Worker
from tests.certificates import Authority
from tests.integration.running_bridge import connected, publish_all
from tests.integration.secured import SecuredMosquitto

CREDIT = 100
LIMIT = READ_CREDITS * CREDIT
BACKLOG = 12_000
PAYLOAD_BYTES = 1_000  # so the backlog is more than the sockets' buffers hold
KEEP_ALIVE_S = 2
LONGER_THAN_THE_BROKER_WAITS_S = 2 * KEEP_ALIVE_S  # it ends a connection after 1.5 times the keep-alive
LOGIN = ("bridge", "password-planted")


class Sink:
    """A handler that blocks, or that answers that all of it failed, until it is opened."""

    def __init__(self, *, blocks: bool) -> None:
        self.arrived: Counter[int] = Counter()
        self._blocks = blocks
        self._is_open = threading.Event()

    def open(self) -> None:
        self._is_open.set()

    def __call__(self, events: Any, context: Any) -> Any:
        del context
        if self._blocks:
            self._is_open.wait(30)
        if not self._is_open.is_set():
            failures = [{"itemIdentifier": each["id"], "retryAfter": 0.2} for each in events]
            return {"batchItemFailures": failures}
        self.arrived.update(int(json.loads(each["data"]["body"])["n"]) for each in events)
        return {"batchItemFailures": []}


class Running:
    """One rule's source and worker in this process, and the keeper in the test's own waiting."""

    def __init__(self, instance: MqttInstance, sink: Sink) -> None:
        self.inbox = Inbox(BatchWindow(count=50, seconds=0), CREDIT)
        self.reconnects: list[str] = []
        self.state = RuleState("out", self.reconnects.append)
        self.source = MqttSource(
            instance=instance,
            topic="devices",
            rule="out",
            flow="outbound",
            inbox=self.inbox,
            credit=CREDIT,
            state=self.state,
            counters=Counters(),
            keep_alive_s=KEEP_ALIVE_S,
        )
        self.worker = Worker("out", self.source, self.inbox, sink, Bridge(load({"Instances": {}}), Captured()))
        self.most_unsettled = 0

    def keep_up(self) -> bool:
        """Do as the runner's keeper does, and look at what is held."""
        self.worker.keep_up()
        self.most_unsettled = max(self.most_unsettled, self.inbox.unsettled)
        return False

    def keep_up_for(self, seconds: float) -> None:
        """Keep up, and see that the rule runs all the time."""
        deadline = time.monotonic() + seconds
        wait_until(lambda: self.keep_up() or time.monotonic() >= deadline, timeout_s=2 * seconds)
        assert self.state.snapshot.state is State.RUNNING, self.state.snapshot
        assert self.reconnects == []


@contextmanager
def _running(instance: MqttInstance, sink: Sink) -> Iterator[Running]:
    running = Running(instance, sink)
    running.worker.start()
    try:
        assert wait_until(lambda: running.state.snapshot.state is State.RUNNING, timeout_s=5)
        yield running
    finally:
        sink.open()
        running.source.stop_reading()
        running.worker.drain()
        running.worker.join(5)
        running.source.close()


def _instance(mosquitto: Mosquitto, **settings: Any) -> MqttInstance:
    return MqttInstance(**{"instance_id": "m", "endpoint": mosquitto.url, **settings})


def _publish_backlog(mosquitto: Mosquitto, qos: int, login: tuple[str, str] | None = None) -> None:
    with connected(mosquitto, login=login) as (device, _):
        publish_all(device, [(f"devices/d{n % 7}", _payload(n), qos) for n in range(BACKLOG)])


def _payload(number: int) -> bytes:
    return json.dumps({"n": number, "note": "x" * PAYLOAD_BYTES}).encode()


def _once_each() -> Counter[int]:
    return Counter(range(BACKLOG))


@pytest.mark.parametrize(
    ("version", "qos", "blocks", "held"),
    [
        ("5", 0, False, LIMIT),
        ("5", 1, True, CREDIT),
        ("5", 1, False, CREDIT),
        ("5", 2, True, CREDIT),
        ("3.1.1", 1, True, LIMIT),
        ("3.1.1", 1, False, LIMIT),
        ("3.1.1", 2, False, LIMIT),
    ],
)
def test_a_backlog_waits_at_the_broker(mosquitto: Mosquitto, version: str, qos: int, blocks: bool, held: int) -> None:
    """However the sink holds things up, and whether the broker knows a Receive Maximum or not."""
    sink = Sink(blocks=blocks)
    with _running(_instance(mosquitto, protocol_version=version, subscribe_qos=max(1, qos)), sink) as running:
        _publish_backlog(mosquitto, qos)
        running.keep_up_for(LONGER_THAN_THE_BROKER_WAITS_S)
        assert running.most_unsettled == held
        sink.open()
        assert wait_until(lambda: running.keep_up() or sink.arrived.total() >= BACKLOG, timeout_s=20)
        running.keep_up_for(0.5)
    assert sink.arrived == _once_each()
    assert running.most_unsettled <= LIMIT


def test_a_backlog_waits_at_the_broker_under_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    secured = SecuredMosquitto.made(tmp_path / "mosquitto", authority, authority.issue("127.0.0.1"), dict([LOGIN]))
    monkeypatch.setenv("MQTT_PASSWORD", LOGIN[1])
    sink = Sink(blocks=False)
    with secured.broker:
        instance = _instance(
            secured.broker,
            endpoint=secured.tls,
            protocol_version="3.1.1",
            tls=Tls(ca_file=str(authority.path)),
            username=LOGIN[0],
            password="env:MQTT_PASSWORD",
        )
        with _running(instance, sink) as running:
            _publish_backlog(secured.broker, 1, LOGIN)
            running.keep_up_for(LONGER_THAN_THE_BROKER_WAITS_S)
            assert running.most_unsettled == LIMIT
            sink.open()
            assert wait_until(lambda: running.keep_up() or sink.arrived.total() >= BACKLOG, timeout_s=20)
    assert sink.arrived == _once_each()


def test_a_broker_that_goes_away_while_nothing_is_read_is_noticed(mosquitto: Mosquitto) -> None:
    """And nothing is lost; what it sends again, and was settled before that was read, comes twice."""
    sink = Sink(blocks=False)
    with _running(_instance(mosquitto, protocol_version="3.1.1"), sink) as running:
        _publish_backlog(mosquitto, 1)
        assert wait_until(lambda: running.keep_up() or running.inbox.unsettled >= LIMIT, timeout_s=5)
        mosquitto.stop()
        assert wait_until(lambda: running.state.snapshot.state is State.RECONNECTING, timeout_s=5)
        mosquitto.start()
        sink.open()
        assert wait_until(lambda: running.keep_up() or len(sink.arrived) >= BACKLOG, timeout_s=20)
        assert running.most_unsettled <= LIMIT
    assert set(sink.arrived) == set(range(BACKLOG))


def test_stopping_under_a_backlog_loses_no_acknowledgement(mosquitto: Mosquitto) -> None:
    """What was settled does not come again, and the rest is for the next start."""
    instance = _instance(mosquitto, protocol_version="3.1.1")
    first = Running(instance, Sink(blocks=True))
    while first.state.snapshot.state is not State.RUNNING:
        first.source.pump(0.1)
    _publish_backlog(mosquitto, 1)
    while first.inbox.unsettled < LIMIT:
        first.source.pump(0.1)
    settled = first.inbox.next_batch(time.monotonic(), at_once=True)
    first.source.stop_reading()
    first.source.settle(settled)
    begin = time.monotonic()
    first.source.close()
    assert time.monotonic() - begin < 2
    sink = Sink(blocks=False)
    sink.open()
    with _running(instance, sink) as second:
        assert wait_until(lambda: sink.arrived.total() >= BACKLOG - len(settled), timeout_s=20)
        second.keep_up_for(0.5)
    assert sink.arrived == _once_each() - Counter(int(json.loads(each.event["data"]["body"])["n"]) for each in settled)


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_read_and_not_settled_comes_again_to_the_next(mosquitto: Mosquitto, qos: int) -> None:
    """As after a crash: nothing is acknowledged before it is settled, at QoS 2 either."""
    instance = _instance(mosquitto, subscribe_qos=qos)
    crashed = Running(instance, Sink(blocks=True))
    while crashed.state.snapshot.state is not State.RUNNING:
        crashed.source.pump(0.1)
    _publish_backlog(mosquitto, qos)
    while crashed.inbox.unsettled < CREDIT:
        crashed.source.pump(0.1)
    sink = Sink(blocks=False)
    sink.open()
    with _running(instance, sink):  # it takes the session over
        assert wait_until(lambda: sink.arrived.total() >= BACKLOG, timeout_s=20)
    assert sink.arrived == _once_each()
    crashed.source.stop_reading()
    crashed.source.close()
