r"""Mask: what an expression finds in text is replaced, as in ^(\d{3})(\d{4})(\d{4})$ by \1****\3. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mqbridge.events import TaskEvent
from mqbridge.extract import MISSING, InvalidPath, PlacePath, compile_path, put
from mqbridge.regexes import Match, Regex

from .changes import changed, kind_of, not_unicode, scalar_text, too_deep
from .operators import InvalidOperator, Rejected

__all__ = ["Mask", "Places", "compile_places"]

_EVERY = "[*]"


@dataclass(frozen=True, slots=True)
class Places:
    """A place, or one in every element of an array, as in $.data.body.people[*].phone: the way to each array, and on from its elements."""

    text: str
    steps: tuple[PlacePath, ...]

    def change(self, root: Any, change: Callable[[Any], Any]) -> Any:
        """Return a copy with what is at the places changed; `root` itself if nothing is."""
        return _change(root, self.steps, change)


def compile_places(text: str) -> Places:
    """Return the places that a path names.

    Raises:
        InvalidPath: it is no path of names, indexes and [*], or the root.
    """
    first, *others = text.split(_EVERY)
    paths = [compile_path(each) for each in (first, *("$" + other for other in others))]
    places = [each for each in paths if isinstance(each, PlacePath)]
    if len(places) < len(paths) or not places[0].parts:
        raise InvalidPath("a path of names, indexes and [*], such as $.data.body.people[*].phone", repr(text))
    return Places(text, tuple(places))


def _change(root: Any, steps: tuple[PlacePath, ...], change: Callable[[Any], Any]) -> Any:
    place, below = steps[0], steps[1:]
    before = place.find(root)
    if before is MISSING:
        return root
    if not below:
        after = change(before)
    elif isinstance(before, list):
        items = [_change(each, below, change) for each in before]
        after = items if any(new is not old for new, old in zip(items, before, strict=True)) else before
    else:
        return root
    return root if after is before else put(root, place.parts, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    r"""Replace what `regex` finds in the text at the places, or in one field of it.

    A number is masked as its text, and is text then; of an array each element is masked; null, true and false have nothing to mask.
    `field_at` counts from 0; None is every field.
    """

    places: Places
    regex: Regex
    replacement: "Replacement"
    separator: str | None = None
    field_at: int | None = None
    name: ClassVar[str] = "Mask"

    def __post_init__(self) -> None:
        if self.field_at is not None and self.separator is None:
            raise InvalidOperator(("Separator",), "what separates the fields, as there is Field", "nothing")
        if self.replacement.highest_group > self.regex.groups:
            groups = f"{self.regex.groups} group{'' if self.regex.groups == 1 else 's'}"
            raise InvalidOperator(
                ("Replacement",), f"no more than the {groups} of Regex", f"\\{self.replacement.highest_group}"
            )

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        try:
            value = self.places.change(event.value, self._masked)
        except UnicodeError:
            raise not_unicode() from None
        except RecursionError:
            raise too_deep(self.places.text) from None
        return (event if value is event.value else changed(event, value),)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, list):
            items = [self._masked(each) for each in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if value is None or isinstance(value, bool):
            return value
        text = scalar_text(value)
        if text is None:
            raise Rejected("wrong_type", f"{self.places.text}: expected text to mask, got {kind_of(value)}")
        masked = self._masked_text(text)
        return value if masked == text else masked

    def _masked_text(self, text: str) -> str:
        if self.separator is None:
            return self.replacement.put_into(text, self.regex)
        fields = text.split(self.separator)
        masked = [
            self.replacement.put_into(each, self.regex) if self.field_at in (None, at) else each
            for at, each in enumerate(fields)
        ]
        return self.separator.join(masked)


class Replacement:
    r"""What takes the place of a match: text in which \1 to \9 are what the groups found, and \\ is a backslash."""

    def __init__(self, text: str) -> None:
        if not re.fullmatch(r"(?:[^\\]|\\[1-9\\])*", text):
            raise InvalidOperator(("Replacement",), r"\1 to \9 for what a group found, \\ for a backslash", repr(text))
        if re.search(r"\$[0-9{]", text):
            # Java's and JavaScript's spelling would stand in every message as it is.
            raise InvalidOperator(("Replacement",), r"\1 for what the first group found", repr(text))
        self._pieces: list[str | int] = [
            int(each[1]) if each[0] == "\\" and each[1] != "\\" else each.replace("\\\\", "\\")
            for each in re.findall(r"\\.|[^\\]+", text, re.DOTALL)
        ]
        self.highest_group = max((each for each in self._pieces if isinstance(each, int)), default=0)

    def put_into(self, text: str, regex: Regex) -> str:
        """Return the text with every match replaced."""
        pieces, at = [], 0
        for match in regex.finditer(text):
            pieces += [text[at : match.start()], self._expanded(match)]
            at = match.end()
        return "".join([*pieces, text[at:]])

    def _expanded(self, match: Match) -> str:
        return "".join([each if isinstance(each, str) else match.group(each) or "" for each in self._pieces])
