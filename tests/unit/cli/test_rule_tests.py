"""mqbridge test: what a test gives, what came of it, what is said of it, and how expectations are rewritten."""

import json
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from mqbridge.rules import InvalidRules, format_path, load
from mqbridge_cli.main import main
from mqbridge_cli.rule_tests.command import run
from mqbridge_cli.rule_tests.document import read_tests

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


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


def publish(payload: str = "on", topic: str = "devices/d1/up", **more: Any) -> dict[str, Any]:
    return {"Publish": {"Topic": topic, "Payload": payload, **more}}


def command(body: str = "on", **properties: str) -> dict[str, Any]:
    return {"RocketMQ": {"Topic": "commands", "Body": body, "Properties": properties}}


def messages(*expected: dict[str, Any]) -> dict[str, Any]:
    return {"Messages": list(expected)}


# The examples' own tests.


@pytest.mark.parametrize("tests", sorted((ROOT / "examples").rglob("*.test.yaml")), ids=lambda path: path.parent.name)
def test_the_tests_of_the_examples_hold_and_touch_every_rule(tests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(tests)]) == 0
    out = capsys.readouterr().out
    assert "0 failed" in out
    assert "no test touches" not in out


def test_the_demo_s_rules_have_tests() -> None:
    assert (ROOT / "examples" / "demo" / "rules.test.yaml").exists()


# What is given.


def test_a_publish_is_given_with_all_that_mqtt_5_carries(project: Project) -> None:
    given = publish(
        Qos=2,
        Retain=True,
        ClientId="GID_x@@@d1",
        UserProperties={"k": "v"},
        MessageExpiryInterval=60,
        ContentType="text/plain",
        ProtocolVersion=5,
        Instance="mqtt-local",
    )
    properties = {
        "mqttSecondTopic": "/d1/up",
        "qoslevel": "2",
        "clientId": "GID_x@@@d1",
        "mqtt5UserProperty": '[{"key":"k","value":"v"}]',
        "mqtt5MsgExpireInterval": "60",
        "mqtt5ContentType": "text/plain",
    }
    assert project.one(given, messages({"Topic": "telemetry", "Body": "on", "Properties": properties})) == []


def test_a_payload_comes_from_a_file_from_base64_or_is_empty(project: Project) -> None:
    (project.folder / "payload.bin").write_bytes(b"\x00\x01\xff")
    for given in ({"PayloadFile": "payload.bin"}, {"PayloadBase64": "AAH/"}):
        assert project.one({"Publish": {"Topic": "devices/d1", **given}}, messages({"BodyBase64": "AAH/"})) == []
    assert project.one({"Publish": {"Topic": "devices/d1"}}, messages({"Body": ""})) == []


def test_a_rocketmq_message_is_given_with_tags_keys_and_properties(project: Project) -> None:
    given = command("reboot", mqttSecondTopic="/d1/set", qoslevel="0", mqtt5UserProperty='[{"key":"k","value":"v"}]')
    given["RocketMQ"] |= {"Tags": "a", "Keys": "k1 k2", "Instance": "rmq-local"}
    expected = {
        "Topic": "devices/d1/set",
        "Instance": "mqtt-local",
        "Payload": "reboot",
        "Qos": 0,
        "UserProperties": {"k": "v"},
        "ContentType": "",
    }
    assert project.one(given, messages(expected)) == []


def test_a_body_comes_from_a_file_or_base64(project: Project) -> None:
    (project.folder / "body.json").write_text('{"on": true}')
    given: dict[str, Any] = {"RocketMQ": {"Topic": "commands", "BodyFile": "body.json"}}
    assert project.one(given, messages({"PayloadJson": {"on": True}})) == []
    given = {"RocketMQ": {"Topic": "commands", "BodyBase64": "AAH/"}}
    assert project.one(given, messages({"PayloadBase64": "AAH/"})) == []


