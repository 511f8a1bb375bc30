"""What a pattern asks of one value. Pure; the language is specified in docs/patterns.md."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: abs(value - bound) < _TOLERANCE,
    "!=": lambda value, bound: abs(value - bound) >= _TOLERANCE,
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


@dataclass(frozen=True, slots=True)
class Exact:
    """The value itself: text, a number, true, false or null."""

    value: Any

    def accepts(self, value: Any) -> bool:
        return is_same(self.value, value)


@dataclass(frozen=True, slots=True)
class Prefix:
    """Text that begins so."""

    text: str
    ignores_case: bool = False

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and _folded(value, self).startswith(_folded(self.text, self))


@dataclass(frozen=True, slots=True)
class Suffix:
    """Text that ends so."""

    text: str
    ignores_case: bool = False

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and _folded(value, self).endswith(_folded(self.text, self))


def _folded(text: str, condition: Prefix | Suffix) -> str:
    return text.casefold() if condition.ignores_case else text


@dataclass(frozen=True, slots=True)
class Contains:
    """Text with this in it."""

    text: str

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and self.text in value


@dataclass(frozen=True, slots=True)
class IgnoreCase:
    """This text in any case."""

    text: str

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value.casefold() == self.text.casefold()


@dataclass(frozen=True, slots=True)
class Wildcard:
    r"""Text of this form; * stands for any text, \* and \\ for themselves."""

    text: str
    form: re.Pattern[str]

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and self.form.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number within one or two bounds."""

    bounds: tuple[tuple[str, float], ...]

    def accepts(self, value: Any) -> bool:
        return is_number(value) and all(_COMPARISONS[operator](value, bound) for operator, bound in self.bounds)


@dataclass(frozen=True, slots=True)
class Cidr:
    """An IP address of this block, or this address."""

    text: str
    network: Any  # ipaddress.IPv4Network or IPv6Network

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        from ipaddress import ip_address  # here, because few patterns need it

        try:
            address = ip_address(value)
        except ValueError:
            return False
        return address.version == self.network.version and address in self.network


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether the field is there, with a value that is no object."""

    wanted: bool

    def accepts(self, value: Any) -> bool:
        return (value is not MISSING) == self.wanted


@dataclass(frozen=True, slots=True)
class AnythingBut:
    """Any value of a field that is there, but those that one of `excluded` accepts."""

    excluded: tuple["Condition", ...]

    def accepts(self, value: Any) -> bool:
        return value is not MISSING and not any(each.accepts(value) for each in self.excluded)


Condition = Exact | Prefix | Suffix | Contains | IgnoreCase | Wildcard | Numeric | Cidr | Exists | AnythingBut
