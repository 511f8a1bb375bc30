"""The whole schedule of a task's retries, from the inbox through planning and delivery and back, on a clock that only waiting moves."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from mqbridge import triggers
from mqbridge.delivery import Delivery, settled_records
from mqbridge.flows import outflow
from mqbridge.handler import Bridge
from mqbridge.rules import BatchWindow, Rules, load
from mqbridge.testing import Captured
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.worker import Clock, Worker
from tests.unit.mqbridge.support import DLQ, document, streaming

START = 1_767_225_600  # 2026-01-01T00:00:00Z


class _Bench:
    """One task, a sink that is told to fail, and a source that moves the clock while it waits and keeps what it is told."""

    def __init__(self, *, chance: float = 0.5, **options: Any) -> None:
        self.now = 0.0
        self.rules: Rules = load(document(EventStreamings=[streaming(RunOptions=options)]))
        self.sent = Captured()
        self.inbox = Inbox(BatchWindow(count=100), credit=1_000)
        self.attempts: list[tuple[str, float]] = []  # record and time
        self.settled: list[tuple[str, float]] = []
        self.stopped: list[tuple[str, str, float]] = []
        self._delivery = Delivery(
            self.sent, self.rules.run_options, chance=lambda: chance, clock=lambda: START + self.now
        )
        self._worker = Worker(
            "hot-readings",
            self,
            self.inbox,
            self._handle,
            Bridge(self.rules, self.sent),
            stop_at=lambda item, failure: self.stopped.append((item.event["id"], failure["reason"], self.time_s)),
            clock=Clock(monotonic=lambda: self.now, unix=lambda: START + self.now),
        )

    @property
    def time_s(self) -> float:
        """The time, without what waiting just long enough adds to it."""
        return round(self.now, 3)

    def publish(self, record: str, lane: str = "d1") -> None:
        props = {"instanceId": "mqtt-local", "firstTopic": "devices", "secondTopic": f"/{lane}", "clientId": lane}
        event = {
            "specversion": "1.0",
            "id": record,
            "source": "acs:mqtt",
            "type": "mqtt:Topic:SendMessage",
            "subject": f"devices/{lane}",
            "time": "2026-01-01T00:00:00Z",
            "mqbridgerule": "hot-readings",
            "data": {"props": props, "body": json.dumps(record)},
        }
        self.inbox.put(Item(event=event, lane=lane, token=record), self.now)

    def run(self) -> None:
        """Run until nothing is left to do."""
        self._worker.start()
        assert self._worker.join(30)

    def _handle(self, event: Any, context: Any) -> Any:
        del context
        self.attempts += [(each["id"], self.time_s) for each in event]
        batch = triggers.read(event)
        plan = outflow.plan(batch.records, self.rules, batch.only_rule)
        return batch.trigger.respond(settled_records(self._delivery.carry_out(plan, self.now + 10)))

    # The source.

    def pump(self, timeout_s: float) -> None:
        if not self.inbox.unsettled:
            self._worker.drain()
        self.now += min(timeout_s, self.inbox.wait_s(self.now)) + 1e-9

    def settle(self, items: Sequence[Item]) -> None:
        self.settled += [(item.token, self.time_s) for item in items]

    def refuse(self, item: Item) -> bool:
        raise AssertionError(item)

    def stop_reading(self) -> None: ...

    def close(self) -> None: ...

    def waits(self, record: str) -> list[float]:
        """Return the seconds between a record's attempts."""
        times = [at for each, at in self.attempts if each == record]
        return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 10.0), (0.5, 15.0), (1.0, 20.0)])
def test_backoff_is_three_retries_after_10_to_20_s_each_and_then_the_task_stops(chance: float, wait_s: float) -> None:
    bench = _Bench(chance=chance)
    bench.sent.fail()
    bench.publish("a")
    bench.run()
    assert bench.waits("a") == [wait_s] * 3
    assert bench.stopped == [("a", "broker_busy", 3 * wait_s)]
    assert bench.settled == []


def test_exponential_decay_is_176_retries_in_86015_s() -> None:
    bench = _Bench(RetryStrategy={"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"})
    bench.sent.fail()
    bench.publish("a")
    bench.run()
    assert bench.waits("a") == [*(float(2**n) for n in range(9)), *[512.0] * 167]
    assert bench.stopped == [("a", "broker_busy", 86_015)]


@pytest.mark.parametrize("strategy", ["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"])
def test_maximum_retry_attempts_holds(strategy: str) -> None:
    bench = _Bench(RetryStrategy={"PushRetryStrategy": strategy, "MaximumRetryAttempts": 7})
    bench.sent.fail()
    bench.publish("a")
    bench.run()
    assert len(bench.attempts) == 1 + 7


def test_maximum_event_age_holds_over_attempts() -> None:
    """15 s each: the fourth retry would come after a minute, and the strategy would allow it."""
    strategy = {"MaximumRetryAttempts": 100, "MaximumEventAgeInSeconds": 50}
    bench = _Bench(RetryStrategy=strategy)
    bench.sent.fail()
    bench.publish("a")
    bench.run()
    assert bench.waits("a") == [15.0] * 3
    assert len(bench.stopped) == 1


def test_a_waiting_record_holds_its_lane_alone() -> None:
    bench = _Bench()
    bench.sent.fail(lambda message: message["sharding_key"] == "d1")
    bench.publish("a")
    bench.publish("other", lane="d2")
    bench.run()
    assert bench.settled == [("other", 0.0)]
    assert bench.waits("a") == [15.0] * 3
    assert bench.stopped[0][0] == "a"


def test_what_waited_behind_a_record_has_all_its_own_retries() -> None:
    """The producer holds it back while the first one of its lane fails: that is no attempt."""
    bench = _Bench(DeadLetterQueue=DLQ)
    bench.sent.fail(lambda message: message["topic"] == "alarms" and message["body"] == '"a"')
    bench.sent.fail(lambda message: message["topic"] == "alarms" and not bench.settled, reason="held_back")
    bench.sent.fail(lambda message: message["topic"] == "alarms")
    bench.publish("a")
    bench.publish("b")
    bench.run()
    assert [record for record, _ in bench.settled] == ["a", "b"]
    tried_alone = [at for record, at in bench.attempts if record == "b" and at > bench.settled[0][1]]
    assert len(tried_alone) == 4


def test_at_the_end_of_the_retries_a_dead_letter_queue_takes_the_record() -> None:
    bench = _Bench(DeadLetterQueue=DLQ)
    bench.sent.fail(lambda message: message["topic"] == "alarms")
    bench.publish("a")
    bench.run()
    assert bench.settled == [("a", 45.0)]
    assert [message["topic"] for message in bench.sent] == ["mqbridge_dlq"]
    assert bench.stopped == []


def test_with_errors_tolerance_all_the_record_is_discarded() -> None:
    bench = _Bench(ErrorsTolerance="ALL")
    bench.sent.fail()
    bench.publish("a")
    bench.run()
    assert bench.settled == [("a", 45.0)]
    assert bench.stopped == []


def test_what_works_again_is_delivered_at_the_next_retry() -> None:
    bench = _Bench()
    bench.sent.fail(lambda _message: bench.now < 20)
    bench.publish("a")
    bench.run()
    assert bench.settled == [("a", 30.0)]
    assert bench.stopped == []