def test_an_event_is_whatever_dry_run_reads(project: Project) -> None:
    event = ROOT / "tests" / "events" / "outbound-sqs.json"
    (project.folder / "event.json").write_text(event.read_text())
    expect = {"None": {"Reason": "never"}}
    (told,) = project.one({"Event": "event.json"}, expect)
    assert "1 message to rocketmq telemetry; a dead letter: unreadable_record while receiving" in told


def test_the_event_is_the_same_at_every_run(project: Project) -> None:
    outs = []
    for _ in range(2):
        project.one(publish(), messages({"Properties": {"qoslevel": "9"}, "Keys": "x"}))
        outs.append(project.out)
    assert outs[0] == outs[1]


# What came of it.


def test_only_what_is_said_of_a_message_is_compared(project: Project) -> None:
    assert project.one(publish(), messages({})) == []
    assert project.one(publish(), messages({"Topic": "telemetry"})) == []
    assert project.one(publish(), messages({"Properties": {"qoslevel": "1"}})) == []


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"Topic": "alarms"}, 'Topic: expected "alarms", got "telemetry"'),
        ({"Instance": "rmq-2"}, 'Instance: expected "rmq-2", got "rmq-local"'),
        ({"Body": "x"}, 'Body: expected "x", got "{\\"t\\": 93, \\"on\\": true, \\"u\\": [1, {\\"a\\": null}]}"'),
        ({"BodyBase64": "AAH/"}, 'BodyBase64: expected "AAH/", got "eyJ0IjogOTMsICJvbiI6IHRydWUsICJ1IjogWzEsIHsiYSI6IG51bGx9XX0="'),
        ({"BodyJson": {"t": 94, "on": True, "u": [1, {"a": None}]}}, "BodyJson.t: expected 94, got 93"),
        ({"BodyJson": {"t": 93, "on": 1, "u": [1, {"a": None}]}}, "BodyJson.on: expected 1, got true"),
        ({"BodyJson": {"t": 93, "on": True}}, 'BodyJson.u: expected nothing, got [1, {"a": null}]'),
        ({"BodyJson": {"t": 93, "on": True, "u": [1]}}, 'BodyJson.u: expected [1], got [1, {"a": null}]'),
        ({"BodyJson": None}, 'BodyJson: expected null, got {"t": 93, "on": true, "u": [1, {"a": null}]}'),
        ({"BodyContains": {"u": [1, {"b": 1}]}}, "BodyContains.u[1].b: expected 1, got nothing"),
        ({"BodyContains": {"u": [2, {}]}}, "BodyContains.u[0]: expected 2, got 1"),
        ({"Tags": "hot"}, 'Tags: expected "hot", got nothing'),
        ({"Keys": "k"}, 'Keys: expected "k", got nothing'),
        ({"ShardingKey": ""}, 'ShardingKey: expected nothing, got "devices/d1/up"'),
        ({"Properties": {"qoslevel": "2"}}, 'Properties.qoslevel: expected "2", got "1"'),
        ({"Properties": {"k": "v"}}, 'Properties.k: expected "v", got nothing'),
        ({"Properties": {"topic": None}}, 'Properties.topic: expected nothing, got "devices/d1/up"'),
        ({"Payload": "x"}, 'Payload: expected "x", got a RocketMQ message, which has Body, Tags, Keys and Properties'),
        ({"PayloadJson": None}, "PayloadJson: expected null, got a RocketMQ message, which has Body, Tags, Keys and Properties"),
        ({"Qos": 1}, "Qos: expected 1, got a RocketMQ message, which has Body, Tags, Keys and Properties"),
    ],
    ids=str,
)  # fmt: skip
def test_a_rocketmq_message_is_compared_field_by_field(project: Project, expected: dict[str, Any], told: str) -> None:
    given = publish('{"t": 93, "on": true, "u": [1, {"a": null}]}')
    assert project.one(given, messages(expected)) == [f"Messages[0].{told}"]


