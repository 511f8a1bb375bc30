"""mqbridge match --rules: which rules want an event, why the others do not, and what is expected of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from mqbridge_cli.main import main

ROOT = Path(__file__).parents[3]
SINK = {"SinkRocketMQParameters": {"Topic": {"Form": "CONSTANT", "Value": "alarms"}, "Body": {"Form": "ORIGINAL"}}}


def _task(name: str, pattern: Any, *, topic: str = "devices", kind: str = "JSON", **more: Any) -> dict[str, Any]:
    return {
        "EventStreamingName": name,
        "FilterPattern": pattern,
        "Source": {"SourceMQTTParameters": {"InstanceId": "m", "Topic": topic, "BodyDataType": kind}},
        "Sink": SINK,
        **more,
    }


RULES: dict[str, Any] = {
    "Instances": {
        "Mqtt": [{"InstanceId": "m", "Endpoint": "mqtt://h"}, {"InstanceId": "m2", "Endpoint": "mqtt://h2"}],
        "RocketMQ": [{"InstanceId": "r", "NameServers": ["h:1"]}],
    },
    "OutboundRules": [
        {
            "RuleId": "telemetry",
            "Source": {"InstanceId": "m", "Topic": "devices"},
            "Destination": {"Topic": "telemetry"},
        },
        {
            "RuleId": "off",
            "Status": "Disabled",
            "Source": {"InstanceId": "m", "Topic": "meters"},
            "Destination": {"Topic": "telemetry"},
        },
        {"RuleId": "other", "Source": {"InstanceId": "m2", "Topic": "devices"}, "Destination": {"Topic": "telemetry"}},
    ],
    "InboundRules": [
        {
            "RuleId": "commands",
            "Source": {"InstanceId": "r", "Topic": "commands"},
            "Destination": {"InstanceId": "m", "Topic": "actors"},
        },
        {
            "RuleId": "updates",
            "Source": {"InstanceId": "r", "Topic": "updates"},
            "Destination": {"InstanceId": "m", "Topic": "firmware"},
        },
    ],
    "EventStreamings": [
        _task("hot", {"data": {"body": {"temperature": [{"numeric": [">", 80]}]}}}),
        _task("up", {"data": {"props": {"secondTopic": [{"suffix": "/up"}]}}}, kind="Binary"),
        _task("paused", {}, Status="Paused"),
        _task("meters", {}, topic="meters"),
    ],
}


def _publish(topic: str, body: str, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "0A0B0C0D00002A139A5B00D5E1F30001",
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "subject": topic,
        "data": {
            "props": {
                "instanceId": "m",
                "firstTopic": topic.split("/")[0],
                "secondTopic": topic[len(topic.split("/")[0]) :],
            },
            "body": body,
        },
        **more,
    }


HOT = _publish("devices/d1/up", '{"temperature": 85}')


class Outcome:
    """What a run printed, and how it ended."""

    def __init__(self, code: int, printed: pytest.CaptureFixture[str]) -> None:
        self.code = code
        self.out, self.err = printed.readouterr()

    @property
    def states(self) -> dict[str, str]:
        """The state of each rule."""
        lines = [line for line in self.out.splitlines() if line[:3] in ("mat", "not", "can")]
        return {line[11:].split()[1].rstrip(":"): line[:11].strip() for line in lines}


@pytest.fixture
def match(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a call of the command with a document and an event."""

    def call(event: Any, *arguments: str, rules: Any = RULES) -> Outcome:
        (tmp_path / "rules.json").write_text(json.dumps(rules))
        (tmp_path / "event.json").write_text(event if isinstance(event, str) else json.dumps(event))
        paths = ["--rules", str(tmp_path / "rules.json"), "--event", str(tmp_path / "event.json")]
        return Outcome(main(["match", *paths, *arguments]), capsys)

    return call


def test_every_rule_for_mqtt_messages_has_a_line_that_says_why(match: Any) -> None:
    found = match([HOT])
    assert found.code == 0
    assert found.out.splitlines() == [
        "matched      OutboundRules    telemetry",
        "not matched  OutboundRules    off: another parent topic: the message has 'devices', the rule 'meters'",
        "not matched  OutboundRules    other: another instance: the message is of 'm', the rule of 'm2'",
        "matched      EventStreamings  hot",
        "matched      EventStreamings  up",
        "not matched  EventStreamings  paused: the task is paused",
        "not matched  EventStreamings  meters: another parent topic: the message has 'devices', the rule 'meters'",
    ]


