"""Status rules on the command line: dry-run and tests of rules."""

import json
from pathlib import Path

import pytest

from mqbridge_cli.main import main
from tests.unit.mqbridge.support import EVENTS, document

RULE = {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "client_status"}}
TESTS = f"""
Tests:
  - Name: an announced end is two messages
    Given: {{Event: {EVENTS}/status-aws-disconnected.json}}
    Expect:
      Messages:
        - {{Topic: client_status, Tags: disconnect, BodyContains: {{eventType: disconnect, clientId: GID_sensor@@@d1}}}}
        - {{Topic: client_status, Tags: tcpclean, BodyContains: {{eventType: tcpclean, remark: CLIENT_INITIATED_DISCONNECT}}}}
  - Name: a message that carries a notice is for the rule that is named
    Given:
      RocketMQ: {{Topic: any, Body: '{{"clientId":"GID_sensor@@@d3","time":1,"eventType":"connect","channelId":"c"}}'}}
    Rule: presence
    Expect:
      Messages:
        - {{Tags: connect, Keys: GID_sensor@@@d3, BodyContains: {{clientId: GID_sensor@@@d3, eventType: connect}}}}
  - Name: other events of the broker are of no interest
    Given: {{Event: subscribed.json}}
    Expect: {{None: {{Reason: foreign_event_type}}}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(document(StatusRules=[RULE])))
    return path


def test_dry_run_plans_each_event(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["aws-connected", "emqx-disconnected", "apsaramq"]
    assert (
        main(["dry-run", "status", "--rules", str(rules), *(str(EVENTS / f"status-{name}.json") for name in names)])
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["rule"], [message["tags"] for message in each["messages"]]) for each in lines] == [
        ("presence", ["connect"]),
        ("presence", ["disconnect", "tcpclean"]),
        ("presence", ["tcpclean"]),
    ]


def test_dry_run_says_what_would_be_rejected(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dry-run", "status", "--rules", str(rules), str(EVENTS / "status-sqs.json")]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["outcome"] for each in lines] == ["send", "send", "reject", "drop", "drop", "reject"]


def test_tests_of_rules_cover_status_rules(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules.with_name("rules.test.yaml").write_text(TESTS)
    subscribed = {"clientId": "GID_sensor@@@d1", "timestamp": 1, "eventType": "subscribed", "sessionIdentifier": "s"}
    rules.with_name("subscribed.json").write_text(json.dumps(subscribed))
    code = main(["test", str(rules)])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "3 passed" in out
    assert "no test" not in out, "the rule is touched"
