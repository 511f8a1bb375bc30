"""A project of rules and tests beside them, and what is given and expected in one."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from mqbridge_cli.main import main

ROOT = Path(__file__).parents[3]

RULES: dict[str, Any] = {
    "Instances": {
        "Mqtt": [{"InstanceId": "mqtt-local", "Endpoint": "mqtt://127.0.0.1:1883"}],
        "RocketMQ": [{"InstanceId": "rmq-local", "NameServers": ["127.0.0.1:9876"]}],
    },
    "Defaults": {"RunOptions": {"DeadLetterQueue": {"Arn": "acs:mq:local:0:/instances/rmq-local/topic/dlq"}}},
    "OutboundRules": [{"RuleId": "telemetry", "Source": {"Topic": "devices"}, "Destination": {"Topic": "telemetry"}}],
    "InboundRules": [{"RuleId": "commands", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
}
TASK = {
    "EventStreamingName": "hot-readings",
    "FilterPattern": {"data": {"body": {"t": [{"numeric": [">", 80]}]}}},
    "Source": {"SourceMQTTParameters": {"Topic": "devices"}},
    "Transforms": [],
    "Sink": {
        "SinkRocketMQParameters": {
            "Topic": {"Form": "CONSTANT", "Value": "alarms"},
            "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
            "Tags": {"Form": "CONSTANT", "Value": "hot"},
            "Keys": {"Form": "JSONPATH", "Value": "$.data.props.clientId"},
        }
    },
}


class Project:
    """A folder with rules.yaml and rules.test.yaml."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""
        self.write_rules(RULES)

    @property
    def rules(self) -> Path:
        return self.folder / "rules.yaml"

    @property
    def tests(self) -> Path:
        return self.folder / "rules.test.yaml"

    def write_rules(self, rules: dict[str, Any]) -> None:
        self.rules.write_text(yaml.safe_dump(rules))

    def write_tests(self, text: str) -> None:
        self.tests.write_text(textwrap.dedent(text))

    def run(self, *arguments: str) -> int:
        code = main(["test", str(self.rules), *arguments])
        self.out, self.err = self._capsys.readouterr()
        return code

    def one(self, given: Any, expect: Any, **more: Any) -> list[str]:
        """Run one test and return what is other than expected: a line per difference."""
        self.tests.write_text(json.dumps({"Tests": [{"Name": "one", "Given": given, "Expect": expect, **more}]}))
        code = self.run()
        lines = self.out.splitlines()
        places = [at for at, line in enumerate(lines) if line.startswith(" " * 9) and line[9] != " "]
        told = [
            f"{lines[at].strip()}: {lines[at + 1].strip()}, {lines[at + 2].strip()}".replace("  ", " ") for at in places
        ]
        assert code == (1 if told else 0), self.out + self.err
        return [" ".join(line.split()) for line in told]


def publish(payload: str = "on", topic: str = "devices/d1/up", **more: Any) -> dict[str, Any]:
    return {"Publish": {"Topic": topic, "Payload": payload, **more}}


def command(body: str = "on", **properties: str) -> dict[str, Any]:
    return {"RocketMQ": {"Topic": "commands", "Body": body, "Properties": properties}}


def messages(*expected: dict[str, Any]) -> dict[str, Any]:
    return {"Messages": list(expected)}
