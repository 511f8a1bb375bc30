"""The kinds of value a rules document holds, and how each is read.

A field of a rule is declared once, with `setting`, on the dataclass that carries it at run time; the parser below, the JSON Schema
and the reference page are made from that declaration. Reading never stops at the first fault.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from .faults import Fault, Path

__all__ = [
    "INVALID",
    "REQUIRED",
    "Choice",
    "Flag",
    "Ignored",
    "Kind",
    "ListOf",
    "MappingOf",
    "OneOf",
    "Raw",
    "Refused",
    "Secret",
    "Section",
    "Setting",
    "Text",
    "Whole",
    "close_to",
    "setting",
    "settings_of",
    "shown",
    "wrong",
]

REQUIRED: Any = object()
INVALID: Any = object()  # what a kind returns after it noted a fault


class Kind(Protocol):
    """A kind of value: its description for people, and how to read one."""

    @property
    def what(self) -> str:
        """Say what is expected, as in "expected ..."."""
        ...

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Return the value as it is used at run time, or note what is wrong in `faults` and return INVALID."""
        ...


class Setting(NamedTuple):
    """The declaration of one field: its spelling in the document, its kind, default, and what a reference page says of it."""

    key: str
    kind: Kind
    default: Any
    doc: str
    example: Any = None
    unit: str = ""


def setting(key: str, kind: Kind, *, default: Any = REQUIRED, doc: str, example: Any = None, unit: str = "") -> Any:
    """Declare a field of a rules document on a dataclass."""
    declared = Setting(key=key, kind=kind, default=default, doc=doc, example=example, unit=unit)
    return (
        dataclasses.field(metadata={"setting": declared})
        if default is REQUIRED
        else dataclasses.field(default=default, metadata={"setting": declared})
    )


def settings_of(section: type) -> dict[str, Setting]:
    """Return the declared settings of a dataclass by attribute name."""
    return {
        field.name: field.metadata["setting"] for field in dataclasses.fields(section) if "setting" in field.metadata
    }


def wrong(path: Path, what: str, value: Any) -> Fault:
    """Return the fault of a value that is not what was expected."""
    return Fault(code="MB104", path=path, expected=what, got=shown(value))


def shown(value: Any) -> str:
    """Return a value as a fault shows it: short, and on one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        # An address may have a password in it, which belongs in no log.
        text = re.sub(r"(?<=//)\S*@|[^\s']*:\S*@", "***@", repr(value))
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _whole_if_it_is(value: Any) -> Any:
    """Return 6 for 6.0: JSON does not tell them apart, nor can its Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Text:
    """Text of a certain form."""

    def __init__(self, what: str, pattern: str = ".+", max_length: int = 10_240) -> None:
        self.what = what
        self.pattern = pattern
        self.max_length = max_length

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if (
            not isinstance(value, str)
            or len(value) > self.max_length
            or not re.fullmatch(self.pattern, value, re.DOTALL)
        ):
            faults.append(wrong(path, self.what, value))
            return INVALID
        return value


class Whole:
    """A whole number within bounds."""

    def __init__(self, what: str, minimum: int, maximum: int) -> None:
        self.what = what
        self.minimum = minimum
        self.maximum = maximum

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        value = _whole_if_it_is(value)
        if not isinstance(value, int) or isinstance(value, bool) or not self.minimum <= value <= self.maximum:
            faults.append(wrong(path, self.what, value))
            return INVALID
        return value


class Flag:
    """true or false."""

    what: str = "true or false"

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, bool):
            faults.append(wrong(path, self.what, value))
            return INVALID
        return value


class Choice:
    """One of a few words; `ignore_case` accepts any spelling and returns the listed one."""

    def __init__(self, *words: str, ignore_case: bool = False) -> None:
        self.words = words
        self.ignores_case = ignore_case
        self.what = " or ".join(words)
        self._by_spelling = {word.casefold(): word for word in words} if ignore_case else {word: word for word in words}

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Return the word as listed."""
        # YAML reads a bare 5 as a number; the word is meant.
        spelling = _whole_if_it_is(value)
        spelling = str(spelling) if isinstance(spelling, int | float) and not isinstance(value, bool) else spelling
        spelling = spelling.casefold() if isinstance(spelling, str) and self.ignores_case else spelling
        if not isinstance(spelling, str) or spelling not in self._by_spelling:
            faults.append(wrong(path, self.what, value))
            return INVALID
        return self._by_spelling[spelling]


class Secret:
    """A reference to a secret; a secret itself never stands in a rules document."""

    what: str = "a reference to a secret: env:NAME, secretsmanager:NAME#KEY, ssm:NAME or file:PATH"
    pattern: str = r"(env|secretsmanager|ssm|file):[^\n]+"

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            # What came may be the secret: it is not shown.
            faults.append(
                Fault(
                    code="MB105",
                    path=path,
                    expected=self.what,
                    got="something else, not shown here",
                    help="put the secret into an environment variable or a secret store and name that",
                )
            )
            return INVALID
        return value


class Raw:
    """Anything; another module reads it. `schema` says as a JSON Schema what `check` lets pass; {} is anything."""

    def __init__(self, what: str, check: Callable[[Any], bool], schema: Mapping[str, Any] | None = None) -> None:
        self.what = what
        self.check = check
        self.schema = schema or {}

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if not self.check(value):
            faults.append(wrong(path, self.what, value))
            return INVALID
        return value


class Ignored:
    """A key of the EventStreaming API that means nothing here; it is accepted with a notice."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.what = "anything; it is ignored"

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        del value  # the API has passwords here
        faults.append(Fault(code="MB301", path=path, expected=f"nothing: {self.why}", got="a value, which is ignored"))


