"""Function Compute's ApsaraMQ for MQTT trigger: an array of messages without envelope.

Shape: Function Compute's "formats of event for different triggers". There is neither id nor time, and no answer for a part of the array:
after an error, all of it comes again, perhaps under another request id. So ids follow from what the whole array holds: they are the same
when it comes again. Two arrays with all the same messages in them have the same ids too.
"""

from typing import Any

from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.fields import is_answered_by_id
from mqbridge.triggers.raising import Raising
from mqbridge.triggers.records import record_of

__all__ = ["FcMqtt"]


class FcMqtt(Raising):
    """[{"props": {"firstTopic", "secondTopic", "clientId"}, "body"}]."""

    name = "fc_mqtt"

    def matches(self, event: Any) -> bool:
        """Tell whether this is such an array; one element with its marks is enough, others may be broken."""
        return isinstance(event, list) and any(map(_is_ours, event)) and not any(map(is_answered_by_id, event))

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per message."""
        elements = enumerate(invocation.event)
        return Batch(
            trigger=self, records=tuple(record_of(each, id=invocation.digest_id_of(at)) for at, each in elements)
        )


def _is_ours(element: Any) -> bool:
    return isinstance(element, dict) and "props" in element and "body" in element
