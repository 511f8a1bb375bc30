"""Split: one event becomes one for each part of a text, or each element of an array. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mqbridge.events import TaskEvent
from mqbridge.extract import PlacePath
from mqbridge.regexes import Regex

from .changes import changed, not_unicode, placed, split_into
from .operators import MAX_PARTS, InvalidOperator, Rejected

__all__ = ["Split"]

# Each part is a copy of what lies on the way to it; with these, the operators behind take seconds.
MAX_COPIED = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Split an event at a place: an array into its elements, as they are; text at a separator or an expression.

    Anything else, and text or an array of which no part is left, leaves the event as it is: nothing is lost by splitting.
    """

    path: PlacePath
    separator: str | None = None
    regex: Regex | None = None
    trims: bool = True
    drops_empty: bool = True
    name: ClassVar[str] = "Split"

    def __post_init__(self) -> None:
        if self.separator is not None and self.regex is not None:
            raise InvalidOperator((), "Separator or Regex, or neither for arrays alone", "both")

    def apply(self, event: TaskEvent) -> Iterable[TaskEvent]:
        parts = self._parts(self.path.find(event.value))
        if len(parts) > MAX_PARTS:
            raise Rejected("too_many_parts", f"{self.path.text}: expected at most {MAX_PARTS} parts, got {len(parts)}")
        if not parts:
            return (event,)
        copied = len(parts) * self._members_on_the_way(event.value)
        if copied > MAX_COPIED:
            what = f"at most {MAX_COPIED} members of what they lie in, copied for each part"
            raise Rejected("too_many_parts", f"{self.path.text}: expected {what}, got {copied}")
        # One after the other: each is a copy of what lies on the way to the part.
        return (split_into(changed(event, placed(event.value, self.path, part)), at) for at, part in enumerate(parts))

    def _members_on_the_way(self, value: Any) -> int:
        count = 0
        for part in self.path.parts:
            count += len(value)
            value = value[part]
        return count

    def _parts(self, value: Any) -> Sequence[Any]:
        if isinstance(value, list):
            return value
        if not isinstance(value, str):
            return ()
        if self.separator is not None:
            texts = value.split(self.separator)
        elif self.regex is not None:
            texts = _split(self.regex, value)
        else:
            return ()
        if self.trims:
            texts = [each.strip() for each in texts]
        return [each for each in texts if each] if self.drops_empty else texts


def _split(regex: Regex, text: str) -> list[str]:
    """Return what lies between the matches; an empty match separates nothing."""
    parts, at = [], 0
    try:
        for match in regex.finditer(text):
            if match.end() > match.start():
                parts.append(text[at : match.start()])
                at = match.end()
    except UnicodeError:
        raise not_unicode() from None
    return [*parts, text[at:]]