def test_rules_for_rocketmq_messages_have_theirs(match: Any) -> None:
    event = {
        "specversion": "1.0",
        "id": "a",
        "source": "acs:mq",
        "type": "mq:Topic:SendMessage",
        "data": {
            "instanceId": "r",
            "topic": "commands",
            "userProperties": {"mqttSecondTopic": "/d1/set"},
            "body": "on",
        },
    }
    found = match([event])
    assert found.code == 0
    assert found.out.splitlines() == [
        "matched      InboundRules     commands",
        "not matched  InboundRules     updates: another topic: the message has 'commands', the rule 'updates'",
    ]


def test_rules_for_clients_that_come_and_go_have_theirs(match: Any) -> None:
    status = [
        {
            "RuleId": group,
            "Source": {"InstanceId": "m", "GroupId": group},
            "Destination": {"InstanceId": "r", "Topic": "client_status"},
        }
        for group in ("GID_sensor", "GID_other")
    ]
    event = (ROOT / "tests/events/status-aws-connected.json").read_text()
    one_broker = {**RULES["Instances"], "Mqtt": RULES["Instances"]["Mqtt"][:1]}
    found = match(event, rules={"Instances": one_broker, "StatusRules": status})
    assert found.out.splitlines() == [
        "matched      StatusRules      GID_sensor",
        "not matched  StatusRules      GID_other: other clients: the event is of 'GID_sensor@@@d1'",
    ]


def test_a_pattern_that_says_no_is_why(match: Any) -> None:
    found = match([_publish("devices/d1/down", '{"temperature": 20}')])
    assert found.states["hot"] == found.states["up"] == "not matched"
    assert "hot: the event does not match FilterPattern\n" in found.out


def test_a_disabled_rule_does_not_match(match: Any) -> None:
    found = match([_publish("meters/m1", "{}")])
    assert "not matched  OutboundRules    off: the rule is disabled\n" in found.out
    assert found.states["meters"] == "matched"


def test_a_payload_that_is_not_json_leaves_open_what_a_pattern_for_json_would_say(match: Any) -> None:
    found = match([_publish("devices/d1/up", "85 degrees")])
    assert found.states["hot"] == "cannot tell"
    assert "hot: body_not_json: payload: expected JSON, as BodyDataType says" in found.out
    assert found.states["up"] == "matched"


def test_an_event_that_names_no_instance_of_several_leaves_all_open(match: Any) -> None:
    event = _publish("devices/d1/up", "{}")
    del event["data"]["props"]["instanceId"]
    found = match([event])
    assert set(found.states.values()) == {"cannot tell"}
    assert "instance_missing" in found.out
    assert found.code == 1


def test_what_a_rule_would_reject_is_left_open(match: Any) -> None:
    event = {
        "specversion": "1.0",
        "id": "a",
        "source": "acs:mq",
        "type": "mq:Topic:SendMessage",
        "data": {"instanceId": "r", "topic": "commands", "userProperties": {"mqttSecondTopic": "/+/set"}, "body": "on"},
    }
    assert match([event]).states == {"commands": "cannot tell", "updates": "not matched"}


def test_a_task_matches_though_its_sink_would_reject_the_message(match: Any) -> None:
    sink = {
        "SinkRocketMQParameters": {
            "Topic": {"Form": "CONSTANT", "Value": "alarms"},
            "Body": {"Form": "JSONPATH", "Value": "$.data.body.missing"},
        }
    }
    rejecting = _task("rejecting", {}, Sink=sink)
    transforming = _task(
        "transforming",
        {},
        Sink=sink,
        Transforms=[{"Map": {"Set": {"$.data.body.missing": {"Form": "CONSTANT", "Value": "x"}}}}],
    )
    found = match([HOT], rules={**RULES, "EventStreamings": [rejecting, transforming]})
    assert found.code == 0
    assert "matched      EventStreamings  rejecting: but would be rejected: " in found.out
    assert "matched      EventStreamings  transforming\n" in found.out


def test_operators_that_reach_outside_are_not_asked(match: Any) -> None:
    """The function does not exist: to call it would fail."""
    task = _task(
        "calling", {}, Transforms=[{"Function": {"Arn": "arn:aws:lambda:eu-central-1:123456789012:function:none"}}]
    )
    assert match([HOT], rules={**RULES, "EventStreamings": [task]}).states["calling"] == "matched"


def test_an_event_that_is_meant_for_one_rule_is_for_no_other(match: Any) -> None:
    found = match([{**HOT, "mqbridgerule": "hot"}])
    assert found.states["hot"] == "matched"
    assert "not matched  EventStreamings  up: the event is for hot alone\n" in found.out
    assert found.states["telemetry"] == "not matched"


def test_explain_shows_what_each_leaf_of_a_task_s_pattern_asked_and_saw(match: Any) -> None:
    found = match([_publish("devices/d1/down", '{"temperature": "85"}')], "--explain")
    lines = found.out.splitlines()
    at = lines.index("not matched  EventStreamings  hot: the event does not match FilterPattern")
    assert lines[at + 1 : at + 3] == [
        '  no  $.data.body.temperature: asked [{"numeric": [">", 80]}], saw "85"',
        '      near miss: the value is the text "85", the pattern asks for a number',
    ]


