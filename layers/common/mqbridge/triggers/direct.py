"""What invokes the function itself: a back end with a command, a script, a pipe whose input transformer made messages of its records.

One message in any of the shapes, or an array of them. Asynchronous invocations understand nothing but an error, and synchronous ones
understand it too.
"""

from typing import Any

from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.cloudevents_batch import only_rule_of
from mqbridge.triggers.fields import is_answered_by_id, is_cloud_event
from mqbridge.triggers.raising import Raising
from mqbridge.triggers.records import record_of
from mqbridge.triggers.shapes import is_message

__all__ = ["Direct"]


class Direct(Raising):
    """{"topic", "body", ...}, {"props", "body"}, one CloudEvent, the object of an EMQX webhook; or an array of them."""

    name = "direct"

    def matches(self, event: Any) -> bool:
        """Tell whether this is a message, or an array with at least one: others in it may be broken.

        An array with CloudEvents or queue messages among other things is none: whoever sent it hears answers by their ids.
        """
        if not isinstance(event, list):
            return is_message(event)
        return any(map(is_message, event)) and not any(map(is_answered_by_id, event))

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per message; its id is a CloudEvent's own, else the invocation's with its place.

        Raises:
            UnreadableEvent: a CloudEvent's `mqbridgerule` names no rule.
        """
        event = invocation.event
        elements = event if isinstance(event, list) else [event]
        return Batch(
            trigger=self,
            records=tuple(record_of(each, id=_id_of(each) or invocation.id_of(at)) for at, each in enumerate(elements)),
            only_rule=only_rule_of([each for each in elements if is_cloud_event(each)]),
        )


def _id_of(element: Any) -> str:
    found = element.get("id") if isinstance(element, dict) else None
    return found if isinstance(found, str) else ""
