"""The shapes in which one event of a broker about a client stands in an invocation: its own JSON, or that as the data of a CloudEvent.

What carries it as the payload of a message (`body`, `payload_b64`) is read as that message first; the flow of status rules reads the
payload, for only there it means a client.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mqbridge.messages import ClientStatus

__all__ = ["is_status", "read_status"]


def read_status(element: Any, *, time_ms: int = 0) -> ClientStatus | None:
    """Read one event about a client, None if the element is none; `time_ms` serves where it has no time of its own."""
    if not isinstance(element, Mapping) or "body" in element or "payload_b64" in element:
        return None
    value: Any = element
    topic = ""
    if "specversion" in element:
        value = _data(element)
        if not isinstance(value, Mapping) or "body" in value or "payload_b64" in value:
            return None
        time_ms = _time_ms(element.get("time")) or time_ms
        subject = element.get("subject")
        topic = subject if isinstance(subject, str) else ""
    from mqbridge import presence  # here: what devices publish has left above

    return presence.read_status(value, topic=topic, instance_id=_instance_id(value), time_ms=time_ms)


def is_status(element: Any) -> bool:
    """Tell whether the element is an event about a client, readable or not."""
    return read_status(element) is not None


def _data(event: Mapping[str, Any]) -> Any:
    encoded = event.get("data_base64")
    if not isinstance(encoded, str):
        return event.get("data")
    try:
        return json.loads(base64.b64decode(encoded, validate=True))
    except (ValueError, RecursionError):
        return None


def _instance_id(value: Mapping[str, Any]) -> str:
    # No broker names an instance of ours; a rule's SELECT or a webhook's template can.
    found = next((value[key] for key in ("instanceId", "instance_id") if isinstance(value.get(key), str)), "")
    return str(found)


def _time_ms(text: Any) -> int:
    if not isinstance(text, str):
        return 0
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
