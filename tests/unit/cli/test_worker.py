"""A worker: what the handler says about a record decides what the source is told."""

import threading
from collections.abc import Sequence
from typing import Any

from mqbridge.handler import Bridge
from mqbridge.rules import BatchWindow, load
from mqbridge.testing import Captured
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.throttle import Throttle
from mqbridge_cli.runner.worker import Clock, Worker

RULES = load({"Instances": {}})


class _Source:
    """Remembers what it is told."""

    def __init__(self, *, keeps_refused: bool) -> None:
        self.settled: list[int] = []
        self.refused: list[int] = []
        self._keeps_refused = keeps_refused

    def pump(self, timeout_s: float) -> None: ...

    def settle(self, items: Sequence[Item]) -> None:
        self.settled += [item.token for item in items]

    def refuse(self, item: Item) -> bool:
        self.refused.append(item.token)
        return self._keeps_refused

    def stop_reading(self) -> None: ...

    def close(self) -> None: ...


def _run(source: _Source, responses: list[Any], count: int = 3) -> tuple[Inbox, Worker, list[list[dict[str, Any]]]]:
    inbox = Inbox(BatchWindow(count=10), credit=100)
    calls: list[list[dict[str, Any]]] = []

    def handler(event: Any, context: Any) -> Any:
        del context
        calls.append([dict(each) for each in event])
        response = responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    worker = Worker("r", source, inbox, handler, Bridge(RULES, Captured()))
    for number in range(count):
        inbox.put(Item(event={"id": str(number)}, lane=str(number), token=number), now=0.0)
    worker.drain()
    worker.start()
    assert worker.join(5)
    return inbox, worker, calls


def test_delivered_records_are_settled() -> None:
    source = _Source(keeps_refused=True)
    inbox, worker, _ = _run(source, [{"batchItemFailures": []}])
    assert source.settled == [0, 1, 2]
    assert inbox.unsettled == 0
    assert worker.parked == 0


def test_failed_record_is_tried_again_with_its_attempt_counted_and_its_neighbours_are_settled() -> None:
    source = _Source(keeps_refused=True)
    failure = {"itemIdentifier": "1", "reason": "broker_busy", "detail": "", "retryAfter": 0.0}
    inbox, _, calls = _run(source, [{"batchItemFailures": [failure]}, {"batchItemFailures": []}])
    assert source.settled == [0, 2, 1]
    assert [[(each["id"], each["mqbridgeattempt"]) for each in call] for call in calls] == [
        [("0", 1), ("1", 1), ("2", 1)],
        [("1", 2)],
    ]
    assert inbox.unsettled == 0


def test_rejected_record_is_refused_to_the_source() -> None:
    source = _Source(keeps_refused=True)
    inbox, worker, _ = _run(source, [{"batchItemFailures": [{"itemIdentifier": "1", "reason": "x", "detail": ""}]}])
    assert (source.settled, source.refused) == ([0, 2], [1])
    assert (inbox.unsettled, worker.parked) == (0, 0)


def test_rejected_record_that_the_source_cannot_keep_elsewhere_is_parked() -> None:
    source = _Source(keeps_refused=False)
    inbox, worker, _ = _run(source, [{"batchItemFailures": [{"itemIdentifier": "1", "reason": "x", "detail": ""}]}])
    assert source.settled == [0, 2]
    assert (inbox.unsettled, worker.parked) == (1, 1)


def test_handler_that_raises_loses_nothing() -> None:
    """Everything of the batch waits for another try; nothing is settled."""
    source = _Source(keeps_refused=True)
    inbox, _, calls = _run(source, [RuntimeError("defect")])
    assert len(calls) == 1
    assert source.settled == []
    assert inbox.unsettled == 3


def test_source_of_a_busy_worker_is_served_by_the_keeper() -> None:
    """A handler that takes long must not cost the session its heartbeats."""
    pumped, release = threading.Event(), threading.Event()

    class Source(_Source):
        def pump(self, timeout_s: float) -> None:
            del timeout_s
            if handling.is_set():
                pumped.set()

    handling = threading.Event()

    def slow(event: Any, context: Any) -> Any:
        del event, context
        handling.set()
        release.wait(10)
        return {"batchItemFailures": []}

    inbox = Inbox(BatchWindow(count=10), credit=100)
    worker = Worker("r", Source(keeps_refused=True), inbox, slow, Bridge(RULES, Captured()))
    inbox.put(Item(event={"id": "0"}, lane="0", token=0), now=0.0)
    worker.start()
    assert handling.wait(5)
    while not pumped.wait(0.05):
        worker.keep_up()
    release.set()
    worker.drain()
    assert worker.join(5)


