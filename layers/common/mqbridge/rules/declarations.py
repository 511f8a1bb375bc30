"""How documents are declared, for the command line and its tests: the second face of this room, which no function loads.

With it other documents (tests of rules) are declared and read as rules documents are, with the same faults at the same places.
"""

from .document import RulesDocument
from .kinds import (
    INVALID,
    REQUIRED,
    Choice,
    Flag,
    Ignored,
    Kind,
    ListOf,
    Raw,
    Refused,
    Secret,
    Section,
    Setting,
    Text,
    Whole,
    setting,
    settings_of,
)
from .names import INSTANCE_ID
from .schema import as_written, json_schema

__all__ = [
    "INSTANCE_ID",
    "INVALID",
    "REQUIRED",
    "Choice",
    "Flag",
    "Ignored",
    "Kind",
    "ListOf",
    "Raw",
    "Refused",
    "RulesDocument",
    "Secret",
    "Section",
    "Setting",
    "Text",
    "Whole",
    "as_written",
    "json_schema",
    "setting",
    "settings_of",
]
