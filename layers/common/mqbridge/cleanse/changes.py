"""Events changed by copying what lies on the way to the change; and what operators say of the values that they find. Pure."""

from collections.abc import Mapping
from typing import Any

from mqbridge import json_text
from mqbridge.events import TaskEvent
from mqbridge.extract import MISSING, PlacePath, put
from mqbridge.regexes import Regex

from .operators import Rejected

__all__ = [
    "body_of",
    "changed",
    "kind_of",
    "not_unicode",
    "placed",
    "scalar_text",
    "search",
    "searched_texts",
    "split_into",
    "too_deep",
]

_KINDS = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "an array", type(None): "null"}


def changed(event: TaskEvent, value: Mapping[str, Any]) -> TaskEvent:
    """Return the event with another value; what was published counts no longer once the body is another."""
    before, after = body_of(event.value), body_of(value)
    is_same = before is after or (isinstance(before, str) and isinstance(after, str) and before == after)
    return event._replace(value=value, payload=event.payload if is_same else None)


def split_into(event: TaskEvent, part: int) -> TaskEvent:
    """Return the event as the `part`-th of what it is split into."""
    return event._replace(part=f"{event.part}.{part}" if event.part else str(part))


def placed(value: Any, place: PlacePath, child: Any) -> Any:
    """Return a copy of an event's value with `child` at the place; objects that are missing on the way are made.

    Raises:
        Rejected: something that is no object stands in the way.
    """
    copied = put(value, place.parts, child)
    if place.find(copied) is not child:
        raise Rejected(
            "path_blocked", f"{place.text}: expected an object or nothing on the way there, got another value"
        )
    return copied


def kind_of(value: Any) -> str:
    """Return what people call a JSON value of this type."""
    return "nothing" if value is MISSING else _KINDS.get(type(value), "an object")


def scalar_text(value: Any) -> str | None:
    """Return text as it is, a number as JSON writes it, and None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json_text.encode(value)
    return None


def searched_texts(value: Any) -> list[str]:
    """Return the texts in which an expression looks for a match: of an array each element's, of nothing and null none.

    Raises:
        Rejected: the value is nested too deeply.
    """
    if value is MISSING or value is None:
        return []
    elements = value if isinstance(value, list) else [value]
    try:
        return [each if isinstance(each, str) else json_text.encode(each) for each in elements if each is not None]
    except json_text.InvalidJson as error:
        raise Rejected("not_json", f"expected a value that can be written as JSON, got one that is {error}") from None


def search(regex: Regex, text: str) -> bool:
    """Tell whether the expression is found in the text.

    Raises:
        Rejected: the text is not Unicode.
    """
    try:
        return regex.search(text) is not None
    except UnicodeError:
        raise not_unicode() from None


def not_unicode() -> Rejected:
    """Return the outcome of text with a lone surrogate in it, which only a function transform can have made."""
    return Rejected("not_unicode", "expected Unicode text, got a lone surrogate")


def too_deep(place: str) -> Rejected:
    """Return the outcome of a value that is nested too deeply."""
    return Rejected("not_json", f"{place}: nested too deeply")


def body_of(value: Mapping[str, Any]) -> Any:
    """Return what is at $.data.body, or MISSING."""
    data = value.get("data", MISSING)
    return data.get("body", MISSING) if isinstance(data, Mapping) else MISSING
