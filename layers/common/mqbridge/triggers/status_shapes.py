"""The shapes in which one event of a broker about a client stands in an invocation: its own JSON, that as the data of a CloudEvent, or
either as the detail of an EventBridge event.

What carries it as the payload of a message (`body`, `payload_b64`, a CloudEvent that is a PUBLISH) is read as that message first; the flow
of status rules reads the payload, for only there it means a client.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mqbridge.messages import ClientStatus
from mqbridge.triggers.emqx import PUBLISH
from mqbridge.triggers.fields import data_of
from mqbridge.triggers.shapes import is_eventbridge, is_publish

__all__ = ["is_status", "read_status"]

# EMQX's of a PUBLISH; what a rule selects beside them may be called as the columns of another event.
_PUBLISHED = frozenset({"topic", "payload"})


def read_status(element: Any, *, time_ms: int = 0) -> ClientStatus | None:
    """Read one event about a client, None if the element is none; `time_ms` serves where it has no time of its own."""
    value, topic = element, ""
    if is_eventbridge(value):
        time_ms = _time_ms(value.get("time")) or time_ms
        value = value["detail"]
    if isinstance(value, Mapping) and "specversion" in value:
        if is_publish(value):
            return None
        time_ms = _time_ms(value.get("time")) or time_ms
        subject = value.get("subject")
        value, topic = data_of(value), subject if isinstance(subject, str) else ""
    if not isinstance(value, Mapping) or _is_message(value):
        return None
    from mqbridge import presence  # here: what devices publish has left above

    return presence.read_status(value, topic=topic, time_ms=time_ms)


def is_status(element: Any) -> bool:
    """Tell whether the element is an event about a client, readable or not."""
    return read_status(element) is not None


def _is_message(value: Mapping[str, Any]) -> bool:
    return "body" in value or "payload_b64" in value or value.get("event") == PUBLISH or value.keys() >= _PUBLISHED


def _time_ms(text: Any) -> int:
    if not isinstance(text, str):
        return 0
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
