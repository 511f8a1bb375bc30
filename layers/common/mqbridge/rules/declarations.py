"""How documents are declared, for the command line and its tests: the second face of this room, which no function loads.

With it other documents (tests of rules) are declared and read as rules documents are, with the same faults at the same places.
"""

from .document import RulesDocument
from .documents import Position, read_document
from .faults import Path
from .kinds import (
    INVALID,
    REQUIRED,
    Choice,
    Flag,
    Ignored,
    Kind,
    ListOf,
    MappingOf,
    OneOf,
    Raw,
    Refused,
    Secret,
    Section,
    Setting,
    Text,
    Whole,
    close_to,
    setting,
    settings_of,
    wrong,
)
from .names import INSTANCE_ID
from .reading import Declared, read_declared
from .schema import as_written, json_schema

__all__ = [
    "INSTANCE_ID",
    "INVALID",
    "REQUIRED",
    "Choice",
    "Declared",
    "Flag",
    "Ignored",
    "Kind",
    "ListOf",
    "MappingOf",
    "OneOf",
    "Path",
    "Position",
    "Raw",
    "Refused",
    "RulesDocument",
    "Secret",
    "Section",
    "Setting",
    "Text",
    "Whole",
    "as_written",
    "close_to",
    "json_schema",
    "read_declared",
    "read_document",
    "setting",
    "settings_of",
    "wrong",
]
