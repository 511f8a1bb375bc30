"""mqbridge match --pattern: does an event match a pattern? By the matcher that delivery uses."""

import json
import sys
from pathlib import Path

from mqbridge import patterns

__all__ = ["run"]


def run(pattern_path: str, event_path: str, *, explains: bool = False) -> int:
    """Print true or false and, if asked to explain, a verdict for each leaf of the pattern.

    Returns 0 for a match, 1 for none, 2 for an invalid pattern or event.
    """
    try:
        pattern = patterns.compile(Path(pattern_path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, patterns.InvalidPattern) as error:
        print(f"{pattern_path}: {error}", file=sys.stderr)
        return 2
    try:
        event = json.loads(Path(event_path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        print(f"{event_path}: not a JSON event: {error}", file=sys.stderr)
        return 2
    if not isinstance(event, dict):
        print(f"{event_path}: expected a JSON object, got a {type(event).__name__}", file=sys.stderr)
        return 2
    is_match = pattern.matches(event)
    print(json.dumps(is_match))
    if explains:
        for verdict in patterns.explain(pattern, event):
            print(*(f"  {line}" for line in verdict.lines()), sep="\n")
    return 0 if is_match else 1
