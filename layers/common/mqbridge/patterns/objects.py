"""Walk an event once for all patterns, field by field. Pure.

All patterns are laid over each other: what any of them asks of an object is in one node, with what is below it. Who asks is a bit (see
`fields`): one for each pattern and, within the object that has the `$or`, one for each alternative. The walk carries the bits of those
whom nothing has refuted yet, and looks at a field only if it concerns one of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import count
from operator import or_
from typing import Any

from .conditions import MISSING, Condition
from .fields import SCALARS, Field, field_of
from .parsing import Leaf, Tree
from .searching import Answer

__all__ = ["Walk", "objects_of", "value_of", "walk_of"]

Walk = Callable[[Mapping[str, Any], int], int]  # of an object and the bits that may still hold, to those that do

# What to do with a field. The bits of those whom it concerns; its name; the bits that hold if it is absent; what becomes of a value that
# is rare; then either the walk of an object, or None and where to look a value up, as `Field` says.
_Step = tuple[
    int,
    str,
    int,
    Answer,
    Walk | None,
    Mapping[Any, int] | None,
    Callable[[Any], int | None],
    Callable[[type], int | None],
    Mapping[type, Answer],
]
_nothing: dict[Any, int] = {}


class _Node:
    def __init__(self) -> None:
        self.asked: dict[str, list[tuple[int, Sequence[Condition]]]] = {}
        self.below: dict[str, _Node] = {}
        self.concerned = 0
        # A bit, and those of which one must hold; the inner ones first.
        self.alternatives: list[tuple[int, int]] = []


def walk_of(trees: Sequence[Tree]) -> Walk:
    """Return the walk for these patterns; the first has bit 1, the next bit 2, then 4."""
    root, bits = _Node(), (1 << at for at in count())
    for tree, bit in [(tree, next(bits)) for tree in trees]:
        _lay(tree, bit, root, bits)
    return _walk(root, next(bits) - 1, is_root=True)


def _lay(tree: Tree, bit: int, node: _Node, bits: Iterator[int]) -> None:
    node.concerned |= bit
    for name, each in tree.fields.items():
        if isinstance(each, Leaf):
            node.asked.setdefault(name, []).append((bit, each.conditions))
        else:
            _lay(each, bit, node.below.setdefault(name, _Node()), bits)
    for group in tree.alternatives:
        any_of = 0
        for each in group:
            alternative = next(bits)
            any_of |= alternative
            _lay(each, alternative, node, bits)
        node.alternatives.append((bit, any_of))


def _walk(node: _Node, everybody: int, *, is_root: bool = False) -> Walk:
    leaves = [_leaf(name, each) for name, each in _in_order(node, everybody)]
    branches = [
        _branch(below.concerned, name, _walk(below, everybody), everybody) for name, below in node.below.items()
    ]
    # What the events of one source differ in is seldom their envelope, so that comes last.
    steps = [*branches, *leaves] if is_root else [*leaves, *branches]
    alternatives = tuple(node.alternatives)
    own = reduce(or_, (any_of for _, any_of in alternatives), 0)

    def walk(event: Mapping[str, Any], bits: int) -> int:
        if own:
            bits |= own
        get, has_dots = event.get, None
        value: Any
        for concerned, name, absent, rare, of_object, bools, answer_to, answer_to_type, searches in steps:
            if not bits & concerned:
                continue
            if (value := get(name)) is None and name not in event:
                if has_dots is None:
                    has_dots = _has_dots(event)
                if not has_dots or (value := value_of(event, name)) is MISSING:
                    if not (bits := bits & absent):
                        return 0
                    continue
            kind = type(value)
            if of_object is not None:
                bits = of_object(value, bits) if kind is dict else rare(value, bits)
            elif kind not in SCALARS:
                bits &= rare(value, bits)
            elif bools is not None and kind is bool:
                bits &= bools[value]
            elif (found := answer_to(value)) is not None or (found := answer_to_type(kind)) is not None:
                bits &= found
            else:
                bits &= searches[kind](value, bits)
            if not bits:
                return 0
        if own:
            for bit, any_of in alternatives:
                if not bits & any_of:
                    bits &= ~bit
            bits &= ~own
        return bits

    return walk


def _in_order(node: _Node, everybody: int) -> list[tuple[str, Field]]:
    """Return what is asked of each field; first where there is least to search, and only named values will do: that refutes most."""
    fields = [(name, field_of(asked, everybody)) for name, asked in node.asked.items()]

    def rank(each: tuple[str, Field]) -> tuple[int, bool, int]:
        others, concerned = each[1].others, each[1].concerned
        return len(each[1].searches), bool(others.get(str, 0) & concerned), -concerned.bit_count()

    return sorted(fields, key=rank)


def _leaf(name: str, field: Field) -> _Step:
    return (
        field.concerned,
        name,
        field.absent,
        field.rare,
        None,
        field.bools,
        field.answers.get,
        field.others.get,
        field.searches,
    )


def _branch(concerned: int, name: str, of_object: Walk, everybody: int) -> _Step:
    absent = of_object({}, everybody)  # there is nothing below: only "exists": false can hold

    def of_other(value: Any, bits: int) -> int:
        if not isinstance(value, list):
            return of_object(value, bits) if isinstance(value, Mapping) else bits & absent
        found, is_empty = 0, True
        for each in value:  # what is asked must hold within one of them
            if type(each) is not dict:
                return reduce(or_, (of_object(each, bits) for each in objects_of(value)))
            is_empty = False
            found |= of_object(each, bits)
        return bits & absent if is_empty else found

    return concerned, name, absent, of_other, of_object, None, _nothing.get, _nothing.get, {}


def objects_of(values: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list and of the lists in it, and an empty one for each list that holds neither."""
    waiting = [values]  # no recursion: an event may be nested more deeply than Python's calls may be
    while waiting:
        is_empty = True
        for each in waiting.pop():
            kind = type(each)
            if kind is dict or (kind not in SCALARS and isinstance(each, Mapping)):
                is_empty = False
                yield each
            elif isinstance(each, list):
                is_empty = False
                waiting.append(each)
        if is_empty:
            yield {}


def _has_dots(event: Mapping[str, Any]) -> bool:
    try:
        return "." in "".join(event)
    except TypeError:  # keys that are no text are not JSON's; `value_of` knows what to do with them
        return True


def value_of(event: Mapping[str, Any], name: str) -> Any:
    """Return what an object has under a name, or MISSING."""
    if name in event:
        return event[name]
    # A dotted key of the event is the path it spells.
    below = {
        key[len(name) + 1 :]: value
        for key, value in event.items()
        if isinstance(key, str) and key.startswith(f"{name}.")
    }
    return below or MISSING
