"""One rule's worker: from its source to its handler, and what the handler says back to the source. One thread does all of it."""

import threading
import time
from collections.abc import Callable
from typing import Any

from mqbridge.handler import Bridge, using
from mqbridge.messages import ATTEMPT, FIRST_ATTEMPT
from mqbridge.telemetry import logger
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.source import Source

__all__ = ["Worker"]

Handler = Callable[[Any, Any], Any]

# After a handler raised (a defect, or rules that cannot be loaded): its records are tried again, not at once.
AFTER_EXCEPTION_S = 5.0
# How long a worker waits for its source at most, and so how late it notices that it is to stop.
LONGEST_WAIT_S = 0.5
# A batch that takes longer has its source served by the keeper: heartbeats must not wait for handlers.
BUSY_S = 1.0


class Worker:
    """Read, call `handler` with batches, settle, until told to drain. A slow rule slows no other.

    `prepare` runs first, in the worker's thread, and returns whether to go on.
    """

    def __init__(
        self,
        rule: str,
        source: Source,
        inbox: Inbox,
        handler: Handler,
        bridge: Bridge,
        prepare: Callable[[], bool] = lambda: True,
    ) -> None:
        self._rule = rule
        self._source = source
        self._inbox = inbox
        self._handler = handler
        self._bridge = bridge
        self._prepare = prepare
        self._parked = 0
        self._busy_since: float | None = None
        self._draining = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"worker-{rule}", daemon=True)

    @property
    def parked(self) -> int:
        """Records that can never be delivered, and that only the source still keeps."""
        return self._parked

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
        if since is not None and time.monotonic() - since > BUSY_S:
            self._source.pump(0.0)

    def _run(self) -> None:
        with using(self._bridge):
            if self._prepare():
                while self._step():
                    pass

    def _step(self) -> bool:
        is_draining = self._draining.is_set()
        if not is_draining:
            self._source.pump(min(self._inbox.wait_s(time.monotonic()), LONGEST_WAIT_S))
        items = self._inbox.next_batch(time.monotonic(), at_once=is_draining)
        if items:
            self._busy_since = time.monotonic()
            self._process(items)
            self._busy_since = None
        return bool(items) or not is_draining

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
        done, again = [], []
        for item in items:
            failure = failures.get(item.event["id"])
            if failure is None:
                done.append(item)
            elif "retryAfter" in failure:
                item.event.setdefault(FIRST_ATTEMPT, int(time.time() * 1000))
                item.attempt += 1
                again.append((item, failure["retryAfter"]))
            elif self._source.refuse(item):
                self._inbox.settled(1)
            else:
                self._parked += 1
        self._source.settle(done)
        self._inbox.settled(len(done))
        self._inbox.hold(again, time.monotonic())
