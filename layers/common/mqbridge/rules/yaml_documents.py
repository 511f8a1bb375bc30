"""YAML with the place of every key. Apart, because only the command line reads YAML: a function must not import PyYAML."""

from typing import Any

import yaml

from .faults import Path, UnreadableRules

__all__ = ["load_yaml"]

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML that means what the JSON that ships will mean.

    2026-01-01T00:00:00Z stays text, and so does every key: a field called "on" or "1" is no boolean and no number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose keys are text."""
        self.flatten_mapping(node)
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                key_node.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep=deep)


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
        if node is not None:
            _walk(node, (), positions, duplicates)  # first: constructing writes merged keys into the nodes
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # Not chained: PyYAML's own text quotes the line, which may hold a secret.
        raise UnreadableRules(name, f"not YAML: {place}{error.problem}") from None
    except RecursionError:
        raise UnreadableRules(name, "not YAML: nested too deeply, or an alias within itself") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableRules(name, f"not YAML: {type(error).__name__}") from None
    return data, positions, duplicates


def _walk(node: yaml.Node, path: Path, positions: dict[Path, tuple[int, int]], duplicates: list[Path]) -> None:
    positions.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key_node, value_node in node.value:
            child = (*path, str(key_node.value))
            if child in seen and key_node.tag != _MERGE:
                duplicates.append(child)
            seen.add(child)
            positions[child] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            _walk(value_node, child, positions, duplicates)
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            _walk(item, (*path, at), positions, duplicates)
