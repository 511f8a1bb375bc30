"""mqbridge validate: everything that is wrong with a rules document, each with its place."""

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from mqbridge.rules import Fault, InvalidRules, UnreadableRules, format_path, load

__all__ = ["print_faults", "run"]

FORMAT_VERSION = "1.0"


def run(path: str, output: str) -> int:
    """Print the faults of the document at `path`; return 0 valid, 1 faults, 2 unreadable."""
    try:
        rules = load(path)
    except UnreadableRules as error:
        if output == "json":
            _print_json(path, [], error.why)
        print(f"{error.name}: {error.why}", file=sys.stderr)
        return 2
    except InvalidRules as error:
        if output == "json":
            _print_json(path, error.faults)
        else:
            print_faults(path, error.faults)
            print(f"{path}: {len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}", file=sys.stderr)
        return 1
    if output == "json":
        _print_json(path, list(rules.notices))
    else:
        print_faults(path, rules.notices)
        counts = f"{len(rules.outbound)} outbound, {len(rules.inbound)} inbound, {len(rules.status)} status rules, "
        print(f"{path}: valid: {counts}{len(rules.streamings)} tasks", file=sys.stderr)
    return 0


def print_faults(path: str, faults: Sequence[Fault], file: TextIO | None = None) -> None:
    """Print a line per fault, to standard output unless `file` says otherwise, and a line of help where there is one."""
    for fault in faults:
        print(fault.text(path), file=file)
        if fault.help:
            print(f"  help: {fault.help}", file=file)


def _print_json(path: str, faults: list[Fault], unreadable: str | None = None) -> None:
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
