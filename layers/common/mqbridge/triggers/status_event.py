"""One event of a broker about a client, or an array of them, as it stands: what AWS IoT invokes a function with for a rule on life cycle
events. The invocation is asynchronous: an error is the only answer that the platform understands, and it tries the whole again.
"""

from typing import Any

from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.fields import is_answered_by_id
from mqbridge.triggers.raising import Raising
from mqbridge.triggers.records import record_of
from mqbridge.triggers.shapes import is_message
from mqbridge.triggers.status_shapes import is_status

__all__ = ["StatusEvent"]


class StatusEvent(Raising):
    """{"clientId", "eventType", ...} of AWS IoT or ApsaraMQ, {"event": "client.connected", "clientid", ...} of EMQX, or several."""

    name = "status_event"

    def matches(self, event: Any) -> bool:
        """Tell whether this is such an event, or an array with at least one: others in it may be broken."""
        if not isinstance(event, list):
            return is_status(event)
        return any(map(is_status, event)) and not any(is_message(each) or is_answered_by_id(each) for each in event)

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per event; its id follows from what the invocation holds."""
        events = invocation.event if isinstance(invocation.event, list) else [invocation.event]
        records = tuple(record_of(each, id=invocation.digest_id_of(at)) for at, each in enumerate(events))
        return Batch(trigger=self, records=records)
