"""Between a source and its worker: records in, batches out, by count and time. Times are passed in."""

import threading
from collections.abc import Sequence

from mqbridge.rules import BatchWindow
from mqbridge_cli.runner.lanes import Item, Lanes

__all__ = ["Inbox"]


class Inbox:
    """Records of one rule that are not settled yet.

    Args:
        window: when a batch is closed.
        credit: how many unsettled records the source gives before it waits for settlement; then the window closes early.
    """

    def __init__(self, window: BatchWindow, credit: int) -> None:
        self._window = window
        self._credit = credit
        self._lanes = Lanes()
        self._unsettled = 0
        self._received = 0
        self._first_arrival: float | None = None
        self._lock = threading.Lock()  # while the worker is busy, the keeper may bring records

    @property
    def unsettled(self) -> int:
        """Records received and not settled."""
        return self._unsettled

    @property
    def received(self) -> int:
        """Records that ever came."""
        return self._received

    def oldest(self) -> float | None:
        """Return when the record arrived that has waited here for longest; None if none waits."""
        with self._lock:
            return self._lanes.oldest()

    def put(self, item: Item, now: float) -> None:
        """Take a record from the source."""
        with self._lock:
            item.arrived = now
            self._lanes.add(item)
            self._unsettled += 1
            self._received += 1
            if self._first_arrival is None:
                self._first_arrival = now

    def wait_s(self, now: float) -> float:
        """Return the seconds until there may be a batch: 0 if it is closed, infinity if nothing is here."""
        with self._lock:
            return max(0.0, self._closes_at(now) - now)

    def next_batch(self, now: float, *, at_once: bool = False, limit: int | None = None) -> list[Item]:
        """Return a batch if its window is closed, or `at_once` whatever may be sent; else nothing. `limit` is what a throttle allows."""
        with self._lock:
            if not at_once and self._closes_at(now) > now:
                return []
            count = self._window.count if limit is None else min(limit, self._window.count)
            taken = self._lanes.take(now, count)
            # What a throttle left of a closed window has waited long enough: it goes as soon as it may.
            reopened = float("-inf") if count < self._window.count else now
            self._first_arrival = reopened if self._lanes.fresh_count else None
            return taken

    def waiting(self) -> list[Item]:
        """Return all records that wait here."""
        with self._lock:
            return self._lanes.waiting()

    def settled(self, count: int) -> None:
        """Note that the worker is done with `count` records."""
        with self._lock:
            self._unsettled -= count

    def hold(self, items: Sequence[tuple[Item, float]], now: float) -> None:
        """Put records back, each with the seconds after which its lane may go on; all that failed of a batch at once, in its order."""
        with self._lock:
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
