"""An EventBridge rule's Lambda target: one event per invocation, whose detail is one message in any of the shapes.

Shape: the EventBridge User Guide's "events"; `detail` is the sender's own, here what an AWS IoT rule selects, or a command. The target
invokes asynchronously.
"""

from collections.abc import Mapping
from typing import Any

from mqbridge.triggers.batch import Batch, Invocation, UnreadableRecord
from mqbridge.triggers.raising import Raising
from mqbridge.triggers.records import record_of
from mqbridge.triggers.shapes import time_ms_of

__all__ = ["EventBridge"]


class EventBridge(Raising):
    """{"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail": {...}}."""

    name = "eventbridge"

    def matches(self, event: Any) -> bool:
        """Tell whether this is an event of a bus."""
        return isinstance(event, dict) and "detail-type" in event and "detail" in event

    def read(self, invocation: Invocation) -> Batch:
        """Return the one record; its id is the event's."""
        event = invocation.event
        event_id = event.get("id")
        record_id = event_id if isinstance(event_id, str) and event_id else invocation.id_of()
        record = record_of(event, id=record_id, time_ms=_time_ms(event), parse=lambda received: received["detail"])
        return Batch(trigger=self, records=(record,))


def _time_ms(event: Mapping[str, Any]) -> int:
    try:
        return time_ms_of(event.get("time"))
    except UnreadableRecord:  # EventBridge's own always is one; of a test event it does not matter
        return 0
