"""Read documents other than rules by their declarations: the same formats, the same faults, each with its place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Generic, TypeVar

from .documents import Document, Position, read_document
from .faults import Fault, InvalidRules, Path, UnreadableRules
from .kinds import INVALID, Section

__all__ = ["Declared", "read_declared"]

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared(Generic[Read]):
    """A document that was read, and where each part of it stands."""

    value: Read
    document: Document

    def place(self, path: Path) -> Position:
        """Return line and column, from 1, of a path, or of the nearest part around it that stands in the document."""
        return self.document.place(path)


def read_declared(
    path: FilePath, section: type[Read], check: Callable[[Read], Iterable[Fault]] = lambda _value: ()
) -> Declared[Read]:
    """Read a file by the declarations of `section`; `check` says what else must hold, items of lists that could not be read aside.

    Raises:
        UnreadableRules: there is no such file, or it is not in the format that its name says.
        InvalidRules: carries every fault, each with its place.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UnreadableRules(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    document = read_document(text, str(path))
    faults = [
        Fault(code="MB103", path=place, expected="each key once", got="it twice") for place in document.duplicate_keys
    ]
    value: Any = Section(section).read(document.data, (), faults)
    if value is not INVALID:
        faults += check(value)
    grave = [fault for fault in faults if not fault.is_notice]
    if grave:
        placed = [document.placed(fault) for fault in grave]
        raise InvalidRules(document.name, sorted(placed, key=lambda fault: (fault.line, fault.column)))
    return Declared(value=value, document=document)