def test_json_is_compared_by_value(project: Project) -> None:
    given = publish('{"b": 3.0e2, "a": "\\u00e4"}')
    assert project.one(given, messages({"BodyJson": {"a": "ä", "b": 300}})) == []
    assert project.one(given, messages({"BodyContains": {"b": 300}})) == []
    assert project.one(given, messages({"BodyContains": {}})) == []


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"Payload": "off"}, 'Payload: expected "off", got "on"'),
        ({"PayloadContains": {"a": 1}}, 'PayloadContains: expected JSON, got "on"'),
        ({"Qos": 2}, "Qos: expected 2, got 1"),
        ({"UserProperties": {"k": "w"}}, 'UserProperties.k: expected "w", got "v" and "v"'),
        ({"UserProperties": {"x": "y"}}, 'UserProperties.x: expected "y", got nothing'),
        ({"MessageExpiryInterval": 60}, "MessageExpiryInterval: expected 60, got nothing"),
        ({"ContentType": "text"}, 'ContentType: expected "text", got nothing'),
        ({"Body": "on"}, 'Body: expected "on", got a PUBLISH, which has Payload, Qos and UserProperties'),
        ({"BodyJson": 1}, "BodyJson: expected 1, got a PUBLISH, which has Payload, Qos and UserProperties"),
        ({"Tags": ""}, 'Tags: expected "", got a PUBLISH, which has Payload, Qos and UserProperties'),
    ],
    ids=str,
)  # fmt: skip
def test_a_publish_is_compared_field_by_field(project: Project, expected: dict[str, Any], told: str) -> None:
    given = command(mqtt5UserProperty='[{"key":"k","value":"v"},{"key":"k","value":"v"}]')
    assert project.one(given, messages(expected)) == [f"Messages[0].{told}"]


def test_a_body_that_is_no_text_is_shown_in_base64(project: Project) -> None:
    given = {"Publish": {"Topic": "devices/d1", "PayloadBase64": "AAH/"}}
    (told,) = project.one(given, messages({"Body": "on"}))
    assert told == 'Messages[0].Body: expected "on", got 3 bytes, in Base64 "AAH/"'


def test_a_long_value_is_shortened(project: Project) -> None:
    (told,) = project.one(publish("x" * 1000), messages({"Body": "on"}))
    assert told.endswith("xxx... (1002 characters)")
    assert len(told) < 400


@pytest.mark.parametrize(
    ("given", "expect", "told"),
    [
        (publish(), messages({}, {}), "Messages: expected 2 messages, got 1 message to rocketmq telemetry"),
        (
            publish(topic="screens/s1"),
            messages({}),
            "Messages: expected 1 message, got nothing; dropped: no_rule: no outbound rule for parent topic 'screens' of mqtt-local",
        ),
        (publish(), {"None": {}}, "None: expected nothing, got 1 message to rocketmq telemetry"),
        (
            publish(topic="screens/s1"),
            {"None": {"Reason": "loop"}},
            'None.Reason: expected "loop", got nothing; dropped: no_rule: no outbound rule for parent topic \'screens\' of mqtt-local',
        ),
        (publish(), {"DeadLetter": {}}, "DeadLetter: expected 1 dead letter, got 1 message to rocketmq telemetry"),
        (
            command(qoslevel="7"),
            {"DeadLetter": {"Reason": "illegal_topic"}},
            "DeadLetter.Reason: expected \"illegal_topic\", got \"invalid_qos\" (qoslevel: expected 0, 1 or 2, got '7')",
        ),
        (
            command(qoslevel="7"),
            {"DeadLetter": {"DetailContains": "got '8'"}},
            "DeadLetter.DetailContains: expected \"got '8'\", got \"qoslevel: expected 0, 1 or 2, got '7'\"",
        ),
        (
            command(qoslevel="7"),
            messages({}),
            "Messages: expected 1 message, got a dead letter by commands: invalid_qos while processing: "
            "qoslevel: expected 0, 1 or 2, got '7'",
        ),
    ],
)  # fmt: skip
def test_another_outcome_is_told_with_its_reason(project: Project, given: Any, expect: Any, told: str) -> None:
    assert project.one(given, expect) == [told]


