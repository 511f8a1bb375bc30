"""Which offset of a queue may be committed: everything below the first message that is not settled. Pure."""

from bisect import insort

__all__ = ["QueueProgress"]


class QueueProgress:
    """Progress through one queue: what was delivered, and what of it is settled.

    `next_offset` is where to pull from; `committable` is where a successor would have to start. What was stored before
    `skip_before_ms` is passed over. `had_messages` tells whether the last pull brought any, `end` is where the queue ended then.
    """

    def __init__(self, start: int, *, is_committed: bool, skip_before_ms: int = 0) -> None:
        self.next_offset = self.end = start
        self.committed = start if is_committed else -1
        self.skip_before_ms = skip_before_ms
        self.had_messages = False
        self._unsettled: list[int] = []

    @property
    def unsettled_count(self) -> int:
        """Messages delivered and not settled."""
        return len(self._unsettled)

    @property
    def committable(self) -> int:
        """The offset that a successor would have to start at."""
        return self._unsettled[0] if self._unsettled else self.next_offset

    def delivered(self, offset: int) -> None:
        """Note that the message at `offset` was handed out."""
        insort(self._unsettled, offset)

    def settle(self, offset: int) -> None:
        """Note that the message at `offset` needs no delivery any more; twice is harmless."""
        if offset in self._unsettled:
            self._unsettled.remove(offset)
