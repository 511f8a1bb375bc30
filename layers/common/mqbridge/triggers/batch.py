"""What every trigger reads an invocation into, and the errors of reading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mqbridge.messages import Record
from mqbridge.outcomes import Settled

__all__ = ["Batch", "Trigger", "UnreadableEvent", "UnreadableRecord"]


class UnreadableEvent(Exception):
    """The invocation's event is none that a trigger sends. Raised, so that the platform keeps it: never a silent success."""


class UnreadableRecord(Exception):
    """One element of a batch cannot be read; the message says what was expected and what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The records of one invocation. With `only_rule`, they are meant for that rule alone."""

    trigger: "Trigger"
    records: tuple[Record, ...]
    only_rule: str | None = None


class Trigger(Protocol):
    """One module per kind of invocation event."""

    name: str

    def matches(self, event: Any) -> bool:
        """Tell whether this is the trigger's envelope; looks at no record."""
        ...

    def read(self, event: Any) -> Batch:
        """Return the records; one that cannot be read carries a Reject instead of a message."""
        ...

    def respond(self, settled: Sequence[tuple[Record, Settled]]) -> Mapping[str, Any]:
        """Return what the platform understands."""
        ...
