"""The examples of docs/transforms.md: each rules file does with its events what the page shows."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mqbridge.rules import load
from mqbridge_cli.main import main
from tests.unit.mqbridge.support import ROOT, document

EXAMPLES = ROOT / "examples" / "transforms"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
PAGE = (ROOT / "docs" / "transforms.md").read_text()
SINK = {
    "SinkRocketMQParameters": {
        "Topic": {"Form": "CONSTANT", "Value": "readings"},
        "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
    }
}


@pytest.fixture(autouse=True)
def _shipped_functions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the package `transforms` of the examples where a deployment has its own."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "transforms"]:
        del sys.modules[name]


def told(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what becomes of an example's events, as the page shows it."""
    events = EXAMPLES / f"{name}.event.json"
    main(["dry-run", "outflow", "--rules", str(EXAMPLES / f"{name}.yaml"), str(events)])
    lines = []
    for event, line in zip(json.loads(events.read_text()), capsys.readouterr().out.splitlines(), strict=True):
        planned = json.loads(line)
        lines.append(f"published: {event['data']['body']}")
        lines += [f"sent to {message['topic']}: {message['body']}" for message in planned["messages"]]
        if planned["outcome"] != "send":
            lines.append(f"{planned['outcome']}: {planned['reason'].partition(':')[0]}")
    return "\n".join(lines) + "\n"


def test_there_is_an_example_of_every_operator() -> None:
    assert NAMES == ["enrich", "filter", "function", "map", "mask", "route", "split"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_what_is_expected_of_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(name, capsys) == (EXAMPLES / f"{name}.expected.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_what_the_example_does(name: str) -> None:
    assert f"```text\n{(EXAMPLES / f'{name}.expected.txt').read_text()}```" in PAGE


def snippets() -> list[Any]:
    """Return the YAML of the page: (the example it is from, or "", its Transforms)."""
    blocks = re.findall(r"```yaml\n(?:# examples/transforms/(\w+)\.yaml\n)?(.*?)```", PAGE, re.DOTALL)
    return [pytest.param(name, text, id=name or text[:40]) for name, text in blocks]


@pytest.mark.parametrize(("name", "text"), snippets())
def test_the_page_s_rules_are_the_example_s_and_valid(name: str, text: str) -> None:
    shown = yaml.safe_load(text)
    task = {"EventStreamingName": "shown", "Source": {"SourceMQTTParameters": {"Topic": "devices"}}, "Sink": SINK}
    assert load(document(EventStreamings=[{**task, **shown}])).notices == ()
    if name:
        (example,) = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["EventStreamings"]
        assert shown == {"Transforms": example["Transforms"]}


def test_the_page_shows_every_example_and_the_function_s_code() -> None:
    assert sorted(snippet.values[0] for snippet in snippets() if snippet.values[0]) == NAMES
    code = (EXAMPLES / "transforms" / "readings.py").read_text()
    assert f"```python\n{code}```" in PAGE


def test_the_examples_name_their_schema_to_editors() -> None:
    for name in NAMES:
        path = EXAMPLES / f"{name}.yaml"
        first, _, _ = path.read_text().partition("\n")
        schema = Path(first.removeprefix("# yaml-language-server: $schema="))
        assert (path.parent / schema).resolve() == ROOT / "mqbridge.schema.json"
