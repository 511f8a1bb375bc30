"""An AWS IoT rule's Lambda action: one message per invocation, as the rule's SELECT makes it.

The action sends the object that the SELECT results in and no envelope, and invokes asynchronously (AWS IoT Developer Guide, "Lambda").
A raw payload needs `encode(*, 'base64') AS payload_b64`, which also tells this event from all others; DESIGN section 3 has the columns.
"""

from typing import Any

from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.emqx import is_emqx
from mqbridge.triggers.raising import Raising
from mqbridge.triggers.records import record_of

__all__ = ["Iot"]


class Iot(Raising):
    """{"payload_b64", "topic", "client_id"?, "ts_ms"?, "trace_id"?, "content_type"?, "origin"?, "qos"?, "user_properties"?}."""

    name = "iot"

    def matches(self, event: Any) -> bool:
        """Tell whether these are the columns of an AWS IoT rule."""
        return (
            isinstance(event, dict)
            and "payload_b64" in event
            and "specversion" not in event
            and "detail" not in event
            and not is_emqx(event)
        )

    def read(self, invocation: Invocation) -> Batch:
        """Return the one record; its id is AWS IoT's trace id, else the invocation's, which is the same on AWS's own retries."""
        columns = invocation.event
        trace_id = columns.get("trace_id")
        record_id = trace_id if isinstance(trace_id, str) and trace_id else invocation.id_of()
        return Batch(trigger=self, records=(record_of(columns, id=record_id),))
