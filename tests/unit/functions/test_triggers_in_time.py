"""The time that an invocation has left: what would not be done within it is handed back, not cut off."""

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from functions.inbound.app import handler
from mqbridge.carrying import ANSWER_MARGIN_S, SEND_TIMEOUT_S, Time, carry
from mqbridge.delivery import Settlement
from mqbridge.handler import Bridge, using
from mqbridge.messages import Record
from mqbridge.outcomes import Delivered, Failed, Planned, Send
from mqbridge.patience import OutOfTime, within
from mqbridge.rules import load
from mqbridge.triggers import visibility
from tests.unit.mqbridge.support import (
    EVENTS,
    FakeSinks,
    command,
    document,
    inbound_rule,
    publish,
    record,
    rocketmq_event,
    sqs_event,
)

RULES = load(document(InboundRules=[inbound_rule()]))
COMMAND = {"topic": "commands", "userProperties": {"mqttSecondTopic": "/d1/set"}, "body": "on"}


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """Planning and delivery that take a given time, and remember what they were asked."""

    def __init__(self, clock: Clock, planning_s: float = 0.0, sending_s: float = 0.0) -> None:
        self.planned: list[str] = []
        self.sent: list[str] = []
        self.deadlines: list[float] = []
        self._clock, self._planning_s, self._sending_s = clock, planning_s, sending_s

    def plan(self, records: Sequence[Record]) -> list[Planned]:
        self._clock.now += self._planning_s * len(records)
        self.planned += [each.id for each in records]
        return [Planned(each, None, Send((publish(),))) for each in records]

    def deliver(self, plan: Sequence[Planned], deadline: float) -> list[Settlement]:
        self._clock.now += self._sending_s * any(isinstance(each.outcome, Send) for each in plan)
        self.deadlines.append(deadline)
        self.sent += [each.record.id for each in plan if isinstance(each.outcome, Send)]
        return [
            Settlement(each.record, None, Delivered() if isinstance(each.outcome, Send) else each.outcome)
            for each in plan
        ]


def carried(world: World, clock: Clock, left_s: float | None, count: int, groups: Sequence[str] = ()) -> list[str]:
    """Return the ids of what was handed back."""
    records = [record(command(), str(at)) for at in range(count)]
    settlements = carry(records, groups, world.plan, world.deliver, Time.of(left_s, clock))
    assert [each.record.id for each in settlements] == [str(at) for at in range(count)]
    back = [each for each in settlements if isinstance(each.outcome, Failed)]
    assert all(
        each.outcome.reason in ("no_time_left", "held_back") for each in back if isinstance(each.outcome, Failed)
    )
    return [each.record.id for each in back]


def test_planning_ends_in_time_for_what_is_planned_to_be_sent() -> None:
    clock = Clock()
    world = World(clock, planning_s=1.0)
    assert carried(world, clock, 11.0, 20) == [str(at) for at in range(9, 20)]
    assert (len(world.planned), len(world.sent)) == (9, 9)
    assert world.deadlines == [1_000.0 + 11.0 - ANSWER_MARGIN_S]


def test_fast_records_are_all_planned_however_little_time_is_left() -> None:
    clock = Clock()
    assert carried(World(clock), clock, 1.5, 1_000) == []


def test_one_record_is_tried_in_any_case() -> None:
    clock = Clock()
    world = World(clock, planning_s=5.0)
    assert carried(world, clock, 0.0, 3) == ["1", "2"]
    assert world.sent == ["0"]


def test_where_nobody_says_how_much_time_is_left_all_is_planned() -> None:
    clock = Clock()
    world = World(clock, planning_s=100.0)
    assert carried(world, clock, None, 3) == []
    assert world.deadlines == [clock.now + SEND_TIMEOUT_S]


