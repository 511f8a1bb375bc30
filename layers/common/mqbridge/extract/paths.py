"""JSONPath (RFC 9535), with hyphens in short names as users of the managed service write them ($.data.body.risk-score).

A path that names one place, by names and indexes alone, is looked up directly; any other goes to a library, which is loaded then.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

__all__ = [
    "MISSING",
    "InvalidPath",
    "Path",
    "PlacePath",
    "TooManySteps",
    "compile_path",
    "compile_place",
    "put",
    "remove",
]

MISSING: Any = object()  # what a path finds that has no result

# RFC 9535, 2.5.1.1 (member-name-shorthand), and "-" behind the first character: ASCII's letters, digits and "_", and whatever is not ASCII.
# Said by what they leave out, for a class with ranges up to U+10FFFF takes 3 ms to compile.
_NAME_FIRST = r"[^\x00-@\[-^`{-\x7f]"
_NAME_CHAR = r"[^\x00-,./:-@\[-^`{-\x7f]"
_SHORT_NAME = f"{_NAME_FIRST}{_NAME_CHAR}*"
# 2.3.1.1 (string literals); 2.3.3 (indexes).
_QUOTED = r"'(?:[^'\\\x00-\x1f]|\\.)*'|\"(?:[^\"\\\x00-\x1f]|\\.)*\""
_SEGMENT = re.compile(
    rf"[ \t\n\r]*(?:\.(?P<name>{_SHORT_NAME})|\[[ \t\n\r]*(?:(?P<quoted>{_QUOTED})|(?P<index>0|-?[1-9][0-9]{{0,14}}))[ \t\n\r]*\])"
)
# These two are compiled when they are needed, which is seldom.
_HYPHENATED = rf"({_QUOTED})|(\.\.?)({_SHORT_NAME})"
_ESCAPE = r"\\(u[0-9A-Fa-f]{4}|(?s:.))"
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\", "'": "'", '"': '"'}


class InvalidPath(ValueError):
    """Text that is no JSONPath, or none of the kind that is needed; says what was expected and what came."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class TooManySteps(ValueError):
    """What the event holds is too large, or nested too deeply, to be searched by a path: the record can never succeed."""


class Path(Protocol):
    """A compiled path."""

    text: str

    def find(self, root: Any) -> Any:
        """Return the value at the path, a list of them if it hits several, or MISSING.

        Raises:
            TooManySteps: it would take too long to find out, or go too deep.
        """
        ...


class PlacePath:
    """A path that names one place: names and indexes alone. `find` returns the value at the place, or MISSING."""

    def __init__(self, text: str, parts: tuple[str | int, ...]) -> None:
        self.text = text
        self.parts = parts
        has_index = any(isinstance(part, int) for part in parts)
        self.find: Callable[[Any], Any] = partial(_find_checked, parts) if has_index else _finder(parts)


def _finder(names: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Return what finds a place by names alone: as deep as most paths go without a loop, which would take twice as long."""
    if len(names) == 2:
        one, two = names

        def find(root: Any) -> Any:
            try:
                return root[one][two]
            except (KeyError, TypeError):  # no such name; not an object
                return MISSING

    elif len(names) == 3:
        one, two, three = names

        def find(root: Any) -> Any:
            try:
                return root[one][two][three]
            except (KeyError, TypeError):
                return MISSING

    else:

        def find(root: Any) -> Any:
            try:
                for name in names:
                    root = root[name]
            except (KeyError, TypeError):
                return MISSING
            return root

    return find


def _find_checked(parts: tuple[str | int, ...], value: Any) -> Any:
    for part in parts:
        # Text has indexes too, in Python: JSONPath knows none.
        if isinstance(part, str):
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        else:
            value = value[part] if isinstance(value, list) and -len(value) <= part < len(value) else MISSING
        if value is MISSING:
            return MISSING
    return value


def compile_path(text: str) -> Path:
    """Return the path, ready to find.

    Raises:
        InvalidPath: the text is no JSONPath.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidPath("Unicode text", "half of a surrogate pair") from None
    parts = _place_parts(text)
    if parts is not None:
        return PlacePath(text, parts)
    from .queries import compile_query  # here, because most tasks do without

    return compile_query(text, re.sub(_HYPHENATED, _quote_name, text))


def compile_place(text: str) -> PlacePath:
    """Return a path that names one place below the root.

    Raises:
        InvalidPath: the text is no JSONPath, may hit several values, or is the root.
    """
    path = compile_path(text)
    if not isinstance(path, PlacePath) or not path.parts:
        raise InvalidPath("a path to one place, by names and indexes, such as $.data.body.name", repr(text))
    return path


def put(root: Any, parts: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy of `root` with `value` at the place; what lies beside the way there is shared, not copied.

    Objects that are missing on the way are made. Where the way is barred (by text, by a list that is too short), `root` is returned.
    """
    if not parts:
        return value
    part, below = parts[0], parts[1:]
    if isinstance(part, int):
        if not isinstance(root, list) or not -len(root) <= part < len(root):
            return root
        child = put(root[part], below, value)
        copied_list = list(root)
        copied_list[part] = child
        return copied_list
    if not isinstance(root, dict):
        return root
    return {**root, part: put(root.get(part, {}), below, value)}


def remove(root: Any, parts: tuple[str | int, ...]) -> Any:
    """Return a copy of `root` without what is at the place; `root` itself if there is nothing."""
    part, below = parts[0], parts[1:]
    is_here = (
        part in root
        if isinstance(root, dict)
        else isinstance(part, int) and isinstance(root, list) and -len(root) <= part < len(root)
    )
    if not is_here:
        return root
    if below:
        child = remove(root[part], below)
        return root if child is root[part] else put(root, (part,), child)
    if isinstance(root, dict):
        return {name: value for name, value in root.items() if name != part}
    return [value for at, value in enumerate(root) if at != part % len(root)]


def _place_parts(text: str) -> tuple[str | int, ...] | None:
    """Return the names and indexes of a path that consists of nothing else, or None."""
    if not text.startswith("$"):
        raise InvalidPath("a JSONPath, which begins with $", repr(text) if text else "nothing")
    parts: list[str | int] = []
    at = 1
    while at < len(text):
        segment = _SEGMENT.match(text, at)
        if segment is None:
            return None
        if segment["name"] is not None:
            parts.append(segment["name"])
        elif segment["index"] is not None:
            parts.append(int(segment["index"]))
        else:
            name = _unquoted(segment["quoted"])
            if name is None:
                return None  # the library says what is wrong with it
            parts.append(name)
        at = segment.end()
    return tuple(parts)


def _unquoted(quoted: str) -> str | None:
    pieces = list(_pieces(quoted[1:-1]))
    if None in pieces:
        return None
    text = "".join(str(piece) for piece in pieces)
    try:
        # Escaped surrogates that belong together are one character.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def _pieces(inner: str) -> Iterator[str | None]:
    at = 0
    for escape in re.finditer(_ESCAPE, inner):
        yield inner[at : escape.start()]
        code = escape[1]
        yield chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPED.get(code)
        at = escape.end()
    yield inner[at:]


def _quote_name(found: re.Match[str]) -> str:
    quoted, dots, name = found.groups()
    if quoted is not None or "-" not in name:
        return found[0]
    return f"{'..' if dots == '..' else ''}['{name}']"
