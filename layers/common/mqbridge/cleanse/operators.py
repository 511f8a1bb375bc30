"""What every operator is, and how one says that it cannot go on. Pure.

InvalidOperator: its settings cannot be. Rejected: this event can never pass. Unavailable: it may, later.
"""

from collections.abc import Iterable
from typing import Protocol

from mqbridge.events import TaskEvent

__all__ = ["MAX_PARTS", "InvalidOperator", "Operator", "Rejected", "Unavailable"]

# As many as the largest batch of a task (BatchWindow.CountBasedWindow): without a limit, one payload of separators fills the memory.
MAX_PARTS = 10_000


class InvalidOperator(ValueError):
    """An operator whose settings do not go together; `path` is the place within them."""

    def __init__(self, path: tuple[str | int, ...], expected: str, got: str) -> None:
        super().__init__(f"{'.'.join(map(str, path))}: expected {expected}, got {got}")
        self.path = path
        self.expected = expected
        self.got = got


class Rejected(Exception):
    """An operator can do nothing with this event, now or later.

    `reason` is a word from a bounded set, fit for a metric label; `detail` is for people, and holds no payload.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Unavailable(Exception):
    """What an operator needs from outside cannot be had now: the record is to be tried again; `reason` and `detail` as in Rejected."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Operator(Protocol):
    """A step of a task, ready to run."""

    @property
    def name(self) -> str:
        """Its name in a rules document, such as "Split"."""
        ...

    def apply(self, event: TaskEvent) -> Iterable[TaskEvent]:
        """Return what becomes of an event, which is never changed itself: nothing if it is dropped, several if it is split.

        Raises:
            Rejected: the operator can do nothing with this event.
            TooManySteps: one of its paths would take too long.
            Unavailable: what it needs from outside cannot be had now.
        """
        ...
