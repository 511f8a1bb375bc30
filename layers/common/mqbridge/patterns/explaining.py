"""Say why an event matches a pattern or does not: what each leaf asked and saw, and what it nearly was. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .conditions import MISSING, Exact, is_number
from .fields import scalars
from .matching import Pattern
from .objects import objects_of, value_of
from .parsing import Leaf, Tree, shown_path

__all__ = ["Verdict", "explain"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one leaf of a pattern.

    `path` is its place in the pattern; `asked` and `seen` are JSON, `seen` is "nothing" where the event has no such field;
    `near` says what the value nearly was, or is empty.
    """

    path: str
    asked: str
    seen: str
    holds: bool
    near: str

    def lines(self) -> Iterator[str]:
        """Yield this for people: what was asked and seen, and below it what it nearly was."""
        yield f"{'yes' if self.holds else 'no '} {self.path}: asked {self.asked}, saw {self.seen}"
        if self.near:
            yield f"    near miss: {self.near}"


def explain(pattern: Pattern, event: Mapping[str, Any]) -> list[Verdict]:
    """Return a verdict for each leaf of the pattern, in its order; of an array, for the element that fits best."""
    return list(_tree(pattern.tree, event, event))


def _tree(tree: Tree, value: Any, event: Mapping[str, Any]) -> Iterator[Verdict]:
    for name, node in tree.fields.items():
        below = value_of(value, name) if isinstance(value, Mapping) else MISSING
        if isinstance(node, Leaf):
            near = "" if (holds := _leaf_holds(node, below)) else _near(node, name, below, value, event)
            yield Verdict(shown_path(node.path), json.dumps(node.asked), _shown(below), holds, near)
        else:
            yield from _best(node, below, event)
    for group in tree.alternatives:
        for each in group:
            yield from _tree(each, value, event)


def _leaf_holds(leaf: Leaf, value: Any) -> bool:
    values = list(scalars(value)) or [MISSING] if isinstance(value, list) else [value]
    return any(
        condition.accepts(MISSING if isinstance(each, Mapping) else each)
        for each in values
        for condition in leaf.conditions
    )


def _best(tree: Tree, value: Any, event: Mapping[str, Any]) -> list[Verdict]:
    objects = objects_of(value) if isinstance(value, list) else [value]
    each_of_them = (list(_tree(tree, each, event)) for each in objects)
    return max(each_of_them, key=lambda found: sum(each.holds for each in found))


def _near(leaf: Leaf, name: str, value: Any, parent: Any, event: Mapping[str, Any]) -> str:
    if value is MISSING:
        return _near_key(name, parent, event)
    if isinstance(value, Mapping):
        return "the value is an object, the pattern asks for a value"
    for each in value if isinstance(value, list) else [value]:
        for condition in leaf.conditions:
            if isinstance(condition, Exact) and (found := _near_value(condition.value, each)):
                return found
        numeric = any(isinstance(asked, Mapping) and "numeric" in asked for asked in leaf.asked)
        if numeric and isinstance(each, str) and _number_in(each):
            return f"the value is the text {_shown(each)}, the pattern asks for a number"
    return ""


def _near_value(asked: Any, seen: Any) -> str:
    if isinstance(asked, str) and isinstance(seen, str) and asked.casefold() == seen.casefold():
        return f"the value is {_shown(seen)}, the pattern has {_shown(asked)}: another case"
    if is_number(seen) and isinstance(asked, str) and asked == _shown(seen):
        return f"the value is the number {seen}, the pattern has the text {_shown(asked)}"
    if is_number(asked) and isinstance(seen, str) and seen == _shown(asked):
        return f"the value is the text {_shown(seen)}, the pattern has the number {asked}"
    if isinstance(seen, str) and isinstance(asked, bool | None) and seen == _shown(asked):
        return f"the value is the text {_shown(seen)}, the pattern has {_shown(asked)}"
    return ""


def _near_key(name: str, parent: Any, event: Mapping[str, Any]) -> str:
    for key in parent if isinstance(parent, Mapping) else ():
        if isinstance(key, str) and key != name and key.casefold() == name.casefold():
            return f"the event has the key {_shown(key)} here: another case"
    for path in _places_of(name, event):
        return f"the event has the key {_shown(name)} at {path}"
    return ""


def _places_of(name: str, value: Any) -> Iterator[str]:
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    for path, each in waiting:  # grows while it is walked: the nearest to the top come first
        if isinstance(each, Mapping):
            if name in each:
                yield shown_path((*path, name))
            waiting += [((*path, str(key)), below) for key, below in each.items()]
        elif isinstance(each, list):
            waiting += [((*path, at), below) for at, below in enumerate(each)]


def _number_in(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    try:
        return "nothing" if value is MISSING else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "a value that is nested too deeply to be shown"