def test_a_dead_letter_is_told_apart_in_every_kind_of_queue(project: Project) -> None:
    for arn in (
        "acs:mq:local:0:/instances/rmq-local/topic/dlq",
        "arn:aws:sqs:eu-central-1:123456789012:dlq.fifo",
        "arn:aws:events:eu-central-1:123456789012:event-bus/dlq",
    ):
        project.write_rules({**RULES, "Defaults": {"RunOptions": {"DeadLetterQueue": {"Arn": arn}}}})
        expect = {"DeadLetter": {"Reason": "invalid_qos", "Stage": "processing", "DetailContains": "got '7'"}}
        assert project.one(command(qoslevel="7"), expect) == [], arn


@pytest.mark.parametrize(
    ("options", "fate"),
    [({}, "rejected, without a dead-letter queue, by commands"), ({"ErrorsTolerance": "ALL"}, "rejected and discarded by commands")],
)  # fmt: skip
def test_what_is_rejected_without_a_queue_is_no_dead_letter(project: Project, options: Any, fate: str) -> None:
    project.write_rules({**RULES, "Defaults": {"RunOptions": options}})
    expectations: list[dict[str, Any]] = [{"DeadLetter": {}}, {"None": {}}]
    for expect in expectations:
        (told,) = project.one(command(qoslevel="7"), expect)
        assert f"got {fate}: invalid_qos: qoslevel" in told


def test_a_trigger_that_knows_only_errors_is_no_failure_of_the_test(project: Project) -> None:
    """AWS IoT hears of what is left by an exception; the test says what became of the message."""
    project.write_rules({**RULES, "Defaults": {}})
    event = json.loads((ROOT / "tests" / "events" / "trigger-iot.json").read_text())
    (project.folder / "event.json").write_text(json.dumps({**event, "payload_b64": "?"}))
    (told,) = project.one({"Event": "event.json"}, {"DeadLetter": {}})
    assert "unreadable_record" in told


def test_the_handlers_log_is_not_part_of_the_output(project: Project) -> None:
    assert project.one(command(qoslevel="7"), {"DeadLetter": {}}) == []
    assert (project.out.count("\n"), project.err) == (4, "")


# Tasks.


def with_task(project: Project, **changes: Any) -> None:
    project.write_rules({**RULES, "OutboundRules": [], "EventStreamings": [{**TASK, **changes}]})


def test_a_task_is_tested_with_filter_and_sink(project: Project) -> None:
    with_task(project)
    given = publish('{"t": 93}', ClientId="d1")
    assert project.one(given, messages({"Topic": "alarms", "Tags": "hot", "Keys": "d1", "BodyJson": {"t": 93}})) == []
    assert project.one(publish('{"t": 20}'), {"None": {"Reason": "filtered"}}) == []
    assert project.one(publish("no JSON"), {"DeadLetter": {"Stage": "decoding"}}) == []


def test_a_split_is_several_messages_in_their_order(project: Project) -> None:
    with_task(project, FilterPattern={}, Transforms=[{"Split": {}}])
    given = publish('[{"t": 1}, {"t": 2}]')
    assert project.one(given, messages({"BodyJson": {"t": 1}}, {"BodyJson": {"t": 2}})) == []
    told = project.one(given, messages({"BodyJson": {"t": 2}}, {"BodyJson": {"t": 1}}))
    assert told == ["Messages[0].BodyJson.t: expected 2, got 1", "Messages[1].BodyJson.t: expected 1, got 2"]


def test_a_publish_goes_to_the_outbound_rule_and_the_tasks_unless_one_is_named(project: Project) -> None:
    project.write_rules({**RULES, "EventStreamings": [TASK]})
    given = publish('{"t": 93}', ClientId="d1")
    assert project.one(given, messages({"Topic": "telemetry"}, {"Topic": "alarms"})) == []
    assert project.one(given, messages({"Topic": "alarms"}), Rule="hot-readings") == []
    assert project.one(given, messages({"Topic": "telemetry"}), Rule="telemetry") == []
    assert project.one(publish('{"t": 2}'), messages({"Topic": "telemetry"})) == []


