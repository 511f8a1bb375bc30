"""Run the pattern cases of LocalStack, and the pattern and transform cases of Apache RocketMQ EventBridge.

Exit 1 if one fails that docs/patterns.md does not list.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mqbridge import patterns
from mqbridge.extract import InvalidForm, compile_form

# In docs/patterns.md, with the reasons.
KNOWN_DIFFERENCES = {"oss-015", "content_wildcard_complex_EXC"}

Case = tuple[str, Any, Any, Any]  # name, pattern, event or None, expected: True, False, "valid" or "invalid"


def main(folder: str) -> int:
    """Run every case below `folder` and return the exit code."""
    document = json.loads((Path(folder) / "eventbridge-oss.json").read_text(encoding="utf-8"))
    cases = [*_localstack(Path(folder) / "localstack"), *_rocketmq_eventbridge(document["cases"])]
    different = {name for name, pattern, event, expected in cases if _outcome(pattern, event) != expected}
    transforms = [case for case in document["cases"] if case["kind"] == "transform"]
    different |= {case["id"] for case in transforms if not _is_transformed(case, document["base_event"])}
    for name in sorted(different - KNOWN_DIFFERENCES):
        print(f"FAILED {name}")
    for name in sorted(KNOWN_DIFFERENCES - different):
        print(f"{name} agrees now: take it off the list in docs/patterns.md")
    passed = len(cases) + len(transforms) - len(different)
    print(f"{passed} passed, {len(different - KNOWN_DIFFERENCES)} failed, {len(different & KNOWN_DIFFERENCES)} known")
    return 0 if cases and different == KNOWN_DIFFERENCES else 1


def _outcome(pattern: Any, event: Any) -> Any:
    try:
        compiled = patterns.compile(pattern)
    except patterns.InvalidPattern:
        return "invalid"
    return "valid" if event is None else compiled.matches(event)


def _is_transformed(case: Any, base_event: Any) -> bool:
    form, expect = case["given"]["form"], case["expect"]
    event = case["given"].get("event", base_event)
    try:
        made = compile_form(form["Form"], form.get("Value"), form.get("Template")).extract(event)
    except InvalidForm:
        return bool(expect.get("invalid"))
    if expect.get("same_as_event"):
        return bool(json.loads(made) == event)
    return bool(expect.get("valid") or made == expect.get("text"))


def _localstack(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*.json5")):
        case = _json5(path.read_text(encoding="utf-8"))
        expected = "invalid" if path.stem.endswith("_EXC") else not path.stem.endswith("_NEG")
        yield path.stem, case["EventPattern"], case["Event"], expected


def _rocketmq_eventbridge(cases: list[Any]) -> Iterator[Case]:
    for case in cases:
        if case["kind"] == "pattern":
            given, expect = case["given"], case["expect"]
            event = json.loads(given["event_text"]) if "event_text" in given else given.get("event")
            expected = "invalid" if expect.get("invalid") else expect.get("match", "valid")
            yield case["id"], given.get("pattern_text", given.get("pattern")), event, expected


def _json5(text: str) -> Any:
    """Read what of JSON5 the cases use: comments and trailing commas."""
    without_comments = re.sub(
        r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', lambda match: match[1] or "", text, flags=re.DOTALL
    )
    return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', lambda match: match[1] or "", without_comments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
