"""What EMQX posts of a PUBLISH: a webhook's object, or the columns that a rule selects for its HTTP sink.

Columns: EMQX's "Data Sources and Fields" (event message.publish). A rule that selects some of them, or a body template, leaves out
`event`; `topic` and the payload are always needed. JSON cannot hold every payload: `base64_encode(payload) as payload_b64` can.
"""

import json
from collections.abc import Mapping
from typing import Any

from mqbridge.messages import MqttMessage
from mqbridge.triggers.batch import UnreadableRecord
from mqbridge.triggers.fields import from_base64, keys_of, kind_of, pairs, text, whole, whole_or

__all__ = ["PUBLISH", "is_emqx", "read_emqx"]

PUBLISH = "message.publish"
# What no other shape has beside an event, or a payload and topic.
_MARKS = frozenset({"clientid", "node", "pub_props", "publish_received_at", "peerhost", "flags"})
_ABSENT = "undefined"  # how Erlang's undefined stands in JSON


def is_emqx(element: Any) -> bool:
    """Tell whether this is an event of EMQX."""
    if not isinstance(element, dict) or "body" in element:
        return False
    is_event = isinstance(element.get("event"), str) and not _MARKS.isdisjoint(element)
    if is_event or "topic" not in element:
        return is_event
    return "payload" in element or ("payload_b64" in element and not _MARKS.isdisjoint(element))


def read_emqx(columns: Mapping[str, Any], *, id: str, time_ms: int) -> MqttMessage:  # EMQX's own word
    """Read what a device published; `id` and `time_ms` serve where the columns do not tell.

    Raises:
        UnreadableRecord: says what was expected and what came.
    """
    event = text(columns, "event") or PUBLISH
    if event != PUBLISH:
        raise UnreadableRecord(f"event: expected {PUBLISH}, got {event[:50]!r}")
    topic, client_id = text(columns, "topic"), text(columns, "clientid")
    if not topic:
        raise UnreadableRecord(f"topic: expected a topic, got an object with the keys {keys_of(columns)}")
    properties, flags = _object(columns, "pub_props"), _object(columns, "flags")
    return MqttMessage(
        instance_id=text(columns, "instance_id"),
        topic=topic,
        payload=_payload(columns),
        qos=whole_or(1, columns, "qos", 2),
        retain=flags.get("retain") is True,
        message_id=text(columns, "id") or id,
        time_ms=whole(columns, "publish_received_at", 1 << 53) or whole_or(time_ms, columns, "timestamp", 1 << 53),
        client_id="" if client_id == _ABSENT else client_id,
        user_properties=_user_properties(properties),
        message_expiry_interval=whole(properties, "Message-Expiry-Interval", 0xFFFFFFFF),
        content_type=text(properties, "Content-Type"),
    )


def _payload(columns: Mapping[str, Any]) -> bytes:
    if "payload_b64" in columns:
        return from_base64(columns["payload_b64"], "payload_b64")
    if "payload" not in columns:
        raise UnreadableRecord(f"expected payload or payload_b64, got an object with the keys {keys_of(columns)}")
    payload = columns["payload"]
    try:
        # A body template with ${payload} outside quotes makes a JSON payload part of the object.
        if not isinstance(payload, str):
            payload = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return bytes(payload.encode())
    except RecursionError as error:
        raise UnreadableRecord("payload: nested too deeply") from error
    except UnicodeEncodeError as error:
        raise UnreadableRecord("payload: expected Unicode text, got a lone surrogate") from error
    except ValueError as error:
        raise UnreadableRecord("payload: expected JSON, got a number that it cannot write") from error


def _user_properties(properties: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # The pairs keep order and repeated names; the object, which is all that older versions have, does not.
    if properties.get("User-Property-Pairs"):
        return pairs(properties, "User-Property-Pairs")
    found: list[tuple[str, str]] = []
    for name, value in _object(properties, "User-Property").items():
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, str):
                raise UnreadableRecord(f"User-Property: expected text, got {kind_of(each)}")
            found.append((str(name), each))
    return tuple(found)


def _object(columns: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = columns.get(key)
    if value is None or value == _ABSENT:
        return {}
    if not isinstance(value, dict):
        raise UnreadableRecord(f"{key}: expected an object, got {kind_of(value)}")
    return value