def test_what_no_rule_can_read_is_one_dead_letter(project: Project) -> None:
    project.write_rules({**RULES, "EventStreamings": [TASK]})
    event = [{"specversion": "1.0", "id": "a", "source": "x", "type": "y", "data": {"body": "on"}}]
    (project.folder / "event.json").write_text(json.dumps(event))
    assert (
        project.one({"Event": "event.json"}, {"DeadLetter": {"Reason": "unreadable_record", "Stage": "receiving"}})
        == []
    )


def test_a_test_asks_no_table_and_calls_no_lambda(project: Project) -> None:
    rows = {
        "Enrich": {
            "Key": "$.data.body.site",
            "From": {"DynamoDB": {"Table": "sites", "KeyName": "id", "Region": "eu-central-1"}},
        }
    }
    function = {"Function": {"Arn": "arn:aws:lambda:eu-central-1:123456789012:function:enrich"}}
    for transform in (rows, function):
        with_task(project, FilterPattern={}, Transforms=[transform])
        (told,) = project.one(publish('{"site": "a"}'), messages({}))
        assert "got to be tried again by hot-readings" in told
        assert "tests of rules reach no network" in told


def test_a_file_that_a_task_looks_into_lies_beside_the_rules(project: Project) -> None:
    (project.folder / "sites.csv").write_text("id,floor\na,2\n")
    with_task(
        project,
        FilterPattern={},
        Transforms=[{"Enrich": {"Key": "$.data.body.site", "From": {"File": {"Path": "sites.csv"}}}}],
    )
    assert project.one(publish('{"site": "a"}'), messages({"BodyContains": {"floor": "2"}})) == []


# What is said at the end.


def test_rules_and_tasks_that_no_test_touches_are_named(project: Project) -> None:
    project.write_rules(
        {**RULES, "EventStreamings": [{**TASK, "Source": {"SourceMQTTParameters": {"Topic": "screens"}}}]}
    )
    project.one(publish(), messages({}))
    assert project.out.splitlines()[-2:] == [
        "1 test: 1 passed, 0 failed",
        f"no test touches, of {project.rules}: hot-readings, commands",
    ]


def test_a_failed_test_has_its_place(project: Project) -> None:
    project.write_tests("""
        Tests:
          - Name: first
            Given: {Publish: {Topic: devices/d1}}
            Expect: {Messages: [{}]}

          - Name: second
            Given: {Publish: {Topic: devices/d1}}
            Expect: {None: {}}
    """)
    assert project.run() == 1
    assert "  ok     first" in project.out
    assert f"  FAILED second ({project.tests}:7:5)" in project.out


def test_a_test_that_cannot_be_run_is_an_error_and_stops_no_other(project: Project) -> None:
    (project.folder / "other.json").write_text('{"a": 1}')
    project.write_tests("""
        Tests:
          - {Name: no file, Given: {Event: nowhere.json}, Expect: {None: {}}}
          - {Name: no event, Given: {Event: other.json}, Expect: {None: {}}}
          - {Name: sound, Given: {Publish: {Topic: devices/d1}}, Expect: {Messages: [{}]}}
    """)
    assert project.run() == 2
    assert "ERROR no file" in project.out
    assert f"{project.folder / 'nowhere.json'}: No such file or directory" in project.out
    assert "the event is none that is known" in project.out
    assert "3 tests: 1 passed, 0 failed, 2 could not be run" in project.out


# The document of tests.


def faults(project: Project, text: str) -> list[str]:
    project.write_tests(text)
    with pytest.raises(InvalidRules) as raised:
        read_tests(project.tests, load(project.rules))
    return [
        f"{each.line}:{each.column} {each.code} {format_path(each.path)} {each.help}".strip()
        for each in raised.value.faults
    ]


