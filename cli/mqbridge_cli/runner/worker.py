"""One rule's worker: from its source to its handler, and what the handler says back to the source. One thread does all of it."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from mqbridge.handler import Bridge, using
from mqbridge.messages import ATTEMPT, FIRST_ATTEMPT
from mqbridge.telemetry import logger
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lane_order import HELD_BACK
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.source import Source
from mqbridge_cli.runner.throttle import Throttle

__all__ = ["Clock", "Stop", "Worker"]

Handler = Callable[[Any, Any], Any]
# What a worker does that stops at a record: gets the record, and what the handler said of it.
Stop = Callable[[Item, dict[str, Any]], None]

# After a handler raised (a defect, or rules that cannot be loaded): its records are tried again, not at once.
AFTER_EXCEPTION_S = 5.0
# How long a worker waits for its source at most, and so how late it notices that it is to stop.
LONGEST_WAIT_S = 0.5
# A batch that takes longer has its source served by the keeper: heartbeats must not wait for handlers.
BUSY_S = 1.0


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic` seconds for what is waited for, `unix` seconds for what others are told."""

    monotonic: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time


class Worker:
    """Read, call `handler` with batches, settle, until told to drain. A slow rule slows no other.

    Args:
        rule: the rule's name, for the log.
        source: where the records come from.
        inbox: what the source puts them into.
        handler: takes a batch and answers what of it failed.
        bridge: what the handler runs with; None if that is not in this process.
        prepare: runs first, in the worker's thread, and returns whether to go on.
        throttle: how many records may go; None is as many as there are.
        stop_at: where given, a record that can never be delivered ends the worker: it is called at the end. Without it, such a record
            is left to the source, and the others go on.
        clock: what the time is.
    """

    def __init__(
        self,
        rule: str,
        source: Source,
        inbox: Inbox,
        handler: Handler,
        bridge: Bridge | None,
        prepare: Callable[[], bool] = lambda: True,
        *,
        throttle: Throttle | None = None,
        stop_at: Stop | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._rule = rule
        self._source = source
        self._inbox = inbox
        self._handler = handler
        self._bridge = bridge
        self._prepare = prepare
        self._throttle = throttle
        self._stop_at = stop_at
        self._clock = clock or Clock()
        self._stopped_at: tuple[Item, dict[str, Any]] | None = None
        self._parked = 0
        self._busy_since: float | None = None
        self._oldest_of_batch: float | None = None
        self._draining = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"worker-{rule}", daemon=True)

    @property
    def parked(self) -> int:
        """Records that can never be delivered, and that only the source still keeps."""
        return self._parked

    def oldest_age_s(self) -> float | None:
        """Return the age of the record that has been under way for longest; None if none is."""
        arrivals = [each for each in (self._inbox.oldest(), self._oldest_of_batch) if each is not None]
        return max(0.0, self._clock.monotonic() - min(arrivals)) if arrivals else None

    def start(self) -> None:
        """Start the worker's thread."""
        self._thread.start()

    def drain(self) -> None:
        """Finish what is here, leave what waits for a retry to the source, and end."""
        self._draining.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of what is under way; tell whether it came."""
        if self._thread.ident is not None:  # a rule that never started has nothing to wait for
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def keep_up(self) -> None:
        """Serve the source if the worker has been busy for long; called by the keeper, from time to time."""
        since = self._busy_since
        if since is not None and self._clock.monotonic() - since > BUSY_S:
            self._source.pump(0.0)

    def _run(self) -> None:
        with using(self._bridge) if self._bridge is not None else nullcontext():
            if self._prepare():
                while self._step():
                    pass
        if self._stopped_at is not None and self._stop_at is not None:
            self._stop_at(*self._stopped_at)

    def _step(self) -> bool:
        is_draining = self._draining.is_set()
        if not is_draining:
            self._source.pump(min(self._wait_s(), LONGEST_WAIT_S))
        items = self._next_batch(is_draining)
        if items:
            self._busy_since = self._clock.monotonic()
            self._oldest_of_batch = min(item.arrived for item in items)
            self._process(items)
            self._busy_since = self._oldest_of_batch = None
        return self._stopped_at is None and (bool(items) or not is_draining)

    def _wait_s(self) -> float:
        now = self._clock.monotonic()
        wait_s = self._inbox.wait_s(now)
        return wait_s if self._throttle is None else max(wait_s, self._throttle.wait_s(now))

    def _next_batch(self, is_draining: bool) -> list[Item]:
        now = self._clock.monotonic()
        if self._throttle is None:
            return self._inbox.next_batch(now, at_once=is_draining)
        allowed = self._throttle.allowed(now)
        if not allowed:
            return []
        items = self._inbox.next_batch(now, at_once=is_draining, limit=allowed)
        self._throttle.take(len(items))
        return items

    def _process(self, items: list[Item]) -> None:
        for item in items:
            item.event[ATTEMPT] = item.attempt
        try:
            response = self._handler([item.event for item in items], None)
            failures = {each["itemIdentifier"]: each for each in response["batchItemFailures"]}
        except Exception:
            logger().exception("handler raised", extra={"rule": self._rule})
            failures = {item.event["id"]: {"retryAfter": AFTER_EXCEPTION_S} for item in items}
        self._settle(items, failures)

    def _settle(self, items: list[Item], failures: dict[str, dict[str, Any]]) -> None:
        done, again, refused = [], [], []
        stops = self._stop_at is not None
        for item in items:
            failure = failures.get(item.event["id"])
            if failure is None:
                done.append(item)
            elif "retryAfter" in failure:
                item.event.setdefault(FIRST_ATTEMPT, int(self._clock.unix() * 1000))
                if failure.get("reason") != HELD_BACK:  # it was not tried
                    item.attempt += 1
                again.append((item, failure["retryAfter"]))
            else:
                refused.append(item)
                if stops:
                    again.append((item, 0.0))
        self._source.settle(done)
        self._inbox.settled(len(done))
        self._inbox.hold(again, self._clock.monotonic())
        if refused and stops:
            self._stopped_at = refused[0], failures[refused[0].event["id"]]
        else:
            self._leave_to_source(refused)

    def _leave_to_source(self, items: list[Item]) -> None:
        for item in items:
            if self._source.refuse(item):
                self._inbox.settled(1)
            else:
                self._parked += 1
