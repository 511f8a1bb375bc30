"""Ask many conditions at once what they say of a value that none of them names. Pure.

Texts at an edge are looked up by their length, whatever their number; numeric bounds are one sorted list. Answers are bits, see `fields`.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from .conditions import (
    AnythingBut,
    Cidr,
    Condition,
    Contains,
    Exact,
    Exists,
    IgnoreCase,
    Numeric,
    Prefix,
    Suffix,
    Wildcard,
    address_of,
    follow_each_other,
)

__all__ = ["UNLIKE", "Answer", "Asked", "Search", "all_bits", "holding", "is_simple", "number_search", "text_search"]

Asked = Iterable[tuple[int, Sequence[Condition]]]  # a bit, and its conditions, of which one must hold
Answer = Callable[[Any, int], int]  # of a value, to those bits that still matter: it may leave out others
Find = Callable[[Any], int]
Single = tuple[int, Condition]

UNLIKE: Any = object()  # a value that is there, and that no condition names


class Search(NamedTuple):
    """How to find an answer, and how many conditions that asks."""

    find: Answer
    conditions: int


def holding(asked: Asked, value: Any) -> int:
    """Return the bits of those for whom the value will do, by asking every condition."""
    return sum(bit for bit, conditions in asked if any(each.accepts(value) for each in conditions))


def all_bits(asked: Asked) -> int:
    """Return the bits of all who ask."""
    return sum(bit for bit, _ in asked)


def is_simple(condition: Condition) -> bool:
    """Tell whether the condition says the same of all values that it does not name."""
    if isinstance(condition, AnythingBut):
        return all(isinstance(each, Exact) for each in condition.excluded)
    return isinstance(condition, Exact | Exists)


def number_search(asked: Asked, found: int) -> tuple[int, Search | None]:
    """Return the answer for all numbers that no condition names, or how to find it; `found` is true of all of them."""
    asked = list(asked)
    edges = sorted(
        {edge for _, conditions in asked for each in conditions if isinstance(each, Numeric) for edge in each.edges()}
    )
    # Between an edge and the next nothing changes. So a stretch starts at each edge, with the edge alone, and at the float after it:
    # edges are too small for a whole number to be between the two.
    starts = list(chain.from_iterable((edge, math.nextafter(edge, math.inf)) for edge in edges))
    before, *answers = [found | holding(asked, start) for start in (-math.inf, *starts)]
    not_a_number = found | holding(asked, math.nan)
    if not answers:
        return before, None
    answers.insert(0, before)

    def search(value: float, _wanted: int) -> int:
        return answers[bisect_right(starts, value)] if value == value else not_a_number

    return before, Search(search, len(edges))


def text_search(asked: Asked, found: int) -> tuple[int, Search | None]:
    """Return the answer for all texts that no condition names, or how to find it; `found` is true of all of them."""
    singles = [(bit, each) for bit, conditions in asked for each in conditions]
    finders = list(_finders(singles))
    if not finders:
        return found, None
    if len(finders) == 1:
        ((_, only),) = finders
        return found, Search(lambda value, _wanted: found | only(value), len(singles))

    def search(value: str, wanted: int) -> int:
        result = found
        for bits, find in finders:
            if bits & wanted:
                result |= find(value)
        return result

    return found, Search(search, len(singles))


def _finders(asked: Iterable[Single]) -> Iterator[tuple[int, Find]]:
    """Yield the searches that answer for all these conditions, each with the bits that it may find."""
    by_way: dict[Callable[[list[Single]], Find], list[Single]] = defaultdict(list)
    for bit, given in asked:
        condition = _as_edge(given)
        if (way := _way(condition)) is not None:
            by_way[way].append((bit, condition))
    for way, singles in by_way.items():
        bits = 0
        for bit, _ in singles:
            bits |= bit
        yield bits, way(singles)


def _as_edge(condition: Condition) -> Condition:
    """Return the simplest condition that accepts the same texts."""
    match condition:
        case Wildcard((first, "")):
            return Prefix(first)
        case Wildcard(("", last)):
            return Suffix(last)
        case Wildcard(("", inner, "")):
            return Contains(inner)
        case Suffix("", ignores_case):  # the last 0 characters cannot be cut out as the last 3 can
            return Prefix("", ignores_case)
    return condition


def _way(condition: Condition) -> Callable[[list[Single]], Find] | None:
    match condition:
        case IgnoreCase() | Prefix(_, True) | Suffix(_, True):
            return _in_any_case
        case Prefix():
            return _by_beginning
        case Suffix():
            return _by_end
        case Contains():
            return _by_content
        case Wildcard((_, _, *_)):
            return _by_segments
        case Cidr():
            return _by_address
        case AnythingBut():
            return _by_exclusion
        case Numeric():
            return None  # no text is a number
    return _one_by_one


def _by_beginning(asked: list[Single]) -> Find:
    texts = [(bit, each.text) for bit, each in asked if isinstance(each, Prefix)]
    return _at_edge(texts, str.startswith, lambda length: slice(length))


def _by_end(asked: list[Single]) -> Find:
    texts = [(bit, each.text) for bit, each in asked if isinstance(each, Suffix)]
    return _at_edge(texts, str.endswith, lambda length: slice(-length, None))


def _at_edge(
    texts: Iterable[tuple[int, str]],
    is_at_edge: Callable[[str, str | tuple[str, ...]], bool],
    edge: Callable[[int], slice],
) -> Find:
    by_length: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for bit, text in texts:
        by_length[len(text)][text] |= bit
    # One look-up for all texts of a length; where a length has one or two, to try them costs less, and all of them at once least.
    tables = [(edge(length), dict(table)) for length, table in by_length.items() if len(table) > 2]
    few = [pair for table in by_length.values() if len(table) <= 2 for pair in table.items()]
    any_of_few = tuple(text for text, _ in few)
    if not tables and len(few) == 1:
        ((only, only_bits),) = few
        return lambda value: only_bits if is_at_edge(value, only) else 0

    def find(value: str) -> int:
        found = 0
        for part, table in tables:
            found |= table.get(value[part], 0)
        if few and is_at_edge(value, any_of_few):
            for text, bits in few:
                if is_at_edge(value, text):
                    found |= bits
        return found

    return find


def _by_content(asked: list[Single]) -> Find:
    texts = [(bit, each.text) for bit, each in asked if isinstance(each, Contains)]

    def find(value: str) -> int:
        found = 0
        for bit, text in texts:
            if text in value:
                found |= bit
        return found

    return find


def _in_any_case(asked: list[Single]) -> Find:
    whole: dict[str, int] = defaultdict(int)
    at_edges: list[Single] = []
    for bit, each in asked:
        match each:
            case IgnoreCase(text):
                whole[text.casefold()] |= bit
            case Prefix(text, _):
                at_edges.append((bit, Prefix(text.casefold())))
            case Suffix(text, _):
                at_edges.append((bit, Suffix(text.casefold())))
    table, finders = dict(whole), [find for _, find in _finders(at_edges)]

    def find(value: str) -> int:
        folded = value.casefold()
        found = table.get(folded, 0)
        for each in finders:
            found |= each(folded)
        return found

    return find


def _by_segments(asked: list[Single]) -> Find:
    wildcards = []
    for bit, each in asked:
        if isinstance(each, Wildcard):
            first, *inner, last = each.segments
            wildcards.append((bit, first, last, len(first), len(last), inner))

    def find(value: str) -> int:
        found, size = 0, len(value)
        for bit, first, last, at, behind, inner in wildcards:
            if value.endswith(last) and value.startswith(first):  # most fail here, topics at their end
                end = size - behind
                if at <= end and (not inner or follow_each_other(inner, value, at, end)):
                    found |= bit
        return found

    return find


def _by_address(asked: list[Single]) -> Find:
    blocks = [(bit, each.version, each.first, each.last) for bit, each in asked if isinstance(each, Cidr)]

    def find(value: str) -> int:
        if (address := address_of(value)) is None:
            return 0
        of_version, number = address
        found = 0
        for bit, version, first, last in blocks:
            if first <= number <= last and version == of_version:
                found |= bit
        return found

    return find


def _by_exclusion(asked: list[Single]) -> Find:
    exclusions = [
        (bit, [find for _, find in _finders((1, inner) for inner in each.excluded)])
        for bit, each in asked
        if isinstance(each, AnythingBut)
    ]

    def find(value: str) -> int:
        found = 0
        for bit, excluding in exclusions:
            for excludes in excluding:
                if excludes(value):
                    break
            else:
                found |= bit
        return found

    return find


def _one_by_one(asked: list[Single]) -> Find:
    def find(value: str) -> int:
        found = 0
        for bit, each in asked:
            if each.accepts(value):
                found |= bit
        return found

    return find
