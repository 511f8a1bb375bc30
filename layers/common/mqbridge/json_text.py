"""JSON of tasks' payloads: decoded fast, and exact. Whole numbers of any size stay what they are."""

import json
from typing import Any

import msgspec

__all__ = ["InvalidJson", "decode", "encode", "repeated_key"]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# msgspec writes whole numbers of 64 bits only.
_encode_large = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class InvalidJson(ValueError):
    """Text that is not JSON (RFC 8259), or is nested too deeply to be read."""


def decode(text: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        InvalidJson: says what is wrong with it, and nothing of what it holds.
    """
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidJson(_why(error)) from None
    except RecursionError:
        raise InvalidJson("nested too deeply") from None


def encode(value: Any) -> str:
    """Return a JSON value's text, compact.

    Raises:
        InvalidJson: the value is nested too deeply, or holds what is no Unicode text, or a number of thousands of digits.
    """
    try:
        try:
            return _encode(value).decode()
        except OverflowError:
            return _encode_large(value)
    except (UnicodeError, RecursionError) as error:
        raise InvalidJson(_why(error)) from None
    except ValueError:  # which is what Python says of it
        raise InvalidJson("a number of too many digits") from None


def repeated_key(text: str) -> str | None:
    """Return a key that an object in a JSON text has twice; None if there is none, or the text is not JSON.

    Of such keys all decoders take the last, so that what a person wrote first would not count, and nobody say so.
    """
    repeated: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                repeated.append(name)
            seen.add(name)

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return None
    return repeated[0] if repeated else None


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "not UTF-8"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).removeprefix("JSON is malformed: ")