def test_rule_that_is_not_to_run_reads_nothing() -> None:
    class Source(_Source):
        def pump(self, timeout_s: float) -> None:
            raise AssertionError(timeout_s)

    inbox = Inbox(BatchWindow(count=10), credit=100)
    worker = Worker(
        "r", Source(keeps_refused=True), inbox, lambda _e, _c: None, Bridge(RULES, Captured()), lambda: False
    )
    worker.start()
    assert worker.join(5)


# A worker that is to stop at a record which can never be delivered.


def test_a_record_that_cannot_be_delivered_ends_a_worker_that_is_to_stop_at_it() -> None:
    """What was delivered beside it is settled first; nothing of it, nor of what comes behind, is."""
    source = _Source(keeps_refused=True)
    rejected = {"itemIdentifier": "1", "reason": "poison", "detail": "why"}
    held_back = {"itemIdentifier": "2", "reason": "held_back", "retryAfter": 0.0}
    stopped: list[tuple[Item, dict[str, Any], list[int]]] = []
    inbox = Inbox(BatchWindow(count=4), credit=100)
    worker = Worker(
        "r",
        source,
        inbox,
        lambda _event, _context: {"batchItemFailures": [rejected, held_back]},
        Bridge(RULES, Captured()),
        stop_at=lambda item, failure: stopped.append((item, failure, list(source.settled))),
    )
    for number in range(6):
        inbox.put(Item(event={"id": str(number)}, lane="a", token=number), now=0.0)
    worker.start()
    assert worker.join(5)
    assert [(item.token, failure, settled) for item, failure, settled in stopped] == [(1, rejected, [0, 3])]
    assert (source.settled, source.refused, inbox.unsettled) == ([0, 3], [], 4)


def test_what_was_held_back_was_not_tried() -> None:
    source = _Source(keeps_refused=True)
    failures = [
        {"itemIdentifier": "0", "reason": "broker_busy", "detail": "", "retryAfter": 0.0},
        {"itemIdentifier": "1", "reason": "held_back", "detail": "", "retryAfter": 0.0},
    ]
    _, _, calls = _run(source, [{"batchItemFailures": failures}, {"batchItemFailures": []}], count=2)
    assert {each["id"]: each["mqbridgeattempt"] for each in calls[1]} == {"0": 2, "1": 1}


def test_a_throttled_worker_s_batches_are_no_larger_than_what_may_go() -> None:
    """Draining, it sends on what it may and leaves the rest to the source."""
    source = _Source(keeps_refused=True)
    inbox = Inbox(BatchWindow(count=100), credit=100)
    sizes: list[int] = []

    def handler(event: Any, context: Any) -> Any:
        del context
        sizes.append(len(event))
        return {"batchItemFailures": []}

    clock = Clock(monotonic=lambda: 0.0, unix=lambda: 0.0)
    worker = Worker("r", source, inbox, handler, Bridge(RULES, Captured()), throttle=Throttle(20, 0.0), clock=clock)
    for number in range(50):
        inbox.put(Item(event={"id": str(number)}, lane=str(number), token=number), now=0.0)
    worker.drain()
    worker.start()
    assert worker.join(5)
    assert (sizes, inbox.unsettled) == ([20], 30)


def test_the_age_is_that_of_the_oldest_record_that_is_here() -> None:
    inbox = Inbox(BatchWindow(count=10, seconds=15), credit=100)
    clock = Clock(monotonic=lambda: 10.0, unix=lambda: 0.0)
    worker = Worker(
        "r", _Source(keeps_refused=True), inbox, lambda _e, _c: None, Bridge(RULES, Captured()), clock=clock
    )
    assert worker.oldest_age_s() is None
    for number in range(3):
        inbox.put(Item(event={"id": str(number)}, lane="a", token=number), now=4.0 + number)
    assert worker.oldest_age_s() == 6.0
    first, *_ = inbox.next_batch(20.0)
    inbox.hold([(first, 60.0)], now=20.0)
    assert worker.oldest_age_s() == 6.0
