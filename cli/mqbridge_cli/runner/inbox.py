"""Between a source and its worker: records in, batches out, by count and time."""

import threading
import time
from collections.abc import Sequence

from mqbridge.rules import BatchWindow
from mqbridge_cli.runner.lanes import Item, Lanes

__all__ = ["Inbox"]


class Inbox:
    """Records of one rule, from the source's thread to the worker's.

    Args:
        window: when a batch is closed.
        credit: how many unsettled records the source gives before it waits for settlement; then the window closes early.
    """

    def __init__(self, window: BatchWindow, credit: int) -> None:
        self._window = window
        self._credit = credit
        self._lanes = Lanes()
        self._unsettled = 0
        self._first_arrival: float | None = None
        self._is_draining = False
        self._changed = threading.Condition()

    @property
    def unsettled(self) -> int:
        """Records received and not settled."""
        return self._unsettled

    def put(self, item: Item) -> None:
        """Take a record from the source."""
        with self._changed:
            self._lanes.add(item)
            self._unsettled += 1
            if self._first_arrival is None:
                self._first_arrival = time.monotonic()
                self._changed.notify_all()
            elif self._lanes.fresh_count == self._window.count or self._unsettled == self._credit:
                self._changed.notify_all()

    def wait_for_room(self, limit: int, timeout_s: float) -> bool:
        """Wait until fewer than `limit` records are unsettled."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unsettled < limit or self._is_draining, timeout_s)

    def drain(self) -> None:
        """Let the worker have what is here at once, and nothing that waits for a retry."""
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()

    def next_batch(self) -> list[Item]:
        """Wait for a batch and return it; an empty one means that the inbox is drained."""
        with self._changed:
            while True:
                now = time.monotonic()
                closes_at = self._closes_at(now)
                if self._is_draining or closes_at <= now:
                    taken = self._lanes.take(now, self._window.count)
                    self._first_arrival = now if self._lanes.fresh_count else None
                    if taken or self._is_draining:
                        return taken
                    continue
                self._changed.wait(min(closes_at - now, 60.0))

    def settled(self, count: int) -> None:
        """Note that the worker is done with `count` records."""
        with self._changed:
            self._unsettled -= count
            self._changed.notify_all()

    def hold(self, items: Sequence[tuple[Item, float]]) -> None:
        """Put records back, each with the seconds after which its lane may go on; all that failed of a batch at once, in its order."""
        now = time.monotonic()
        with self._changed:
            for item, delay_s in reversed(items):
                self._lanes.hold(item, now + delay_s)

    def _closes_at(self, now: float) -> float:
        due = self._lanes.next_due()
        retry_at = float("inf") if due is None else due
        if self._first_arrival is None:
            return retry_at
        if self._lanes.fresh_count >= self._window.count or self._unsettled >= self._credit:
            return now
        return min(retry_at, self._first_arrival + self._window.seconds)
