"""What a pattern asks of one value. Pure; the language is specified in docs/patterns.md.

This is the plain meaning of each condition. `fields` asks many conditions at once, and makes its tables with what `accepts` says.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mqbridge.values import Value

__all__ = [
    "MISSING",
    "AnythingBut",
    "Cidr",
    "Condition",
    "Contains",
    "Exact",
    "Exists",
    "IgnoreCase",
    "Numeric",
    "Prefix",
    "Suffix",
    "Wildcard",
]

MISSING: Any = object()  # the value of a field that is not there

# EventBridge counts six decimals; its own engine compares with this tolerance.
_TOLERANCE = 1e-7

# Without arithmetic on the value: a whole number of 400 digits is JSON, and a float cannot hold it.
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: bound - _TOLERANCE < value < bound + _TOLERANCE,
    "!=": lambda value, bound: value <= bound - _TOLERANCE or value >= bound + _TOLERANCE,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
}


def is_number(value: Any) -> bool:
    """Tell whether this is a JSON number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_same(one: Any, other: Any) -> bool:
    """Compare as the language does: numbers by value, everything else only with its own type."""
    if is_number(one) and is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


class Exact(Value):
    """The value itself: text, a number, true, false or null."""

    value: Any

    def accepts(self, value: Any) -> bool:
        return is_same(self.value, value)


class _Edge(Value):
    text: str
    ignores_case: bool = False

    def _folded(self, text: str) -> str:
        return text.casefold() if self.ignores_case else text


class Prefix(_Edge):
    """Text that begins so."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and self._folded(value).startswith(self._folded(self.text))


class Suffix(_Edge):
    """Text that ends so."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and self._folded(value).endswith(self._folded(self.text))


class _OfText(Value):
    text: str


class Contains(_OfText):
    """Text with this in it."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and self.text in value


class IgnoreCase(_OfText):
    """This text in any case."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value.casefold() == self.text.casefold()


class Wildcard(Value):
    """Text that consists of these segments, in this order, with any text between them.

    The first and the last are at the edges, and each of the others is taken where it is found first. That is enough: what can
    follow a later occurrence can follow the first one too. So nothing is tried twice, whatever the value: no regular expression.
    """

    segments: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        first, *inner = self.segments
        if not inner:
            return value == first
        last = inner.pop()
        at, end = len(first), len(value) - len(last)
        return (
            at <= end and value.startswith(first) and value.endswith(last) and follow_each_other(inner, value, at, end)
        )


def follow_each_other(segments: Iterable[str], value: str, at: int, end: int) -> bool:
    """Tell whether the segments are within this part of a value, one after the other."""
    for segment in segments:
        at = value.find(segment, at, end)
        if at < 0:
            return False
        at += len(segment)
    return True


class Numeric(Value):
    """A number within one or two bounds."""

    bounds: tuple[tuple[str, float], ...]

    def accepts(self, value: Any) -> bool:
        return is_number(value) and all(_COMPARISONS[operator](value, bound) for operator, bound in self.bounds)

    def edges(self) -> Iterator[float]:
        """Yield the numbers at which the answer may change."""
        for operator, bound in self.bounds:
            yield from (bound - _TOLERANCE, bound + _TOLERANCE) if operator in ("=", "!=") else (bound,)


class Cidr(Value):
    """An IP address of this block, or this address: from one number to another, of this version of the protocol."""

    version: int
    first: int
    last: int

    def accepts(self, value: Any) -> bool:
        address = address_of(value) if isinstance(value, str) else None
        return address is not None and address[0] == self.version and self.first <= address[1] <= self.last


# Exactly the spellings that Python's ipaddress takes for a part of an IPv4 address: no sign, no leading zero, no other digits.
_OCTETS = {str(octet): octet for octet in range(256)}


def address_of(text: str) -> tuple[int, int] | None:
    """Return the version and the number of an IP address, or None if the text is none."""
    try:
        first, second, third, fourth = text.split(".", 4)
        return 4, _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
    except (ValueError, KeyError):
        if ":" not in text:
            return None
    from ipaddress import IPv6Address  # here, because few patterns need it

    try:
        return 6, int(IPv6Address(text))
    except ValueError:
        return None


class Exists(Value):
    """Whether the field is there, with a value that is no object."""

    wanted: bool

    def accepts(self, value: Any) -> bool:
        return (value is not MISSING) == self.wanted


class AnythingBut(Value):
    """Any value of a field that is there, but those that one of `excluded` accepts."""

    excluded: tuple["Condition", ...]

    def accepts(self, value: Any) -> bool:
        return value is not MISSING and not any(each.accepts(value) for each in self.excluded)


Condition = Exact | Prefix | Suffix | Contains | IgnoreCase | Wildcard | Numeric | Cidr | Exists | AnythingBut
