"""The shapes in which one event of a broker about a client stands in an invocation: its own JSON, or that as the data of a CloudEvent.

What carries it as the payload of a message (`body`, `payload_b64`, a CloudEvent that is a PUBLISH) is read as that message first; the flow
of status rules reads the payload, for only there it means a client.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mqbridge.messages import ClientStatus
from mqbridge.triggers.fields import data_of
from mqbridge.triggers.shapes import is_publish

__all__ = ["is_status", "read_status"]


def read_status(element: Any, *, time_ms: int = 0) -> ClientStatus | None:
    """Read one event about a client, None if the element is none; `time_ms` serves where it has no time of its own."""
    if not isinstance(element, Mapping) or "body" in element or "payload_b64" in element:
        return None
    value: Any = element
    topic = ""
    if "specversion" in element:
        if is_publish(element):
            return None
        value = data_of(element)
        if not isinstance(value, Mapping) or "body" in value or "payload_b64" in value:
            return None
        time_ms = _time_ms(element.get("time")) or time_ms
        subject = element.get("subject")
        topic = subject if isinstance(subject, str) else ""
    from mqbridge import presence  # here: what devices publish has left above

    return presence.read_status(value, topic=topic, time_ms=time_ms)


def is_status(element: Any) -> bool:
    """Tell whether the element is an event about a client, readable or not."""
    return read_status(element) is not None


def _time_ms(text: Any) -> int:
    if not isinstance(text, str):
        return 0
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
