"""Filter: events that match go on, the others are dropped. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mqbridge.events import TaskEvent
from mqbridge.extract import Path
from mqbridge.patterns import Pattern
from mqbridge.regexes import Regex

from .changes import search, searched_texts

__all__ = ["FilterByPattern", "FilterByRegex"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterByRegex:
    """Keep events in whose text at the path the expression is found; of an array, in one of its elements.

    What is neither text nor array is searched as its JSON; nothing and null match nothing.
    """

    path: Path
    regex: Regex
    name: ClassVar[str] = "Filter"

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        is_found = any(search(self.regex, text) for text in searched_texts(self.path.find(event.value)))
        return (event,) if is_found else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterByPattern:
    """Keep events whose value at the path matches an event pattern; what is no object matches nothing."""

    path: Path
    pattern: Pattern
    name: ClassVar[str] = "Filter"

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        value = self.path.find(event.value)
        return (event,) if isinstance(value, Mapping) and self.pattern.matches(value) else ()