def test_faults_of_a_document_of_tests_have_code_place_and_help(project: Project) -> None:
    found = faults(
        project,
        """\
        Tests:
          - Name: one
            Given: {Publish: {Topik: devices/d1, Topic: devices/d1}}
            Expect: {Message: []}
          - Given: {Publish: {Topic: devices/+, UserProperties: {k: 1}}}
            Expect: {None: {}, Messages: [{}]}
          - Name: three
            Given: {}
            Expect: {Messages: []}
        """,
    )
    assert found == [
        "3:23 MB101 Tests[0].Given.Publish.Topik did you mean Topic?",
        "4:14 MB101 Tests[0].Expect.Message did you mean Messages?",
        "5:5 MB102 Tests[1].Name",
        "5:23 MB104 Tests[1].Given.Publish.Topic",
        "5:58 MB104 Tests[1].Given.Publish.UserProperties.k put it in quotes: properties are text",
        "6:5 MB104 Tests[1].Expect",
        "8:5 MB104 Tests[2].Given",
        "9:14 MB104 Tests[2].Expect.Messages",
    ]


def test_a_test_names_a_rule_that_is_there_and_has_a_name_of_its_own(project: Project) -> None:
    found = faults(
        project,
        """\
        Tests:
          - {Name: one, Rule: telemetri, Given: {Publish: {Topic: a, Payload: x, PayloadBase64: ""}}, Expect: {None: {}}}
          - {Name: one, Rule: nothing, Given: {RocketMQ: {Topic: a, Body: x, BodyFile: x}}, Expect: {None: {}}}
        """,
    )
    assert found == [
        "2:17 MB401 Tests[0].Rule did you mean telemetry?",
        "2:42 MB212 Tests[0].Given.Publish",
        "3:6 MB202 Tests[1].Name",
        "3:17 MB401 Tests[1].Rule",
        "3:40 MB212 Tests[1].Given.RocketMQ",
    ]


@pytest.mark.parametrize("text", ["Tests: {}", "[]", "Test: []", "Tests:\nTests: []\nTests: []", "a: [", ""])
def test_a_document_that_is_none_exits_2_and_says_why(project: Project, text: str) -> None:
    project.tests.write_text(text)
    assert project.run() == 2
    assert str(project.tests) in project.err
    assert "1 file of tests could not be read" in project.out


def test_faulty_rules_run_no_test_and_are_told_as_validate_tells_them(project: Project) -> None:
    project.write_rules({**RULES, "OutboundRules": [{"RuleId": "telemetry", "Sorce": {}}]})
    project.write_tests("Tests: []")
    assert project.run() == 2
    assert "MB101 OutboundRules[0].Sorce" in project.err
    assert "help: did you mean Source?" in project.err


# Which tests belong to which rules.


