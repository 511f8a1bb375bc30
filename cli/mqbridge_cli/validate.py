"""mqbridge validate: everything that is wrong with a rules document, each with its place."""

import json
import sys
from typing import Any

from mqbridge.rules import Fault, InvalidRules, UnreadableRules, format_path, load

__all__ = ["run"]

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
            _print_text(path, error.faults)
            print(f"{path}: {len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}", file=sys.stderr)
        return 1
    if output == "json":
        _print_json(path, list(rules.notices))
    else:
        _print_text(path, list(rules.notices))
        counts = f"{len(rules.outbound)} outbound, {len(rules.inbound)} inbound, {len(rules.status)} status rules, "
        print(f"{path}: valid: {counts}{len(rules.streamings)} tasks", file=sys.stderr)
    return 0


def _print_text(path: str, faults: list[Fault]) -> None:
    for fault in faults:
        print(fault.text(path))
        if fault.help:
            print(f"  help: {fault.help}")


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
