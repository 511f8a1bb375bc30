"""Read an event pattern: JSON in, a tree of conditions out, or a fault that names its place. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mqbridge.values import Value

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
    is_number,
)

__all__ = ["InvalidPattern", "Leaf", "Path", "Tree", "parse", "shown_path"]

Path = tuple[str | int, ...]

MAX_OPERAND = 1.0e9
# Matching recurses as deep as a pattern goes. What decoders take of an event is 1,000 levels and more, what anybody writes is ten.
MAX_LEVELS = 100
_LOWER, _UPPER = (">", ">="), ("<", "<=")
_OPERATORS = (*_LOWER, *_UPPER, "=", "!=")
MATCHERS = frozenset(
    {"prefix", "suffix", "contains", "anything-but", "numeric", "cidr", "exists", "equals-ignore-case", "wildcard"}
)
_NESTED = ("prefix", "suffix", "wildcard", "equals-ignore-case")


def shown_path(path: Path) -> str:
    """Return a path within a pattern as people write it: $.data.body[0].numeric."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


class InvalidPattern(ValueError):
    """A pattern that says nothing, or nothing that can be; `path` is where, `expected` and `got` what."""

    def __init__(self, path: Path, expected: str, got: str) -> None:
        super().__init__(f"{shown_path(path)}: expected {expected}, got {got}")
        self.path = path
        self.expected = expected
        self.got = got


class Leaf(Value):
    """The conditions on one field, of which one must hold, and the JSON they were read from."""

    path: Path
    asked: list[Any]
    conditions: list[Condition]


class Tree:
    """What is asked of one object: of each field something, and of each group of alternatives one."""

    def __init__(self) -> None:
        self.fields: dict[str, Tree | Leaf] = {}
        self.alternatives: list[list[Tree]] = []


def parse(pattern: Mapping[str, Any] | str) -> Tree:
    """Read a pattern, an object or its JSON text.

    Raises:
        InvalidPattern: names the path of what is wrong.
    """
    document: Any = pattern
    if isinstance(pattern, str):
        try:
            document = json.loads(pattern)
        except (ValueError, RecursionError) as error:
            raise InvalidPattern((), "JSON", f"text that is none ({error})") from error
    if not isinstance(document, Mapping):
        raise InvalidPattern((), "an object", _shown(document))
    return _tree(document, ()) if document else Tree()


def _tree(document: Mapping[str, Any], path: Path) -> Tree:
    if not document:
        raise InvalidPattern(path, "at least one field", "an empty object")
    tree = Tree()
    for key, value in document.items():
        place = (*path, key)
        if _levels(place) > MAX_LEVELS:
            raise InvalidPattern(place, f"at most {MAX_LEVELS} levels", f"{_levels(place)}")
        if key == "$or" and _are_alternatives(value):
            tree.alternatives.append([_tree(each, (*place, at)) for at, each in enumerate(value)])
        elif isinstance(value, Mapping):
            _put(tree, str(key), _tree(value, place), place)
        elif isinstance(value, list):
            _put(tree, str(key), Leaf(place, value, _conditions(value, place)), place)
        else:
            raise InvalidPattern(
                place, "a list of values and conditions, or an object", f"{_shown(value)}: write [{_shown(value)}]"
            )
    return tree


def _levels(path: Path) -> int:
    return sum(part.count(".") + 1 if isinstance(part, str) else 1 for part in path)


def _are_alternatives(value: Any) -> bool:
    # As event-ruler: anything else under "$or" is an ordinary field of that name.
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(each, Mapping) and each and MATCHERS.isdisjoint(each) for each in value)
    )


def _put(tree: Tree, key: str, node: Tree | Leaf, path: Path) -> None:
    """Put a node under its key; a dotted key is the path it spells."""
    *parents, last = key.split(".")
    for parent in parents:
        below = tree.fields.setdefault(parent, Tree())
        if not isinstance(below, Tree):
            raise InvalidPattern(path, "one condition on a field", "another one, on the same path")
        tree = below
    known = tree.fields.get(last)
    if known is None:
        tree.fields[last] = node
    elif isinstance(known, Tree) and isinstance(node, Tree):
        for name, child in node.fields.items():
            _put(known, name, child, path)
        known.alternatives += node.alternatives
    else:
        raise InvalidPattern(path, "one condition on a field", "another one, on the same path")


def _conditions(values: list[Any], path: Path) -> list[Condition]:
    if not values:
        raise InvalidPattern(path, "at least one value or condition", "an empty list")
    return [_condition(value, (*path, at)) for at, value in enumerate(values)]