def test_rules_tests_and_folders_all_find_the_pair(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.one(publish(), messages({}))
    hidden = project.folder / ".venv"
    hidden.mkdir()
    (hidden / "x.test.yaml").write_text("not looked at")
    deep = project.folder / "more" / "deep"
    deep.mkdir(parents=True)
    (deep / "a.json").write_text(json.dumps(RULES))
    (deep / "a.test.yaml").write_text("Tests: []")
    for path, count in ((project.rules, 1), (project.tests, 1), (project.folder, 2), (deep / "a.json", 1)):
        assert main(["test", str(path)]) == 0
        assert capsys.readouterr().out.count(".test.yaml\n") == count
    monkeypatch.chdir(project.folder)
    assert main(["test"]) == 0


def test_a_pair_is_run_once_however_often_it_is_named(project: Project) -> None:
    project.one(publish(), messages({}))
    assert project.run(str(project.tests), str(project.folder)) == 0
    assert "1 test: 1 passed" in project.out


@pytest.mark.parametrize("name", ["rules.yaml", "lonely.test.yaml", "."])
def test_where_the_other_half_is_missing_is_told(
    project: Project, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = project.folder / "lonely.test.yaml"
    if name == lonely.name:
        lonely.write_text("Tests: []")
    assert main(["test", str(project.folder / name)]) == 2
    assert {"rules.yaml": "expected rules.test.yaml", lonely.name: "expected lonely.yaml", ".": "no tests: expected"}[
        name
    ] in capsys.readouterr().err


# JUnit.


def test_junit_has_a_suite_per_file_and_a_case_per_test(project: Project, tmp_path: Path) -> None:
    project.write_tests("""
        Tests:
          - {Name: sound, Given: {Publish: {Topic: devices/d1}}, Expect: {Messages: [{}]}}
          - {Name: "wrong <&>", Given: {Publish: {Topic: devices/d1, Payload: "a\\x01"}}, Expect: {Messages: [{Body: b, Topic: c}]}}
          - {Name: gone, Given: {Event: nowhere.json}, Expect: {None: {}}}
    """)
    (project.folder / "b.yaml").write_text(yaml.safe_dump(RULES))
    (project.folder / "b.test.yaml").write_text("Tests: {}")
    report = tmp_path / "junit.xml"
    assert project.run(str(project.folder / "b.yaml"), "--junit", str(report)) == 2
    first, second = ElementTree.parse(report).getroot()  # noqa: S314  # our own text
    counts = [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in (first, second)]
    assert counts == [("3", "1", "1"), ("1", "0", "1")]
    sound, wrong, gone = first
    assert (sound.get("name"), sound.get("line"), list(sound)) == ("sound", "3", [])
    assert wrong.get("name") == "wrong <&>"
    assert (wrong[0].tag, wrong[0].get("message")) == ("failure", 'Messages[0].Topic: expected "c", got "telemetry"')
    assert 'Messages[0].Body: expected "b", got "a\\u0001"' in str(wrong[0].text)
    assert gone[0].tag == "error"
    assert "MB104 Tests" in str(second[0][0].text)


def test_a_report_that_cannot_be_written_exits_2(project: Project) -> None:
    project.write_tests("Tests: []")
    assert project.run("--junit", str(project.folder / "no" / "folder.xml")) == 2
    assert "cannot be written: No such file or directory" in project.err


# --update.


def test_update_rewrites_what_does_not_hold_and_nothing_else(project: Project) -> None:
    project.write_tests("""\
        # The head stays.
        Tests:
          - Name: part of it   # as does this
            Given:
              Publish: {Topic: devices/d1/up, Payload: '{"t": 1, "u": {"v": [1, 2]}}'}
            Expect:
              Messages:
                - Topic: wrong
                  BodyContains: {t: 2, u: {}, gone: 1}
                  Properties: {mqttSecondTopic: x, gone: y}
                  Tags: hot
            # This belongs to the next.

          - {Name: flow, Given: {Publish: {Topic: screens/s1}}, Expect: {DeadLetter: {}}}  # an aside
          - Name: holds
            Given: {Publish: {Topic: screens/s1}}
            Expect: {None:   {} }
          - Name: another kind
            Expect:
              # why
              None: {}
            Given: {RocketMQ: {Topic: commands, Properties: {mqttSecondTopic: /a, qoslevel: "0"}}}
          - Name: a dead letter
            Given: {RocketMQ: {Topic: commands, Properties: {qoslevel: "7"}}}
            Expect: {None: {}}
        """)
    assert project.run("--update") == 1
    assert "FAILED part of it" in project.out
    assert project.err.splitlines() == [
        f"{project.tests}: updated: {name}" for name in ("part of it", "flow", "another kind", "a dead letter")
    ]
    assert project.tests.read_text() == textwrap.dedent("""\
        # The head stays.
        Tests:
          - Name: part of it   # as does this
            Given:
              Publish: {Topic: devices/d1/up, Payload: '{"t": 1, "u": {"v": [1, 2]}}'}
            Expect:
              Messages:
                - Topic: telemetry
                  BodyContains:
                    t: 1
                    u: {}
                  Tags: ''
                  Properties: {mqttSecondTopic: /d1/up, gone: null}
            # This belongs to the next.

          - {Name: flow, Given: {Publish: {Topic: screens/s1}}, Expect: {None: {Reason: no_rule}}}  # an aside
          - Name: holds
            Given: {Publish: {Topic: screens/s1}}
            Expect: {None:   {} }
          - Name: another kind
            Expect:
              # why
              Messages:
                - {Topic: devices/a, Qos: 0, Payload: ''}
            Given: {RocketMQ: {Topic: commands, Properties: {mqttSecondTopic: /a, qoslevel: "0"}}}
          - Name: a dead letter
            Given: {RocketMQ: {Topic: commands, Properties: {qoslevel: "7"}}}
            Expect:
              DeadLetter: {Reason: invalid_qos, Stage: processing}
        """)
    assert project.run() == 0


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        ("\n      None: {}  # dropped\n      # or not\n", ""),
        ("\n      Messages:\n        # the first\n        - {Topic: a}\n", "its Expect has a comment in it"),
        (" &same {None: {}}\n", "its Expect has an anchor or refers to one"),
    ],
)  # fmt: skip
def test_update_loses_no_comment_and_no_anchor(project: Project, expect: str, why: str) -> None:
    before = f"Tests:\n  - Name: one\n    Given: {{Publish: {{Topic: devices/d1}}}}\n    Expect:{expect}"
    project.tests.write_text(before)
    assert project.run("--update") == 1
    after = project.tests.read_text()
    if why:
        assert after == before
        assert f"not updated: one: {why}" in project.err
    else:
        assert "# dropped" in after
        assert "# or not" in after
        assert project.run() == 0


