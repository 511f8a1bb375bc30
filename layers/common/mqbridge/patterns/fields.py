"""What the value of one field says to all who ask about it, in few steps however many they are. Pure.

Who asks is a bit of a whole number, and an answer is one too: the bits of those for whom the value will do. The answers for values that
conditions name are in a dictionary, made beforehand by asking every condition; `searching` answers for the others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from .conditions import MISSING, AnythingBut, Condition, Exact, is_number
from .searching import UNLIKE, Answer, Asked, Search, all_bits, holding, is_simple, number_search, text_search

__all__ = ["SCALARS", "Field", "field_of", "scalars"]

SCALARS = frozenset({str, int, float, bool, type(None)})

# Devices send the same texts again and again (topics, states, versions), so what was found by a search is kept: for each field as many
# texts as its search is worth, 240 bytes each, which is 1 MB at most. A field that has shown more of them will show others, and keeping
# those would gain nothing.
LEARNED_PER_CONDITION = 500
MOST_LEARNED = 4_000
LONGEST_LEARNED = 64


class _Kind(NamedTuple):
    """The answers for values of one type: for those that conditions name, else by a search, else the same for all."""

    named: Mapping[Any, int]
    search: Search | None
    other: int


class Field(NamedTuple):
    """The answers of one field to those whom it concerns.

    Ask in this order: `absent` if there is no such field, `rare` if the type of its value is none of `SCALARS`, `bools` for true and
    false if it is not None, `answers` for the value, `others` for its type, and else the one of `searches` for its type.
    """

    concerned: int
    absent: int
    rare: Answer
    bools: Mapping[Any, int] | None
    answers: Mapping[Any, int]
    others: Mapping[type, int]
    searches: Mapping[type, Answer]


def field_of(asked: Asked, everybody: int) -> Field:
    """Make the tables of one field; every answer has the bits of those, too, who ask nothing of it."""
    concerned = all_bits(asked)
    free = everybody & ~concerned

    def answer(value: Any) -> int:
        return free | holding(asked, value)

    texts, numbers = _kind(asked, free, _is_text, text_search), _kind(asked, free, is_number, number_search)
    kinds: tuple[tuple[type, _Kind], ...] = ((str, texts), (int, numbers), (float, numbers))
    others = {each: kind.other for each, kind in kinds if kind.search is None}
    searches = {each: kind.search.find for each, kind in kinds if kind.search is not None}
    absent, bools = answer(MISSING), {True: answer(True), False: answer(False)}
    answers = {**texts.named, **numbers.named, None: answer(None)}
    if texts.search is not None:
        searches[str] = _learning(texts.search, answers, searches, everybody)

    answer_to, answer_to_type = answers.get, others.get

    def rare(value: Any, wanted: int) -> int:
        if not isinstance(value, list):
            return absent if isinstance(value, Mapping) else answer(value)
        found, is_empty = 0, True
        for each in value:
            kind = type(each)
            if kind is dict:
                continue
            if kind is bool:
                found |= bools[each]
            elif kind not in SCALARS:
                return of_nested_list(value, wanted)
            elif (one := answer_to(each)) is not None or (one := answer_to_type(kind)) is not None:
                found |= one
            else:
                found |= searches[kind](each, wanted)
            is_empty = False
        return absent if is_empty else found

    def of_nested_list(values: list[Any], wanted: int) -> int:
        found = [rare([each], wanted) if type(each) in SCALARS else answer(each) for each in scalars(values)]
        return reduce(or_, found) if found else absent

    # To a dictionary true is 1, and false is 0. They need one of their own, unless those numbers have the same answers anyway.
    if all(rare([number], everybody) == bools[bool(number)] for number in (0, 1)):
        answers |= bools
        return Field(concerned, absent, rare, None, answers, others, searches)
    return Field(concerned, absent, rare, bools, answers, others, searches)


def _learning(search: Search, answers: dict[Any, int], searches: dict[type, Answer], everybody: int) -> Answer:
    """Return a search that puts what it finds among the answers, and leaves its place to the plain one when there are enough."""
    find = search.find
    most = len(answers) + min(LEARNED_PER_CONDITION * search.conditions, MOST_LEARNED)

    def learn(value: str, wanted: int) -> int:
        if len(value) > LONGEST_LEARNED:
            return find(value, wanted)
        if len(answers) >= most:
            searches[str] = find
        found = answers[value] = find(value, everybody)
        return found

    return learn


def scalars(values: list[Any]) -> Iterator[Any]:
    """Yield the values of a list that are no objects, and those of the lists in it."""
    waiting = [iter(values)]  # no recursion: an event may be nested more deeply than Python's calls may be
    while waiting:
        for each in waiting[-1]:
            if isinstance(each, list):
                waiting.append(iter(each))
                break
            if not isinstance(each, Mapping):
                yield each
        else:
            waiting.pop()


def _kind(
    asked: Asked,
    free: int,
    is_of_kind: Callable[[Any], bool],
    search_of: Callable[[Asked, int], tuple[int, Search | None]],
) -> _Kind:
    of_unnamed = free | holding(
        [(bit, [each for each in conditions if is_simple(each)]) for bit, conditions in asked], UNLIKE
    )
    searching = {bit: conditions for bit, conditions in asked if not all(map(is_simple, conditions))}
    naming: dict[Any, dict[int, Sequence[Condition]]] = defaultdict(dict)
    for bit, conditions in asked:
        for value in filter(is_of_kind, _named(conditions)):
            if (
                value == value
            ):  # NaN is not, so no value is equal to it, while a dictionary would find the very same object
                naming[value][bit] = conditions
    known = {}
    for value, names_it in naming.items():
        # Only who names the value, or searches, may think otherwise of it than of one that nobody names.
        decided = (searching | names_it).items()
        known[value] = (of_unnamed & ~all_bits(decided)) | holding(decided, value)
    other, search = search_of(
        [(bit, [each for each in conditions if not is_simple(each)]) for bit, conditions in searching.items()],
        of_unnamed,
    )
    return _Kind(known, search, other)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _named(conditions: Iterable[Condition]) -> Iterator[Any]:
    for condition in conditions:
        if isinstance(condition, Exact):
            yield condition.value
        elif isinstance(condition, AnythingBut):
            yield from _named(condition.excluded)
