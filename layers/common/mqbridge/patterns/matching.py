"""Match events against compiled patterns. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from .objects import walk_of
from .parsing import Tree, parse

__all__ = ["Pattern", "PatternSet", "compile", "compile_set"]


class Pattern:
    """An event pattern, ready to match."""

    __slots__ = ("_walk", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._walk = walk_of([tree])

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Tell whether the event matches."""
        return self._walk(event, 1) == 1


class PatternSet:
    """Event patterns to be matched at once, for less than one after the other: each field of an event is looked up once for all."""

    __slots__ = ("_all", "_walk", "patterns")

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.patterns = tuple(patterns)
        self._walk = walk_of([each.tree for each in self.patterns])
        self._all = (1 << len(self.patterns)) - 1

    def matching(self, event: Mapping[str, Any]) -> list[int]:
        """Return the positions of the patterns that the event matches, in ascending order."""
        bits = self._walk(event, self._all)
        positions = []
        while bits:
            lowest = bits & -bits
            positions.append(lowest.bit_length() - 1)
            bits ^= lowest
        return positions


def compile(pattern: Mapping[str, Any] | str) -> Pattern:
    """Return the pattern, an object or its JSON text, ready to match.

    Raises:
        InvalidPattern: names the path of what is wrong.
    """
    return Pattern(parse(pattern))


def compile_set(patterns: Iterable[Pattern]) -> PatternSet:
    """Return the patterns, ready to match at once: `matching` says of each what its own `matches` does."""
    return PatternSet(patterns)