def test_update_writes_down_what_no_expectation_was_there_for(project: Project) -> None:
    for given in (publish('{"t": 1}'), {"Publish": {"Topic": "devices/d1", "PayloadBase64": "AAH/"}}, command("on")):
        project.tests.write_text(yaml.safe_dump({"Tests": [{"Name": "one", "Given": given, "Expect": {"None": {}}}]}))
        assert project.run("--update") == 1
        assert project.run() == 0
        (expected,) = yaml.safe_load(project.tests.read_text())["Tests"][0]["Expect"]["Messages"]
        assert "Topic" in expected
        assert {"Body", "BodyBase64", "Payload"} & set(expected)
        assert "mqbridge-origin" not in str(expected)


@pytest.mark.parametrize(
    "said",
    [{"Body": "x"}, {"BodyJson": 1}, {"BodyContains": {"a": 1}}, {"BodyBase64": "AAAA"}, {"Payload": "x"}, {"Body": "x", "Keys": "y"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("payload", [b'{"a": 2}', b"text", b"\xff"])
def test_update_says_a_body_in_a_way_that_it_has(project: Project, said: dict[str, Any], payload: bytes) -> None:
    (project.folder / "payload").write_bytes(payload)
    given = {"Publish": {"Topic": "devices/d1", "PayloadFile": "payload"}}
    project.tests.write_text(yaml.safe_dump({"Tests": [{"Name": "one", "Given": given, "Expect": messages(said)}]}))
    assert project.run("--update") == 1
    assert project.run() == 0, project.tests.read_text()


def test_update_leaves_what_no_expectation_can_say(project: Project) -> None:
    project.write_rules({**RULES, "Defaults": {}, "EventStreamings": [TASK]})
    project.write_tests("""
        Tests:
          - {Name: no queue, Given: {RocketMQ: {Topic: commands, Properties: {qoslevel: "7"}}}, Expect: {None: {}}}
    """)
    before = project.tests.read_text()
    assert project.run("--update") == 1
    assert "not updated: no queue: no expectation says: rejected, without a dead-letter queue" in project.err
    project.write_rules({**RULES, "EventStreamings": [TASK]})
    project.write_tests("Tests: [{Name: two, Given: {Publish: {Topic: devices/d1, Payload: x}}, Expect: {None: {}}}]")
    assert project.run("--update") == 1
    assert "not updated: two: several rules did different things: name one with Rule" in project.err
    assert "no queue" in before


def test_update_rewrites_yaml_only(project: Project) -> None:
    tests = project.folder / "rules.test.json"
    tests.write_text(
        '{"Tests": [{"Name": "one", "Given": {"Publish": {"Topic": "devices/d1"}}, "Expect": {"None": {}}}]}'
    )
    assert project.run("--update") == 1
    assert "not updated: one: only YAML can be rewritten" in project.err
