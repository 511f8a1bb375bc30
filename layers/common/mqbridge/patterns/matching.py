"""Match events against a compiled pattern. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from .conditions import MISSING, Condition
from .parsing import Leaf, Tree, parse

__all__ = ["Pattern", "compile", "leaf_matches", "value_of"]


class Pattern:
    """An event pattern, ready to match."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Tell whether the event matches."""
        return _tree_matches(self.tree, event)


def compile(pattern: Mapping[str, Any] | str) -> Pattern:
    """Return the pattern, an object or its JSON text, ready to match.

    Raises:
        InvalidPattern: names the path of what is wrong.
    """
    return Pattern(parse(pattern))


def _tree_matches(tree: Tree, event: Mapping[str, Any]) -> bool:
    for name, node in tree.fields.items():
        value = value_of(event, name)
        if not (leaf_matches(node, value) if isinstance(node, Leaf) else _branch_matches(node, value)):
            return False
    return all(any(_tree_matches(each, event) for each in group) for group in tree.alternatives)


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


def _branch_matches(tree: Tree, value: Any) -> bool:
    if isinstance(value, Mapping):
        return _tree_matches(tree, value)
    if isinstance(value, list):
        # What is asked must hold within one element.
        elements = [element for element in value if isinstance(element, Mapping | list)]
        return any(_branch_matches(tree, element) for element in elements or ({},))
    return _tree_matches(tree, {})  # there is nothing below: only "exists": false can hold


def leaf_matches(leaf: Leaf, value: Any) -> bool:
    """Tell whether a value, or one of a list of values, meets one of the leaf's conditions."""
    if isinstance(value, list):
        elements = list(_scalars(value))
        return any(_one_accepts(leaf.conditions, element) for element in elements or (MISSING,))
    return _one_accepts(leaf.conditions, MISSING if isinstance(value, Mapping) else value)


def _scalars(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        elif not isinstance(value, Mapping):
            yield value


def _one_accepts(conditions: list[Condition], value: Any) -> bool:
    return any(condition.accepts(value) for condition in conditions)
