"""The tables of settings in docs/rules.md and docs/rule-tests.md, made of the declarations that those documents are read by; and metrics.

`python -m mqbridge_cli.reference PAGE ...` fills whatever stands between `<!-- generated: SECTION -->` and `<!-- end -->`: that section
of a document, and each section within it that no other marker of the page names. SECTION `metrics` is the table of docs/metrics.md.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from mqbridge.rules.declarations import (
    REQUIRED,
    Choice,
    Flag,
    Ignored,
    Kind,
    ListOf,
    MappingOf,
    OneOf,
    Refused,
    RulesDocument,
    Section,
    Setting,
    as_written,
    settings_of,
)
from mqbridge_cli.metrics_reference import metrics_table
from mqbridge_cli.rule_tests import RuleTests

__all__ = ["filled", "main", "sections"]

_MARKED = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEADING = "###"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the pages that are named, in place; return 0."""
    for name in sys.argv[1:] if arguments is None else arguments:
        page = Path(name)
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def filled(page: str) -> str:
    """Return a page with everything between its markers made anew.

    Raises:
        KeyError: a marker names no section.
    """
    known = sections(RulesDocument) | sections(RuleTests)
    shown = {match["name"] for match in _MARKED.finditer(page)}

    def block(match: re.Match[str]) -> str:
        if match["name"] == "metrics":
            return f"{match[1]}\n{metrics_table()}\n\n{match[3]}"
        tables = [_table(section) for section in _with_parts(known[match["name"]], shown)]
        text = "\n\n".join(tables)
        return f"{match[1]}\n{text}\n\n{match[3]}"

    return _MARKED.sub(block, page)


def sections(document: type) -> dict[str, type]:
    """Return the sections of a document by name, in the order in which they are met."""
    found = {document.__name__: document}
    for part in _parts(document):
        found |= {name: section for name, section in sections(part).items() if name not in found}
    return found


def _with_parts(section: type, shown: set[str]) -> Iterator[type]:
    """Yield a section and those within it that are not shown yet, and note them in `shown`."""
    yield section
    for part in _parts(section):
        if part.__name__ not in shown:
            shown.add(part.__name__)
            yield from _with_parts(part, shown)


def _parts(section: type) -> list[type]:
    return [part for declared in settings_of(section).values() for part in sections_in(declared.kind)]


@singledispatch
def sections_in(kind: Kind) -> list[type]:
    """Return the sections that a value of a kind is made of."""
    del kind
    return []


@sections_in.register
def _(kind: Section) -> list[type]:
    return [kind.cls]


@sections_in.register
def _(kind: ListOf | MappingOf) -> list[type]:
    return sections_in(kind.kind)


# A section as Markdown.

Column = tuple[str, Callable[[Setting], str]]


def _table(section: type) -> str:
    settings = list(settings_of(section).values())
    used = [each for each in settings if not isinstance(each.kind, Ignored | Refused)]
    columns: list[Column] = [
        ("key", lambda each: f"`{each.key}`"),
        ("value", lambda each: _words(each.kind)),
        ("default", _default),
    ]
    if any(each.unit for each in used):
        columns.append(("unit", lambda each: each.unit))
    columns.append(("meaning", lambda each: each.doc))
    if any(each.example is not None for each in used):
        columns.append(("example", lambda each: _code(each.example) if each.example is not None else ""))
    lines = [
        f"{_HEADING} {section.__name__}",
        "",
        *_sentences(" ".join((section.__doc__ or "").split())),
        "",
        _row([name for name, _ in columns]),
        "|---" * len(columns) + "|",
        *(_row([cell(each) for _, cell in columns]) for each in used),
    ]
    aside = [line for line in (_ignored(settings), _refused(settings)) if line]
    return "\n".join([*lines, "", *aside] if aside else lines)


@singledispatch
def _words(kind: Kind) -> str:
    return kind.what


@_words.register
def _(kind: Choice) -> str:
    words = " or ".join(f"`{word}`" for word in kind.words)
    return f"{words}, in any case" if kind.ignores_case else words


@_words.register
def _(kind: Flag) -> str:
    del kind
    return "`true` or `false`"


@_words.register
def _(kind: Section) -> str:
    return _link(kind.cls)


@_words.register
def _(kind: ListOf) -> str:
    least = f" of at least {kind.minimum}" if kind.minimum else ""
    return f"a list{least}, each item {_words(kind.kind)}"


@_words.register
def _(kind: OneOf) -> str:
    return f"{_link(kind.cls)}: exactly one of its keys"


@_words.register
def _(kind: MappingOf) -> str:
    return f"a mapping of {kind.of}, each {_words(kind.kind)}"


def _link(section: type) -> str:
    return f"[{section.__name__}](#{section.__name__.lower()})"


def _default(declared: Setting) -> str:
    if declared.default is REQUIRED:
        return "required"
    written = as_written(declared.default)
    return "" if written in (None, "", []) else _code(written)


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) (?=[A-Z])", text)


def _ignored(settings: list[Setting]) -> str:
    by_reason: dict[str, list[str]] = {}
    for each in settings:
        if isinstance(each.kind, Ignored):
            by_reason.setdefault(each.kind.why, []).append(f"`{each.key}`")
    reasons = "; ".join(f"{', '.join(keys)} ({why})" for why, keys in by_reason.items())
    return f"Accepted from the managed service's API and ignored, with a notice: {reasons}." if reasons else ""


def _refused(settings: list[Setting]) -> str:
    refused = "; ".join(
        f"`{each.key}` (expected {each.kind.what})" for each in settings if isinstance(each.kind, Refused)
    )
    return f"Refused: {refused}." if refused else ""


if __name__ == "__main__":
    sys.exit(main())
