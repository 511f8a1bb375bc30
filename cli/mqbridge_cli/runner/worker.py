"""One rule's worker: batches from its inbox to its handler, and what the handler says back to the source."""

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


class Worker:
    """Call `handler` with batches until the inbox is drained. One thread; a slow rule slows no other."""

    def __init__(self, rule: str, source: Source, inbox: Inbox, handler: Handler, bridge: Bridge) -> None:
        self._rule = rule
        self._source = source
        self._inbox = inbox
        self._handler = handler
        self._bridge = bridge
        self._parked = 0
        self._thread = threading.Thread(target=self._run, name=f"worker-{rule}", daemon=True)

    @property
    def parked(self) -> int:
        """Records that can never be delivered, and that only the source still keeps."""
        return self._parked

    def start(self) -> None:
        """Start the worker's thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of what is under way; tell whether it came."""
        if self._thread.ident is not None:  # a rule that never started has nothing to wait for
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with using(self._bridge):
            while items := self._inbox.next_batch():
                self._process(items)

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
        self._inbox.hold(again)
