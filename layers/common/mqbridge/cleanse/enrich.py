"""Enrich: what a table says of an event's key is put into the event. Pure, but for what its table reads through the port."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mqbridge.events import TaskEvent
from mqbridge.extract import MISSING, Path, PlacePath

from .changes import changed, kind_of, placed, scalar_text
from .operators import Rejected
from .tables import Table

__all__ = ["Enrich", "OnMissing"]

OnMissing = Literal["Keep", "Drop", "Reject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrich:
    """Merge the row that a table has for the key into the object at a place; the row's members replace those of the same name.

    Where there is nothing at the place, the row is put there. A row that is not there, and a key that is neither text nor a number,
    are missing, and `on_missing` says what becomes of the event.
    """

    key: Path
    table: Table
    into: PlacePath
    on_missing: OnMissing = "Keep"
    name: ClassVar[str] = "Enrich"

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        found = self.key.find(event.value)
        key = scalar_text(found)
        row = self.table.row(key) if key else None
        if row is not None:
            return (self._merged(event, row),)
        if self.on_missing == "Reject":
            why = f"expected a row for the key at {self.key.text}, got none"
            if not key:
                got = "empty text" if found == "" else kind_of(found)
                why = f"{self.key.text}: expected text or a number as the key, got {got}"
            raise Rejected("enrichment_missing", why)
        return (event,) if self.on_missing == "Keep" else ()

    def _merged(self, event: TaskEvent, row: Mapping[str, Any]) -> TaskEvent:
        target = self.into.find(event.value)
        if target is not MISSING and not isinstance(target, Mapping):
            raise Rejected(
                "wrong_type", f"{self.into.text}: expected an object to merge a row into, got {kind_of(target)}"
            )
        merged = dict(row) if target is MISSING else {**target, **row}
        return changed(event, placed(event.value, self.into, merged))
