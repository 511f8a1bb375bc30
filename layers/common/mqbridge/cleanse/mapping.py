"""Map: parts of an event kept, dropped, renamed and set. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mqbridge import json_text
from mqbridge.events import TaskEvent
from mqbridge.extract import MISSING, Form, InvalidPath, PlacePath, Unextractable, compile_place, put

from .changes import changed, kind_of, placed
from .operators import InvalidOperator, Rejected

__all__ = ["Map", "compile_kept_place"]

BODY = ("data", "body")
_GONE: Any = object()  # stands where something is removed, so that the indexes beside it stay what they are meanwhile

Kept = dict[str | int, "Kept"]  # what is kept, part by part; {} is everything below


def compile_kept_place(text: str) -> PlacePath:
    """Return a place that Keep may name.

    Raises:
        InvalidPath: it is no path to one place below $.data.body.
    """
    place = compile_place(text)
    if place.parts[:2] != BODY or len(place.parts) == 2:
        raise InvalidPath("a place below $.data.body", repr(text))
    return place


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Keep, then drop, then rename, then set.

    `keep` leaves of the body only what it names, places below $.data.body; () leaves all. Renaming happens at once, so that two places
    can change over. Forms see the event as it came, so that they can use what is dropped; one without a result sets nothing.
    """

    keep: tuple[PlacePath, ...] = ()
    drop: tuple[PlacePath, ...] = ()
    rename: tuple[tuple[PlacePath, PlacePath], ...] = ()
    set: tuple[tuple[PlacePath, Form], ...] = ()
    name: ClassVar[str] = "Map"

    def __post_init__(self) -> None:
        if not (self.keep or self.drop or self.rename or self.set):
            raise InvalidOperator((), "one of Keep, Drop, Rename and Set", "none of them")
        targets: dict[tuple[str | int, ...], PlacePath] = {}
        for source, target in self.rename:
            if target.parts in targets:
                raise InvalidOperator(
                    ("Rename", source.text), "a place that nothing else is renamed to", repr(target.text)
                )
            targets[target.parts] = source

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        value: Any = event.value
        if self.keep:
            value = self._kept(value)
        value = _without(value, self.drop)
        if self.rename:
            moved = [(target, source.find(value)) for source, target in self.rename]
            value = _without(value, [source for source, _ in self.rename])
            for target, child in moved:
                if child is not MISSING:
                    value = placed(value, target, child)
        for place, form in self.set:
            child = self._extracted(place, form, event.value)
            if child is not MISSING:
                value = placed(value, place, child)
        return (changed(event, value),)

    def _kept(self, value: Any) -> Any:
        body = PlacePath("$.data.body", BODY).find(value)
        if not isinstance(body, dict | list):
            raise Rejected(
                "wrong_type", f"$.data.body: expected an object of which to keep places, got {kind_of(body)}"
            )
        kept: Kept = {}
        for place in self.keep:
            _note(kept, place.parts[2:])
        return put(value, BODY, _only(body, kept))

    @staticmethod
    def _extracted(place: PlacePath, form: Form, event: Mapping[str, Any]) -> Any:
        try:
            return form.extract(event)
        except (Unextractable, json_text.InvalidJson) as error:
            raise Rejected("template_failed", f"Set {place.text}: {error}") from None


def _note(kept: Kept, parts: tuple[str | int, ...]) -> None:
    for at, part in enumerate(parts):
        if part in kept and not kept[part]:
            return  # everything below is kept already
        kept = kept.setdefault(part, {})
        if at == len(parts) - 1:
            kept.clear()


def _only(value: Any, kept: Kept) -> Any:
    """Return what is kept of an object or an array; MISSING if it is neither."""
    if not kept:
        return value
    if isinstance(value, dict):
        picked = {name: _only(child, kept[name]) for name, child in value.items() if name in kept}
        return {name: child for name, child in picked.items() if child is not MISSING}
    if isinstance(value, list):
        by_index = {at % len(value): inner for at, inner in kept.items() if isinstance(at, int) and _is_in(value, at)}
        items = [_only(value[at], by_index[at]) for at in sorted(by_index)]
        return [item for item in items if item is not MISSING]
    return MISSING


def _is_in(items: list[Any], at: int) -> bool:
    return -len(items) <= at < len(items)


def _without(value: Any, places: Sequence[PlacePath]) -> Any:
    """Return a copy without what is at the places; indexes count as before."""
    there = [place for place in places if place.find(value) is not MISSING]
    for place in there:
        value = put(value, place.parts, _GONE)
    for place in sorted(
        there, key=lambda place: len(place.parts), reverse=True
    ):  # inner ones first, whose indexes still count
        holder = PlacePath("", place.parts[:-1]).find(value)
        # What held it may itself be gone, or be cleaned already.
        if isinstance(holder, dict):
            value = put(value, place.parts[:-1], {name: each for name, each in holder.items() if each is not _GONE})
        elif isinstance(holder, list):
            value = put(value, place.parts[:-1], [each for each in holder if each is not _GONE])
    return value
