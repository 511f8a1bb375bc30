"""mqbridge test: what a test gives, and what came of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from mqbridge_cli.rule_tests.command import run
from tests.unit.cli.rule_tests_project import ROOT, RULES, TASK, Project, command, messages, publish

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
