"""YAML with the place of every key. Apart, because only the command line reads YAML: a function must not import PyYAML."""

from typing import Any

import yaml

from .faults import Path, UnreadableRules

__all__ = ["load_yaml"]


class _Loader(yaml.SafeLoader):
    """YAML without timestamps: 2026-01-01T00:00:00Z stays the text that it is in the JSON that ships."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str, name: str) -> tuple[Any, dict[Path, tuple[int, int]], list[Path]]:
    """Return the value, the position of every path, and the paths of keys that stand twice.

    Raises:
        UnreadableRules: the text is not YAML.
    """
    positions: dict[Path, tuple[int, int]] = {}
    duplicates: list[Path] = []
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
        if node is not None:
            _walk(node, (), positions, duplicates)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UnreadableRules(name, f"not YAML: {place}{error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UnreadableRules(name, f"not YAML: {error}") from error
    return data, positions, duplicates


def _walk(node: yaml.Node, path: Path, positions: dict[Path, tuple[int, int]], duplicates: list[Path]) -> None:
    positions.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key_node, value_node in node.value:
            child = (*path, str(key_node.value))
            if child in seen:
                duplicates.append(child)
            seen.add(child)
            positions[child] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            _walk(value_node, child, positions, duplicates)
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            _walk(item, (*path, at), positions, duplicates)
