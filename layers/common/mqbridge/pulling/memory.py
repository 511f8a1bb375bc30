"""What an execution environment remembers of a queue from one pull to the next. Pure.

RocketMQ keeps one number for a group and queue: everything before it is settled. What lies behind it comes again with the next pull, and
nothing tells how often it was tried. So an environment remembers that, and what it has settled behind the first message that failed. All of
it may be forgotten: then messages are sent twice, and tried more often than their strategy says, but none is lost.
"""

from dataclasses import dataclass, field

__all__ = ["QueueMemory"]


@dataclass(slots=True)
class QueueMemory:
    """Of one queue of one rule, by the offsets of its messages.

    `start` is where the group stood when this was true; if it stands elsewhere since, somebody else was here. The queue waits until
    `not_before` (Unix seconds). `is_cautious` tells that its messages go one at a time, since one of them may be what breaks the others:
    a broker that ends the connection does not say for which.
    """

    start: int = -1
    settled: dict[int, str] = field(default_factory=dict)  # the ids: a topic that was made anew has its offsets anew
    attempts: dict[int, tuple[int, int]] = field(default_factory=dict)  # attempts so far, and when the first was, in ms
    not_before: float = 0.0
    is_cautious: bool = False

    def begin(self, start: int) -> None:
        """Forget everything if the group stands elsewhere than at the end of the pull before."""
        if start != self.start:
            self.start, self.not_before, self.is_cautious = start, 0.0, False
            self.settled.clear()
            self.attempts.clear()

    def end(self, start: int) -> None:
        """Note where the group stands now."""
        self.start = start
        self.settled = {offset: each for offset, each in self.settled.items() if offset >= start}
        self.attempts = {offset: tried for offset, tried in self.attempts.items() if offset >= start}

    def attempt(self, offset: int) -> tuple[int, int]:
        """Return which attempt comes next, from 1, and when the first was in Unix milliseconds, 0 if it comes now."""
        count, first_ms = self.attempts.get(offset, (0, 0))
        return count + 1, first_ms

    def is_settled(self, offset: int, message_id: str) -> bool:
        """Tell whether this very message is settled."""
        return self.settled.get(offset) == message_id

    def delivered(self, offset: int, message_id: str) -> None:
        """Note that a message is settled, and that its broker took it: what comes behind it need not go alone."""
        self.settle(offset, message_id)
        self.is_cautious = False

    def settle(self, offset: int, message_id: str) -> None:
        """Note that a message is settled: dropped, given up, dead-lettered."""
        self.settled[offset] = message_id
        self.attempts.pop(offset, None)

    def failed(self, offset: int, now: float, delay_s: float) -> None:
        """Note that a message was tried and is to be tried again after `delay_s`; of several, the first is waited for."""
        count, first_ms = self.attempts.get(offset, (0, 0))
        self.attempts[offset] = count + 1, first_ms or int(now * 1000)
        if offset == min(self.attempts):
            self.not_before = now + delay_s
        self.is_cautious = True
