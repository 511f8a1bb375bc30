"""Rules documents as they lie in a file: YAML and TOML for people, JSON for what ships. Values, and where each stands."""

import json
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from mqbridge.values import Value

from .faults import Fault, Path, UnreadableRules

__all__ = ["Document", "Position", "read_document"]

Position = tuple[int, int]


class Document(Value):
    """A document's value; `positions` finds (line, column) of each path, counted from 1, when somebody asks.

    `folder` is where the document lies, and what paths in it are relative to; None if it is no file.
    """

    name: str
    data: Any
    positions: Callable[[], dict[Path, Position]]
    duplicate_keys: tuple[Path, ...] = ()
    folder: FilePath | None = None

    def place(self, path: Path) -> Position:
        """Return the place of a path, or of the nearest part around it that stands in the document."""
        positions = self.positions()
        while path and path not in positions:
            path = path[:-1]
        return positions.get(path, (1, 1))

    def placed(self, fault: Fault) -> Fault:
        """Return a fault with the place of its path."""
        line, column = self.place(fault.path)
        return replace(fault, line=line, column=column)


def read_document(text: str, name: str) -> Document:
    """Read a document by its name's ending: .json, .toml, else YAML.

    Raises:
        UnreadableRules: the text is not what its ending says.
    """
    if name.endswith(".json"):
        return _json(text, name)
    if name.endswith(".toml"):
        return _toml(text, name)
    return _yaml(text, name)


def _json(text: str, name: str) -> Document:
    has_duplicates = False

    def noticing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_duplicates
        members = dict(pairs)
        has_duplicates = has_duplicates or len(members) < len(pairs)
        return members

    try:
        data = json.loads(text, object_pairs_hook=noticing)
        duplicates = _json_places(text)[1] if has_duplicates else []
    except ValueError as error:
        raise UnreadableRules(name, f"not JSON: {error}") from None
    except RecursionError:
        raise UnreadableRules(name, "not readable: nested too deeply") from None
    return Document(name=name, data=data, positions=lambda: _json_positions(text), duplicate_keys=tuple(duplicates))


def _toml(text: str, name: str) -> Document:
    import tomllib  # here, because a function reads JSON

    try:
        data = tomllib.loads(text)
    except ValueError as error:
        raise UnreadableRules(name, f"not TOML: {error}") from None
    except RecursionError:
        raise UnreadableRules(name, "not readable: nested too deeply") from None
    return Document(name=name, data=data, positions=dict)  # tomllib does not tell positions; the path has to do


def _yaml(text: str, name: str) -> Document:
    try:
        from .yaml_documents import load_yaml
    except ImportError as error:
        raise UnreadableRules(name, "YAML needs PyYAML (extra mqbridge[cli]); functions read rules.json") from error
    data, positions, duplicates = load_yaml(text, name)
    return Document(name=name, data=data, positions=lambda: positions, duplicate_keys=tuple(duplicates))


def _json_positions(text: str) -> dict[Path, Position]:
    try:
        return _json_places(text)[0]
    except RecursionError:  # the walk is in Python; the parser, in C, may reach deeper
        return {}


def _json_places(text: str) -> tuple[dict[Path, Position], list[Path]]:
    """Walk JSON that is known to be well-formed; return where each value begins, and the keys that stand twice."""
    positions: dict[Path, Position] = {(): (1, 1)}
    duplicates: list[Path] = []
    line_starts = [0] + [at + 1 for at, character in enumerate(text) if character == "\n"]
    decoder = json.JSONDecoder()

    def note(path: Path, at: int) -> None:
        line = bisect_right(line_starts, at)
        positions[path] = (line, at - line_starts[line - 1] + 1)

    def skip(at: int) -> int:
        while text[at] in " \t\r\n,:":
            at += 1
        return at

    def walk(at: int, path: Path) -> int:
        if text[at] not in "{[":
            return decoder.raw_decode(text, at)[1]
        is_object, item = text[at] == "{", 0
        at = skip(at + 1)
        while text[at] not in "}]":
            child: Path = (*path, item)
            start = at
            if is_object:
                key, end = decoder.raw_decode(text, at)
                child = (*path, key)
                at = skip(end)
                if child in positions:
                    duplicates.append(child)
            note(child, start)
            at = skip(walk(at, child))
            item += 1
        return at + 1

    walk(skip(0), ())
    return positions, duplicates
