"""Which status rule a client belongs to: by its group, else by the longest prefix, else by the first pattern that fits."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mqbridge import regexes

from .data_rules import StatusRule

__all__ = ["GROUP_MARK", "StatusRules"]

# ApsaraMQ's client ids are GroupID@@@DeviceID.
GROUP_MARK = "@@@"


class _OfInstance(NamedTuple):
    groups: dict[str, StatusRule]
    prefixes: list[tuple[str, StatusRule]]
    patterns: list[tuple[regexes.Regex, StatusRule]]


class StatusRules:
    """The status rules of a document, by MQTT instance."""

    def __init__(self, rules: Iterable[StatusRule]) -> None:
        found: dict[str, _OfInstance] = {}
        for rule in rules:
            of_instance = found.setdefault(str(rule.source.instance_id), _OfInstance({}, [], []))
            key, value = rule.source.selector
            if key == "GroupId":
                of_instance.groups[value] = rule
            elif key == "ClientIdPrefix":
                of_instance.prefixes.append((value, rule))
            else:
                of_instance.patterns.append((regexes.compile(value), rule))
        for each in found.values():
            each.prefixes.sort(key=lambda entry: -len(entry[0]))
        self._found: Mapping[str, _OfInstance] = found

    def rule_for(self, instance_id: str, client_id: str) -> StatusRule | None:
        """Return the rule of a client; None if no rule wants it."""
        of_instance = self._found.get(instance_id)
        if of_instance is None:
            return None
        group, mark, _ = client_id.partition(GROUP_MARK)
        if mark and group in of_instance.groups:
            return of_instance.groups[group]
        for prefix, rule in of_instance.prefixes:
            if client_id.startswith(prefix):
                return rule
        return next((rule for pattern, rule in of_instance.patterns if pattern.fullmatch(client_id)), None)
