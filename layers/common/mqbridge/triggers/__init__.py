"""Triggers: which invocation event this is, what records it holds, and what its sender wants to hear back."""

import json
from typing import Any

from .batch import Batch, Trigger, UnreadableEvent
from .cloudevents_batch import CloudEventsBatch
from .sqs import Sqs
from .visibility import hiding_by

__all__ = ["Batch", "Trigger", "UnreadableEvent", "hiding_by", "read"]

_TRIGGERS: tuple[Trigger, ...] = (Sqs(), CloudEventsBatch())


def read(event: Any) -> Batch:
    """Return the records of an invocation's event, whichever trigger sent it; bytes and text are JSON.

    Raises:
        UnreadableEvent: it is none that a trigger sends.
    """
    if isinstance(event, bytes | bytearray | str):
        try:
            event = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise UnreadableEvent(f"the event is not JSON: {error}") from error
    for trigger in _TRIGGERS:
        if trigger.matches(event):
            return trigger.read(event)
    raise UnreadableEvent(
        'the event is none that is known: expected an SQS batch ({"Records": [{"eventSource": "aws:sqs", ...}]}) '
        'or a JSON array of CloudEvents ([{"specversion": "1.0", ...}]), '
        f"got {_outline(event)}"
    )


def _outline(event: Any) -> str:
    if isinstance(event, dict):
        return f"an object with the keys {', '.join(str(key)[:50] for key in list(event)[:10]) or '(none)'}"
    if isinstance(event, list):
        return f"an array of {len(event)}"
    return f"a {type(event).__name__}"