@pytest.mark.parametrize("step", ["planning", "sending"])
def test_nothing_is_waited_for_longer_than_its_part_of_the_time(step: str) -> None:
    """A function that a transform invokes may hang, and a store of secrets: neither ends the invocation."""
    hanging = threading.Event()

    def wait() -> Failed:
        try:
            within(30.0, lambda: hanging.wait(30.0))
        except OutOfTime:
            return Failed("function_unavailable", "hangs")
        return Failed("not_reached", "")

    def plan(records: Sequence[Record]) -> list[Planned]:
        return [Planned(each, None, wait() if step == "planning" else Send((publish(),))) for each in records]

    def deliver(planned: Sequence[Planned], deadline: float) -> list[Settlement]:
        del deadline
        if step == "sending":
            return [Settlement(each.record, None, wait()) for each in planned]
        return [Settlement(each.record, None, each.outcome) for each in planned if isinstance(each.outcome, Failed)]

    began = time.monotonic()
    settled = carry([record(publish(), id="a")], (), plan, deliver, Time.of(ANSWER_MARGIN_S + 0.2))
    assert time.monotonic() - began < ANSWER_MARGIN_S + 0.2
    assert [each.outcome for each in settled] == [Failed("function_unavailable", "hangs")]
    hanging.set()


def test_of_groups_no_round_begins_that_would_not_end() -> None:
    """Nine records of one group, a second each, in six seconds: five are sent, four come again, in order."""
    clock = Clock()
    world = World(clock, sending_s=1.0)
    groups = ["a"] * 9
    back = carried(world, clock, 6.0, 9, groups)
    assert world.sent == [str(at) for at in range(9 - len(back))]
    assert back == [str(at) for at in range(9 - len(back), 9)]
    assert clock.now <= 1_000.0 + 6.0
    assert 3 <= len(world.sent) <= 5


# The handler, by what the platform says.


@dataclass(frozen=True)
class Function:
    timeout: float


@dataclass(frozen=True)
class FcContext:
    function: Function
    request_id: str = "1"


def sending_deadline(context: Any) -> float:
    sinks = FakeSinks()
    with using(Bridge(RULES, sinks)):
        handler([rocketmq_event()], context)
    (call,) = sinks.calls
    return call.deadline


def test_function_compute_says_how_long_a_function_may_take() -> None:
    four, six = (sending_deadline(FcContext(Function(timeout_s))) for timeout_s in (4, 6))
    assert six - four == pytest.approx(2.0, abs=0.5)


def test_what_is_handed_back_is_a_partial_batch_response() -> None:
    @dataclass(frozen=True)
    class NoTime:
        def get_remaining_time_in_millis(self) -> int:
            return 0

    with using(Bridge(RULES, FakeSinks())):
        response = handler(sqs_event(COMMAND, COMMAND, COMMAND), NoTime())
    assert response == {"batchItemFailures": [{"itemIdentifier": "id-1"}, {"itemIdentifier": "id-2"}]}


# Hiding messages, in what is left after that.

ARN = "arn:aws:sqs:eu-west-1:123456789012:telemetry"


class Scripted:
    """An SQS client that counts its calls."""

    meta = type("Meta", (), {"endpoint_url": "https://sqs.example/"})

    def __init__(self) -> None:
        self.calls = 0

    def change_message_visibility_batch(self, **_arguments: Any) -> dict[str, Any]:
        self.calls += 1
        return {}


@pytest.mark.parametrize(("left_s", "calls"), [(60.0, 3), (2.5, 3), (1.5, 0), (-1.0, 0), (None, 3)])
def test_messages_are_hidden_while_the_invocation_lasts(
    left_s: float | None, calls: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A call takes 2 s at most; it does not begin when the platform might cut it off, and the queue's own timeout holds."""
    client = Scripted()
    monkeypatch.setitem(visibility._clients, "eu-west-1", client)
    event = json.loads((EVENTS / "trigger-sqs-iot.json").read_text())["Records"][0]
    received = [{**event, "messageId": str(at), "eventSourceARN": ARN} for at in range(25)]
    settled = [(record(command(), each["messageId"], event=each), Failed("broker_busy", "", 5.0)) for each in received]
    clock = Time.of(left_s).end
    visibility.hide_failed(settled, clock)
    assert client.calls == calls
    warned = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warned) == (0 if calls else 1)
