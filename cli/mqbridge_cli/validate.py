"""mqbridge validate: everything that is wrong with a rules document, each with its place."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from mqbridge.rules import Fault, InvalidRules, UnreadableRules, format_path, load

__all__ = ["print_faults", "run"]

FORMAT_VERSION = "1.0"


def run(path: str, output: str) -> int:
    """Print the faults of the document at `path` as text, json or github; return 0 valid, 1 faults, 2 unreadable."""
    formats: dict[str, Callable[[str, Sequence[Fault]], None]]
    formats = {"text": print_faults, "json": _print_json, "github": _print_annotations}
    show = formats[output]
    try:
        rules = load(path)
    except UnreadableRules as error:
        if output == "json":
            _print_json(path, [], error.why)
        elif output == "github":
            print(_annotation("error", error.why, file=path))
        print(f"{error.name}: {error.why}", file=sys.stderr)
        return 2
    except InvalidRules as error:
        show(path, error.faults)
        if output != "json":
            print(f"{path}: {len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}", file=sys.stderr)
        return 1
    show(path, rules.notices)
    if output != "json":
        counts = f"{len(rules.outbound)} outbound, {len(rules.inbound)} inbound, {len(rules.status)} status rules, "
        print(f"{path}: valid: {counts}{len(rules.streamings)} tasks", file=sys.stderr)
    return 0


def print_faults(path: str, faults: Sequence[Fault], file: TextIO | None = None) -> None:
    """Print a line per fault, to standard output unless `file` says otherwise, and a line of help where there is one."""
    for fault in faults:
        print(fault.text(path), file=file)
        if fault.help:
            print(f"  help: {fault.help}", file=file)


def _print_annotations(path: str, faults: Sequence[Fault]) -> None:
    """Print a workflow command of GitHub Actions per fault, which shows it beside its line."""
    for fault in faults:
        message = f"{format_path(fault.path)}: expected {fault.expected}, got {fault.got}"
        if fault.help:
            message += f"\nhelp: {fault.help}"
        kind = "notice" if fault.is_notice else "error"
        print(_annotation(kind, message, file=path, line=fault.line, col=fault.column, title=fault.code))


def _annotation(kind: str, message: str, **properties: str | int) -> str:
    # The runner's own unescaping (actions/toolkit, command.ts): percent signs and line breaks, in properties also colons and commas.
    def escaped(text: str | int, signs: str) -> str:
        return "".join(f"%{ord(sign):02X}" if sign in signs else sign for sign in str(text))

    in_message = "%\r\n"
    told = ",".join(f"{name}={escaped(value, in_message + ':,')}" for name, value in properties.items())
    return f"::{kind} {told}::{escaped(message, in_message)}"


def _print_json(path: str, faults: Sequence[Fault], unreadable: str | None = None) -> None:
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "file": path,
        "faults": [
            {
                "code": fault.code,
                "path": format_path(fault.path),
                "line": fault.line,
                "column": fault.column,
                "expected": fault.expected,
                "got": fault.got,
                "help": fault.help,
                "notice": fault.is_notice,
            }
            for fault in faults
        ],
    }
    if unreadable is not None:
        document["unreadable"] = unreadable
    print(json.dumps(document, indent=2))