class Refused:
    """A key of the EventStreaming API that asks for what cannot be done here."""

    def __init__(self, what: str) -> None:
        self.what = what

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        faults.append(Fault(code="MB106", path=path, expected=self.what, got=shown(value)))
        return INVALID


class ListOf:
    """A list of one kind, as a tuple.

    With `keeps_faulty`, faulty items stay in their places as INVALID: what is checked later between the items names the right ones.
    """

    def __init__(self, kind: Kind, minimum: int = 0, *, keeps_faulty: bool = False) -> None:
        self.kind = kind
        self.minimum = minimum
        self.keeps_faulty = keeps_faulty

    @property
    def what(self) -> str:
        return f"a list, each item {self.kind.what}"

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, list) or len(value) < self.minimum:
            faults.append(
                wrong(path, self.what if self.minimum == 0 else f"{self.what}, at least {self.minimum}", value)
            )
            return INVALID
        items = tuple(self.kind.read(item, (*path, at), faults) for at, item in enumerate(value))
        return INVALID if not self.keeps_faulty and any(item is INVALID for item in items) else items


class Section:
    """A mapping whose keys are the settings of a dataclass; `of` may also be what imports that, for documents that have the section."""

    def __init__(self, of: type | Callable[[], type], what: str = "a mapping") -> None:
        self._of = of
        self.what = what

    @property
    def cls(self) -> type:
        """The dataclass."""
        return self._of if isinstance(self._of, type) else self._of()

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Return the dataclass, made of the mapping's values."""
        if not isinstance(value, Mapping):
            faults.append(wrong(path, self.what, value))
            return INVALID
        cls = self.cls
        settings = settings_of(cls)
        keys = {declared.key: name for name, declared in settings.items()}
        for key in value:
            if key not in keys:
                faults.append(_unknown_key(path, key, list(keys)))
        arguments = {}
        is_whole = True
        for name, declared in settings.items():
            if declared.key in value:
                read = declared.kind.read(value[declared.key], (*path, declared.key), faults)
                is_whole = is_whole and read is not INVALID
                arguments[name] = read
            elif declared.default is REQUIRED:
                faults.append(
                    Fault(code="MB102", path=(*path, declared.key), expected=declared.kind.what, got="nothing")
                )
                is_whole = False
        return cls(**arguments) if is_whole else INVALID


def close_to(word: str, known: list[str]) -> str:
    """Return "did you mean ...?" with the known word that is meant, or "" if none comes close."""
    import difflib  # here, because a document without a fault has no use for it

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    close = close or [each for each in known if each.casefold() == word.casefold()]
    return f"did you mean {close[0]}?" if close else ""


class OneOf(Section):
    """A mapping with exactly one of the settings of a dataclass, each of which has None for a default."""

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Return the dataclass, with one value that is not None."""
        if isinstance(value, Mapping) and len(value) != 1:
            got = f"{len(value)} keys" if value else "none"
            faults.append(Fault(code="MB104", path=path, expected=self.what, got=got))
            return INVALID
        return super().read(value, path, faults)


def chosen(one_of: Any) -> Any:
    """Return the value of the one setting that an instance of OneOf's dataclass has; None if its key was not known."""
    values = [getattr(one_of, name) for name in settings_of(type(one_of))]
    return next((value for value in values if value is not None), None)


class MappingOf:
    """A mapping whose keys are free, with values of one kind."""

    def __init__(self, kind: Kind, of: str) -> None:
        self.kind = kind
        self.of = of  # what it maps, for people

    @property
    def what(self) -> str:
        return f"a mapping of {self.of}"

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, Mapping):
            faults.append(wrong(path, self.what, value))
            return INVALID
        items = {str(key): self.kind.read(item, (*path, str(key)), faults) for key, item in value.items()}
        return INVALID if any(item is INVALID for item in items.values()) else items


def _unknown_key(path: Path, key: Any, known: list[str]) -> Fault:
    return Fault(
        code="MB101",
        path=(*path, str(key)),
        expected=f"one of the keys {', '.join(known)}",
        got=f"{str(key)!r}",
        help=close_to(str(key), known),
    )