def _condition(value: Any, path: Path) -> Condition:
    if isinstance(value, list):
        raise InvalidPattern(path, "a value or a condition", "a list in a list")
    if not isinstance(value, Mapping):
        return Exact(value)
    if len(value) != 1:
        hint = "; write a condition for each: [{...}, {...}] holds if one does" if value else ""
        raise InvalidPattern(path, "one matcher in a condition", f"{len(value)}{hint}")
    ((name, operand),) = value.items()
    readers: dict[str, Callable[[], Condition]] = {
        "prefix": lambda: Prefix(*_edge(operand, (*path, "prefix"))),
        "suffix": lambda: Suffix(*_edge(operand, (*path, "suffix"))),
        "contains": lambda: Contains(_text(operand, (*path, "contains"), may_be_empty=False)),
        "equals-ignore-case": lambda: IgnoreCase(_text(operand, (*path, "equals-ignore-case"))),
        "wildcard": lambda: _wildcard(operand, (*path, "wildcard")),
        "numeric": lambda: _numeric(operand, (*path, "numeric")),
        "cidr": lambda: _cidr(operand, (*path, "cidr")),
        "exists": lambda: _exists(operand, (*path, "exists")),
        "anything-but": lambda: _anything_but(operand, (*path, "anything-but")),
    }
    if name not in readers:
        raise InvalidPattern(path, f"one of the matchers {', '.join(sorted(readers))}", repr(name))
    return readers[name]()


def _text(operand: Any, path: Path, *, may_be_empty: bool = True) -> str:
    if not isinstance(operand, str) or not (operand or may_be_empty):
        raise InvalidPattern(path, "text" if may_be_empty else "text that is not empty", _shown(operand))
    return operand


def _edge(operand: Any, path: Path) -> tuple[str, bool]:
    if isinstance(operand, Mapping) and list(operand) == ["equals-ignore-case"]:
        return _text(operand["equals-ignore-case"], (*path, "equals-ignore-case")), True
    if not isinstance(operand, str):
        raise InvalidPattern(path, 'text, or {"equals-ignore-case": text}', _shown(operand))
    return operand, False


def _wildcard(operand: Any, path: Path) -> Wildcard:
    text = _text(operand, path)
    if re.search(r"\\(?![*\\])", re.sub(r"\\[*\\]", "", text)):
        raise InvalidPattern(path, r"a backslash only before * or another backslash", repr(text))
    segments = [""]
    for part in re.findall(r"\\[*\\]|\*|[^*\\]+", text):
        if part == "*":
            segments.append("")
        else:
            segments[-1] += part[1:] if part[0] == "\\" else part
    if "" in segments[1:-1]:
        raise InvalidPattern(path, "no two * in a row", repr(text))
    return Wildcard(tuple(segments))


def _numeric(operand: Any, path: Path) -> Numeric:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise InvalidPattern(path, '[operator, number] or [">", number, "<", number]', _shown(operand))
    bounds = []
    for operator, number in zip(operand[::2], operand[1::2], strict=True):
        if operator not in _OPERATORS:
            raise InvalidPattern(path, f"one of the operators {' '.join(_OPERATORS)}", _shown(operator))
        if not is_number(number) or not -MAX_OPERAND <= number <= MAX_OPERAND:
            raise InvalidPattern(path, "a number from -1.0e9 to 1.0e9", _shown(number))
        bounds.append((operator, float(number)))
    if len(bounds) == 2:
        (lower, low), (upper, high) = bounds
        if lower not in _LOWER or upper not in _UPPER or low >= high:
            raise InvalidPattern(
                path, "a lower bound (> or >=) and then a greater upper one (< or <=)", _shown(operand)
            )
    return Numeric(tuple(bounds))


def _cidr(operand: Any, path: Path) -> Cidr:
    from ipaddress import ip_network  # here, because few patterns need it

    text = _text(operand, path)
    try:
        network = ip_network(text, strict=False)
        return Cidr(network.version, int(network.network_address), int(network.broadcast_address))
    except ValueError as error:
        raise InvalidPattern(path, "an IP address or block, such as 10.0.0.0/24", repr(text)) from error


def _exists(operand: Any, path: Path) -> Exists:
    if not isinstance(operand, bool):
        raise InvalidPattern(path, "true or false", _shown(operand))
    return Exists(operand)


def _anything_but(operand: Any, path: Path) -> AnythingBut:
    if isinstance(operand, Mapping):
        if len(operand) != 1 or next(iter(operand)) not in _NESTED:
            raise InvalidPattern(
                path, f"one of {', '.join(_NESTED)}", f"the keys {', '.join(map(str, operand)) or '(none)'}"
            )
        ((name, texts),) = operand.items()
        place = (*path, name)
        listed = texts if isinstance(texts, list) else [texts]
        if not listed:
            raise InvalidPattern(place, "at least one text", "an empty list")
        nested = [_text(each, place, may_be_empty=name == "equals-ignore-case") for each in listed]
        return AnythingBut(tuple(_condition({name: each}, path) for each in nested))
    values = operand if isinstance(operand, list) else [operand]
    if not values:
        raise InvalidPattern(path, "at least one value", "an empty list")
    for each in values:
        if not isinstance(each, str | int | float):
            raise InvalidPattern(path, "text, numbers, true or false", _shown(each))
    return AnythingBut(tuple(Exact(each) for each in values))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
