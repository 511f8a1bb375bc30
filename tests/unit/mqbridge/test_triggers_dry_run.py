"""Every shape of invocation event can be dry-run: from a file, and as one line of standard input."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from mqbridge_cli.main import main
from tests.unit.mqbridge.support import EVENTS, document, inbound_rule, mqtt_event, outbound_rule

COMMANDS = ("command", "fc-rocketmq", "fc-rocketmq-single", "fc-rocketmq-raw", "fc-rocketmq-self-managed", "sqs-fifo")
NAMES = sorted(path.stem.removeprefix("trigger-") for path in EVENTS.glob("trigger-*.json"))


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(document(OutboundRules=[outbound_rule()], InboundRules=[inbound_rule()])))
    return str(path)


def planned(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_is_planned_from_a_file_and_from_a_line(
    name: str, rules: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, path = "inbound" if name in COMMANDS else "outbound", EVENTS / f"trigger-{name}.json"
    code = main(["dry-run", flow, "--rules", rules, str(path)])
    lines = planned(capsys)
    assert code == (1 if name == "pipes-sqs" else 0), "one of its records is no message"
    assert [line["outcome"] for line in lines].count("send") == len(lines) - code
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(json.loads(path.read_text())) + "\n"))
    assert main(["dry-run", flow, "--rules", rules, "-"]) == code
    assert [(line["outcome"], len(line["messages"])) for line in planned(capsys)] == [
        (line["outcome"], len(line["messages"])) for line in lines
    ]


def test_a_request_that_brings_no_event_is_unreadable(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = json.loads((EVENTS / "trigger-function-url-emqx.json").read_text()) | {"body": "hello"}
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event))
    assert main(["dry-run", "outbound", "--rules", rules, str(path)]) == 2
    assert "the body is not JSON" in capsys.readouterr().err


def test_a_batch_for_a_rule_that_is_not_there_is_refused_as_by_the_function(
    rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps([mqtt_event(mqbridgerule="unheard-of")]))
    assert main(["dry-run", "outbound", "--rules", rules, str(path)]) == 2
    assert "mqbridgerule: expected one of the outbound rules" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pull", "eventbridge", "fc-timer", "cloudevent"])
def test_a_pull_is_told_by_what_it_would_read(name: str, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(EVENTS / f"schedule-{name}.json")
    assert main(["dry-run", "inbound", "--rules", rules, path]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"{path}: event 0 asks for a pull; the function reads",
        "  topic commands of rmq-local as group GID_mqbridge_commands, by rule commands",
    ]
    assert main(["dry-run", "outbound", "--rules", rules, path]) == 2
    assert "a pull, which is for the inbound function" in capsys.readouterr().err
