"""The JSON Schema of a rules document, made of the same declarations that `load` reads by. Pure; no function loads it.

Draft-07, which is the newest that editors' YAML support knows. The schema says what a document may look like; what must hold between
its parts (the faults MB2xx) is beyond it.
"""

from functools import singledispatch
from typing import Any

from .document import RulesDocument
from .ecma import ecma_pattern
from .kinds import (
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
    settings_of,
)

__all__ = ["as_written", "json_schema", "schema_of"]

Schema = dict[str, Any]


def json_schema(document: type = RulesDocument, title: str = "mqbridge rules") -> Schema:
    """Return the JSON Schema of a document; every section of it that is used is one of its definitions."""
    definitions: dict[str, Schema] = {}
    whole = _section(document, definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **whole,
        "title": title,
        "definitions": dict(sorted(definitions.items())),
    }


@singledispatch
def schema_of(kind: Kind, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of one kind of value; the sections that it refers to are added to `definitions`."""
    del definitions
    raise TypeError(f"no JSON Schema is known for the kind {type(kind).__name__}: register one in rules/schema.py")


@schema_of.register
def _(kind: Text, definitions: dict[str, Schema]) -> Schema:
    del definitions
    schema: Schema = {"title": kind.what, "type": "string"}
    if kind.pattern == ".+":
        schema["minLength"] = 1
    elif kind.pattern != ".*":
        schema["pattern"] = ecma_pattern(kind.pattern)
    return {**schema, "maxLength": kind.max_length}


@schema_of.register
def _(kind: Whole, definitions: dict[str, Schema]) -> Schema:
    del definitions
    return {"title": kind.what, "type": "integer", "minimum": kind.minimum, "maximum": kind.maximum}


@schema_of.register
def _(kind: Flag, definitions: dict[str, Schema]) -> Schema:
    del definitions
    return {"title": kind.what, "type": "boolean"}


@schema_of.register
def _(kind: Choice, definitions: dict[str, Schema]) -> Schema:
    del definitions
    words = {"enum": [*kind.words, *(int(word) for word in kind.words if word.isdecimal() and str(int(word)) == word)]}
    if not kind.ignores_case:
        return {"title": kind.what, **words}
    # The words first, and by themselves: an editor offers them.
    return {"title": kind.what, "anyOf": [words, {"type": "string", "pattern": _in_any_case(kind.words)}]}


@schema_of.register
def _(kind: Secret, definitions: dict[str, Schema]) -> Schema:
    del definitions
    return {"title": kind.what, "type": "string", "pattern": ecma_pattern(kind.pattern)}


@schema_of.register
def _(kind: Raw, definitions: dict[str, Schema]) -> Schema:
    del definitions
    return {"title": kind.what, **kind.schema}


@schema_of.register
def _(kind: Ignored, definitions: dict[str, Schema]) -> Schema:
    del definitions
    return {"description": f"Ignored: {kind.why}."}


@schema_of.register
def _(kind: Refused, definitions: dict[str, Schema]) -> Schema:
    del definitions
    return {"description": f"Refused: expected {kind.what}.", "not": {}}


@schema_of.register
def _(kind: ListOf, definitions: dict[str, Schema]) -> Schema:
    items = schema_of(kind.kind, definitions)
    return {"type": "array", "items": items, **({"minItems": kind.minimum} if kind.minimum else {})}


@schema_of.register
def _(kind: Section, definitions: dict[str, Schema]) -> Schema:
    name = kind.cls.__name__
    if name not in definitions:
        definitions[name] = {}  # known from here on, should it refer to itself
        definitions[name] = _section(kind.cls, definitions)
    return {"$ref": f"#/definitions/{name}"}


@schema_of.register
def _(kind: OneOf, definitions: dict[str, Schema]) -> Schema:
    reference = schema_of(Section(kind.cls), definitions)
    definitions[kind.cls.__name__] |= {"minProperties": 1, "maxProperties": 1}
    return reference


@schema_of.register
def _(kind: MappingOf, definitions: dict[str, Schema]) -> Schema:
    return {"title": kind.what, "type": "object", "additionalProperties": schema_of(kind.kind, definitions)}


def _section(section: type, definitions: dict[str, Schema]) -> Schema:
    settings = settings_of(section).values()
    required = [each.key for each in settings if each.default is REQUIRED]
    return {
        "title": section.__name__,
        "description": " ".join((section.__doc__ or "").split()),
        "type": "object",
        "properties": {each.key: _property(each, definitions) for each in settings},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _property(declared: Setting, definitions: dict[str, Schema]) -> Schema:
    unit = f" Unit: {declared.unit}." if declared.unit else ""
    of_kind = schema_of(declared.kind, definitions)
    if "$ref" in of_kind:  # in draft-07 whatever stands beside a reference, such as a description, does not count
        of_kind = {"allOf": [of_kind]}
    schema = {"description": declared.doc + unit, **of_kind}
    default = as_written(declared.default)
    if default is not None:
        schema["default"] = default
    if declared.example is not None:
        schema["examples"] = [declared.example]
    return schema


def as_written(default: Any) -> Any:
    """Return a default as a document would write it; None for one that nobody writes, such as a whole section's own defaults."""
    if isinstance(default, tuple):
        return list(default)
    return default if isinstance(default, str | int | float) else None


def _in_any_case(words: tuple[str, ...]) -> str:
    def letter(sign: str) -> str:
        return f"[{sign.upper()}{sign.lower()}]" if sign.isalpha() else f"[{sign}]"

    return f"^(?:{'|'.join(''.join(map(letter, word)) for word in words)})$"
