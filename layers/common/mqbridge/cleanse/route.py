"""Route: the topics that an event goes to, by what its text matches. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mqbridge.events import TaskEvent
from mqbridge.extract import Path
from mqbridge.regexes import Regex

from .changes import search, searched_texts

__all__ = ["Route"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Send an event to the topics of all rules whose expression is found in the text at the path, each topic once.

    Where none is, it goes to the default topic; where there is no such, it goes where it would have gone.
    """

    path: Path
    default_topic: str | None
    rules: tuple[tuple[Regex, tuple[str, ...]], ...]
    name: ClassVar[str] = "Route"

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        texts = searched_texts(self.path.find(event.value))
        topics = [
            topic for regex, targets in self.rules if any(search(regex, text) for text in texts) for topic in targets
        ]
        if not topics and self.default_topic is not None:
            topics = [self.default_topic]
        return (event._replace(topics=tuple(dict.fromkeys(topics))) if topics else event,)
