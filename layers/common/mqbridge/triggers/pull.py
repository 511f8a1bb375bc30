"""An invocation that brings no records: it asks the inbound function to read the sources of its rules itself.

`{"mqbridge": "pull"}` is what a schedule of one's own sends; what EventBridge's schedules send of themselves asks for the same.
"""

import json
from collections.abc import Sequence
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Settled
from mqbridge.triggers.batch import Batch, Invocation, UnreadableEvent

__all__ = ["Pull", "asks_to_pull"]

# EventBridge rules with a schedule, and EventBridge Scheduler, where no input is set.
_SCHEDULERS = frozenset({"aws.events", "aws.scheduler"})
_MAX_BYTES = 4_096


def asks_to_pull(event: Any) -> bool:
    """Tell whether this is no batch, but asks for a pull; bytes and text are JSON."""
    if isinstance(event, bytes | bytearray | str):
        if len(event) > _MAX_BYTES:
            return False
        try:
            event = json.loads(event)
        except (ValueError, RecursionError):
            return False
    if not isinstance(event, dict):
        return False
    source = event.get("source")
    is_scheduled = event.get("detail-type") == "Scheduled Event" and isinstance(source, str) and source in _SCHEDULERS
    return is_scheduled or event == {"mqbridge": "pull"}


class Pull:
    """Refuses what asks for a pull, wherever it comes as a batch."""

    name = "pull"

    def matches(self, event: Any) -> bool:
        """Tell whether this asks for a pull."""
        return isinstance(event, dict) and asks_to_pull(event)

    def read(self, invocation: Invocation) -> Batch:
        """Refuse.

        Raises:
            UnreadableEvent: always.
        """
        del invocation
        raise UnreadableEvent("the event asks for a pull, which is for the inbound function: it has no records")

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Any:
        """Return nothing: there is never a batch."""
        del settled, deadline
