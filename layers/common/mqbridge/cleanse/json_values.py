"""JSON values that a function of the deployment is given, and those that it returns: copied, and nothing but JSON. Pure."""

import math
import re
from typing import Any

__all__ = ["NotJson", "copied"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


class NotJson(ValueError):
    """A value that JSON has not."""

    def __init__(self, got: str, path: str = "") -> None:
        super().__init__(got)
        self._got = got
        self._path = path

    def __str__(self) -> str:
        """Say where, what was expected and what came, without the value."""
        return f"${self._path}: expected a JSON value, got {self._got}"

    def within(self, part: object) -> "NotJson":
        """Return the same of a value around it."""
        # What is no plain name may be what a device published.
        step = f"[{part}]" if isinstance(part, int) else f".{part}" if _PLAIN_NAME.fullmatch(str(part)) else "[...]"
        return NotJson(self._got, step + self._path)


def copied(value: Any) -> Any:
    """Return a copy that shares nothing, of lists and dicts with text as keys.

    Raises:
        NotJson: the value, or one within it, is none of JSON's, or is nested too deeply.
    """
    try:
        return _copied(value)
    except RecursionError:
        raise NotJson("one that is nested too deeply") from None


def _copied(value: Any) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotJson("a number that is infinite, or none")
        return float(value)
    if isinstance(value, dict):
        return {_name(name): _within(name, child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_within(at, child) for at, child in enumerate(value)]
    raise NotJson(f"a {type(value).__name__}")


def _within(part: Any, value: Any) -> Any:
    try:
        return _copied(value)
    except NotJson as error:
        raise error.within(part) from None


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise NotJson(f"an object with a {type(name).__name__} as a name")
    return _text(name)


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise NotJson("text with a lone surrogate") from None
    return str.__str__(text)
