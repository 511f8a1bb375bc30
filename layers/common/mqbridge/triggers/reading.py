"""Which trigger an invocation's event is of, decided once; and its records."""

import json
from collections.abc import Mapping
from typing import Any

from mqbridge.triggers.batch import Batch, Invocation, Trigger, UnreadableEvent
from mqbridge.triggers.cloudevents_batch import CloudEventsBatch
from mqbridge.triggers.sqs import Sqs
from mqbridge.triggers.status_event import StatusEvent

__all__ = ["TRIGGERS", "read", "trigger_of"]

# In this order: the first that matches has the event.
TRIGGERS: tuple[Trigger, ...] = (Sqs(), CloudEventsBatch(), StatusEvent())

_EXPECTED = 'an SQS batch ({"Records": [{"eventSource": "aws:sqs", ...}]}) or a JSON array of CloudEvents ([{"specversion": "1.0", ...}])'


def read(event: Any, *, request_id: str = "") -> Batch:
    """Return the records of an invocation's event, whichever trigger sent it; bytes and text are JSON.

    Args:
        event: as the platform hands it over.
        request_id: the platform's id of the invocation, for records that have none of their own.

    Raises:
        UnreadableEvent: it is none that a trigger sends.
    """
    raw = bytes(event) if isinstance(event, bytes | bytearray) else None
    if isinstance(event, bytes | bytearray | str):
        try:
            event = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise UnreadableEvent(f"the event is not JSON: {error}") from error
    return trigger_of(event).read(Invocation(event, raw=raw, request_id=request_id))


def trigger_of(event: Any) -> Trigger:
    """Return the trigger that sends such events. Pure.

    Raises:
        UnreadableEvent: there is none; it lists what was expected.
    """
    for trigger in TRIGGERS:
        if trigger.matches(event):
            return trigger
    raise UnreadableEvent(f"the event is none that is known: expected {_EXPECTED}, got {_outline(event)}")


def _outline(event: Any) -> str:
    if isinstance(event, Mapping):
        return f"an object with the keys {', '.join(str(key)[:50] for key in list(event)[:10]) or '(none)'}"
    if isinstance(event, list):
        return f"an array of {len(event)}"
    return f"a {type(event).__name__}"