def test_explain_shows_nothing_of_an_event_that_could_not_be_made(match: Any) -> None:
    found = match([_publish("devices/d1/up", "no JSON")], "--explain")
    assert "$.data.body.temperature" not in found.out
    assert "$.data.props.secondTopic" in found.out


@pytest.mark.parametrize(
    ("expected", "code", "difference"),
    [
        ("telemetry,hot,up", 0, ""),
        (" up , hot,telemetry,", 0, ""),
        ("telemetry,hot", 1, "up: matches, but is not expected to\n"),
        ("telemetry,hot,up,meters", 1, "meters: expected to match, but does not\n"),
        (
            "",
            1,
            "hot: matches, but is not expected to\ntelemetry: matches, but is not expected to\nup: matches, but is not expected to\n",
        ),
    ],
)
def test_expect_holds_for_exactly_these_rules(match: Any, expected: str, code: int, difference: str) -> None:
    found = match([HOT], "--expect", expected)
    assert found.code == code
    assert found.err == difference


def test_that_nothing_matches_can_be_expected(match: Any) -> None:
    event = [_publish("elsewhere/d1", "{}")]
    assert match(event).code == 1
    assert match(event, "--expect", "").code == 0


def test_to_expect_a_rule_that_the_document_lacks_is_a_mistake(match: Any) -> None:
    found = match([HOT], "--expect", "telemetry,tepid")
    assert found.code == 2
    assert "no rule or task tepid" in found.err
    assert found.out == ""


def test_json_has_the_same(match: Any) -> None:
    document = json.loads(match([HOT], "--format", "json", "--explain").out)
    assert document["format_version"] == "1.0"
    ((record),) = document["records"]
    assert record["record"] == HOT["id"]
    assert record["rules"][0] == {"collection": "OutboundRules", "rule": "telemetry", "state": "matched", "why": ""}
    assert [each["state"] for each in record["rules"]].count("not_matched") == 4
    hot = next(each for each in record["rules"] if each["rule"] == "hot")
    assert hot["leaves"] == [
        {
            "path": "$.data.body.temperature",
            "asked": '[{"numeric": [">", 80]}]',
            "seen": "85",
            "holds": True,
            "near": "",
        }
    ]


@pytest.mark.parametrize(
    "event",
    [
        HOT,  # a CloudEvent by itself
        HOT["data"],  # props and body, as a function of the managed service gets them
        {
            "payload_b64": "eyJ0ZW1wZXJhdHVyZSI6IDg1fQ==",
            "topic": "devices/d1/up",
            "instance_id": "m",
        },  # columns of an AWS IoT rule
        {"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(HOT)}]},
    ],
)
def test_an_event_may_have_any_shape_that_a_message_comes_in(match: Any, event: Any) -> None:
    assert match(event, "--expect", "telemetry,hot,up").code == 0


def test_of_several_records_each_has_its_lines(match: Any) -> None:
    second = {**_publish("elsewhere/d1", "{}"), "id": "0A0B0C0D00002A139A5B00D5E1F30002"}
    found = match([HOT, second], "--expect", "telemetry,hot,up")
    assert found.code == 0
    assert [line for line in found.out.splitlines() if line.startswith("record")] == [
        f"record {HOT['id']}",
        f"record {second['id']}",
    ]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("no JSON", "the event is not JSON"),
        ("[1]", "the event is none that is known"),
        ('{"Records": 7}', "the event is none that is known"),
        ('{"a": 1}', "the event is none that is known"),
        ('[{"specversion": "1.0", "id": "a"}]', "no message in it can be read"),
    ],
)
def test_an_event_that_cannot_be_read_exits_2(match: Any, event: str, message: str) -> None:
    found = match(event)
    assert found.code == 2
    assert message in found.err
    assert set(found.states.values()) <= {"cannot tell"}


def test_rules_that_are_not_valid_exit_2(match: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = match([HOT], rules={"OutboundRules": [{}]})
    assert found.code == 2
    assert "MB102" in found.err
    assert found.out == ""
    assert main(["match", "--rules", str(tmp_path / "none.yaml"), "--event", str(tmp_path / "event.json")]) == 2
    assert main(["match", "--rules", str(tmp_path / "rules.json"), "--event", str(tmp_path / "none.json")]) == 2
    capsys.readouterr()


@pytest.mark.parametrize("more", [["--expect", "a"], ["--format", "json"]])
def test_a_pattern_has_no_rules_to_expect(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", "--pattern", "p.json", "--event", "e.json", *more]) == 2
    assert "go with --rules only" in capsys.readouterr().err
