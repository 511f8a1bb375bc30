"""Fields of events, which anybody may have written: each is what it should be, or the error says what was expected and what came."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from mqbridge.triggers.batch import UnreadableRecord

__all__ = [
    "data_of",
    "from_base64",
    "is_answered_by_id",
    "is_cloud_event",
    "keys_of",
    "kind_of",
    "pairs",
    "text",
    "whole",
    "whole_or",
]


def text(source: Mapping[str, Any], key: str) -> str:
    """Return a field's text, "" where there is none.

    Raises:
        UnreadableRecord: it is no text.
    """
    value = source.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableRecord(f"{key}: expected text, got {kind_of(value)}")
    return value


def whole_or(default: int, source: Mapping[str, Any], key: str, maximum: int) -> int:
    """Return a field's whole number from 0 to `maximum`, or the default where there is none."""
    value = whole(source, key, maximum)
    return default if value is None else value


def whole(source: Mapping[str, Any], key: str, maximum: int) -> int | None:
    """Return a field's whole number from 0 to `maximum`, which may be written as text; None where there is none.

    Raises:
        UnreadableRecord: it is no such number.
    """
    value = source.get(key)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 17:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise UnreadableRecord(f"{key}: expected a whole number from 0 to {maximum}, got {_short(value)}")
    return value


def pairs(source: Mapping[str, Any], key: str) -> tuple[tuple[str, str], ...]:
    """Return a field's array of {"key", "value"} as pairs.

    Raises:
        UnreadableRecord: it is no such array.
    """
    value = source.get(key)
    if not value:
        return ()
    try:
        found = tuple((pair["key"], pair["value"]) for pair in value)
    except (TypeError, KeyError):
        found = ((None, None),)
    if not all(isinstance(name, str) and isinstance(each, str) for name, each in found):
        raise UnreadableRecord(f'{key}: expected an array of {{"key": text, "value": text}}, got {kind_of(value)}')
    return found


def from_base64(value: Any, name: str) -> bytes:
    """Return the bytes of a field's Base64 text.

    Raises:
        UnreadableRecord: it is none.
    """
    if not isinstance(value, str):
        raise UnreadableRecord(f"{name}: expected Base64 text, got {kind_of(value)}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableRecord(f"{name}: expected Base64 text ({error})") from error


def is_cloud_event(element: Any) -> bool:
    """Tell whether this is meant to be a CloudEvent, readable or not."""
    return isinstance(element, dict) and "specversion" in element


def is_answered_by_id(element: Any) -> bool:
    """Tell whether who sends such elements in an array hears which of them failed: CloudEvents and queue messages."""
    return isinstance(element, dict) and ("specversion" in element or "eventSource" in element)


def data_of(event: Mapping[str, Any]) -> Any:
    """Return the data of a CloudEvent: the JSON of `data_base64` where it has that, None if it is none."""
    encoded = event.get("data_base64")
    if not isinstance(encoded, str):
        return event.get("data")
    try:
        return json.loads(base64.b64decode(encoded, validate=True))
    except (ValueError, RecursionError):
        return None


def keys_of(data: Mapping[str, Any]) -> str:
    """Name the first keys of an object, for people; not what it holds."""
    return ", ".join(sorted(str(key)[:50] for key in list(data)[:10])) or "(none)"


def kind_of(value: Any) -> str:
    """Name the kind of a value, for people; not what it holds."""
    return "nothing" if value is None else f"{'an' if type(value).__name__[0] in 'aio' else 'a'} {type(value).__name__}"


def _short(value: Any) -> str:
    try:
        return repr(str(value)[:50])
    except (ValueError, RecursionError):  # a number of more digits than Python writes; brackets without end
        return kind_of(value)
