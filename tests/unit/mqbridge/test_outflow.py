"""Message outflow tasks, planned: decode, filter, transform, map to RocketMQ; one outcome per record and task."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.flows import outflow
from mqbridge.mapping import ORIGIN, message_id, to_mqtt
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Drop, Planned, Reject, Send
from mqbridge.rules import Rules, load
from tests.unit.mqbridge.support import (
    MQTT_INSTANCE,
    ROCKETMQ_INSTANCE,
    command,
    document,
    publish,
    quick,
    record,
    streaming,
)

HOT = publish(payload=b'{"temperature": 93.50, "at": {"site": "s1"}}', client_id="GID_a@@@d1", protocol_version=5)


def tasks(*several: dict[str, Any], **parts: Any) -> Rules:
    return load(document(EventStreamings=list(several), **parts))


def plan_one(rules: Rules, message: MqttMessage | RocketMQMessage = HOT, **how: Any) -> Planned:
    (planned,) = outflow.plan([record(message)], rules, **how)
    return planned


def sent(rules: Rules, message: MqttMessage = HOT) -> RocketMQMessage:
    outcome = plan_one(rules, message).outcome
    assert isinstance(outcome, Send), outcome
    (only,) = outcome.messages
    assert isinstance(only, RocketMQMessage)
    return only


def rejected(rules: Rules, message: MqttMessage = HOT) -> Reject:
    outcome = plan_one(rules, message).outcome
    assert isinstance(outcome, Reject), outcome
    return outcome


def with_sink(**sink: Any) -> Rules:
    return tasks(streaming(sink=sink))


def form(form: str, value: str | None = None, template: str | None = None) -> dict[str, Any]:
    parts = {"Form": form, "Value": value, "Template": template}
    return {key: part for key, part in parts.items() if part is not None}


# Which events a task takes.


def test_a_message_goes_to_the_sink_of_its_topic_s_task() -> None:
    message = sent(tasks(streaming()))
    assert (message.instance_id, message.topic, message.body) == ("rmq-local", "alarms", HOT.payload)
    assert message.sharding_key == "GID_a@@@d1", "a device's messages keep their order"


def test_several_tasks_of_a_topic_each_plan_it() -> None:
    rules = tasks(streaming("one"), streaming("two", FilterPattern={"data": {"body": {"temperature": [1]}}}))
    planned = outflow.plan([record(HOT)], rules)
    assert [(each.rule.rule_id, type(each.outcome)) for each in planned if each.rule] == [
        ("one", Send),
        ("two", Drop),
    ]
    assert [each.rule.rule_id for each in outflow.plan([record(HOT)], rules, "two") if each.rule] == ["two"]


@pytest.mark.parametrize("topic", ["other/d1", "devicesx", "", "/devices"])
def test_what_no_task_reads_is_dropped_without_a_rule(topic: str) -> None:
    planned = plan_one(tasks(streaming()), publish(topic=topic))
    assert (planned.rule, planned.outcome) == (None, Drop("no_rule", planned.outcome.detail))  # type: ignore[union-attr]  # a Drop


def test_a_rocketmq_message_is_of_the_wrong_kind() -> None:
    outcome = plan_one(tasks(streaming()), command()).outcome
    assert isinstance(outcome, Reject)
    assert outcome.reason == "wrong_kind"


def test_a_paused_task_drops_under_its_own_name() -> None:
    planned = plan_one(tasks(streaming(Status="Paused")))
    assert planned.outcome == Drop("task_paused")
    assert planned.rule is not None


def test_what_the_bridge_sent_itself_is_not_exported_again() -> None:
    mark = "".join(value for name, value in _marked().user_properties if name == ORIGIN)
    assert mark
    assert isinstance(plan_one(tasks(streaming()), _marked()).outcome, Drop)


def _marked() -> MqttMessage:
    made = to_mqtt(command(), instance_id="mqtt-local", parent="devices", protocol_version=5, max_topic_length=128)
    assert isinstance(made, MqttMessage)
    return made


def test_under_mqtt_3_1_1_messages_say_where_they_come_from() -> None:
    """Where the bridge's mark cannot travel with a PUBLISH, the inbound rule must see it in the message."""
    instances = {"Mqtt": [{**MQTT_INSTANCE, "ProtocolVersion": "3.1.1"}], "RocketMQ": [dict(ROCKETMQ_INSTANCE)]}
    assert (
        sent(load({"Instances": instances, "EventStreamings": [streaming()]})).properties[ORIGIN]
        == "mqtt:mqtt-local/devices"
    )
    assert ORIGIN not in sent(tasks(streaming())).properties


# The event, and its body.


def test_the_event_is_the_managed_service_s_with_what_mqtt_5_carries() -> None:
    message = publish(
        payload=b'{"t":1}',
        client_id="c",
        protocol_version=5,
        user_properties=(("k", "v"), ("KEYS", "a b"), ("TAGS", "t"), ("DELAY", "3"), ("k", "last")),
        message_expiry_interval=60,
        content_type="json",
    )
    event = json.loads(sent(with_sink(Body=form("ORIGINAL")), message).body)
    assert event == {
        "specversion": "1.0",
        "id": "m-1",
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "subject": "devices/d1/up",
        "time": "2026-01-01T00:00:00.000+00:00",
        "datacontenttype": "application/json",
        "data": {
            "props": {
                "instanceId": "mqtt-local",
                "firstTopic": "devices",
                "secondTopic": "/d1/up",
                "clientId": "c",
                "qos": 1,
                "retain": False,
                "protocolVersion": 5,
                "userProperties": [{"key": name, "value": value} for name, value in message.user_properties],
                "messageExpiryInterval": 60,
                "contentType": "json",
            },
            "systemProperties": {
                "UNIQ_KEY": message_id("m-1", 1767225600000),
                "BORN_TIMESTAMP": "1767225600000",
                "KEYS": "a b",
                "TAGS": "t",
            },
            "userProperties": {"k": "last"},
            "body": {"t": 1},
        },
    }


def test_extensions_of_a_cloud_event_are_kept() -> None:
    received = {
        "specversion": "1.0",
        "id": "x",
        "data": {},
        "traceparent": "00-1",
        "mqbridgerule": "r",
        "mqbridgeattempt": 2,
    }
    (planned,) = outflow.plan([record(HOT, event=received)], with_sink(Body=form("ORIGINAL")))
    assert isinstance(planned.outcome, Send)
    event = json.loads(planned.outcome.messages[0].body)  # type: ignore[union-attr]  # a RocketMQ message
    assert event["traceparent"] == "00-1"
    assert not {"mqbridgerule", "mqbridgeattempt"} & set(event)


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("JSON", b"{", "body_not_json"),
        ("JSON", b"\xff", "body_not_json"),
        ("JSON", b"", "body_not_json"),
        ("Text", b"\xff", "body_not_text"),
    ],
)
def test_a_payload_of_another_format_is_rejected_never_a_silent_string(kind: str, payload: bytes, reason: str) -> None:
    outcome = rejected(tasks(streaming(BodyDataType=kind)), publish(payload=payload))
    assert (outcome.reason, outcome.stage) == (reason, "decoding")
    assert "BodyDataType" in outcome.detail


@pytest.mark.parametrize("kind", ["JSON", "json", "Text", "TEXT", "Binary", "binary"])
@quick
@given(payload=st.binary(max_size=20))
def test_data_body_arrives_as_the_very_bytes(kind: str, payload: bytes) -> None:
    if kind.upper() == "JSON":
        payload = b' {"a" : 1.50, "b":' + json.dumps(payload.hex()).encode() + b"} "
    elif kind.upper() == "TEXT":
        payload = payload.decode("latin-1").encode()
    assert sent(tasks(streaming(BodyDataType=kind)), publish(payload=payload)).body == payload


def test_binary_is_base64_to_patterns_and_paths() -> None:
    payload = bytes(range(256))
    encoded = base64.b64encode(payload).decode()
    rules = tasks(
        streaming(
            BodyDataType="Binary",
            FilterPattern={"data": {"body": [encoded]}},
            sink={"Keys": form("JSONPATH", "$.data.body")},
        )
    )
    message = sent(rules, publish(payload=payload))
    assert (message.body, message.keys) == (payload, encoded)


# The sink.


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (form("JSONPATH", "$.data.body.temperature"), b"93.5"),
        (form("JSONPATH", "$.data.body.at"), b'{"site":"s1"}'),
        (form("JSONPATH", "$.data.body.at.site"), b"s1"),
        (form("CONSTANT", "fixed"), b"fixed"),
        (form("CONSTANT", ""), b""),
        (form("TEMPLATE", '{"t": "$.data.body.temperature"}', "at ${t} °C"), "at 93.5 °C".encode()),
    ],
)
def test_the_body_has_four_forms(body: dict[str, Any], expected: bytes) -> None:
    assert sent(with_sink(Body=body)).body == expected


def test_properties_keys_tags_and_sharding_key_come_from_the_event() -> None:
    message = sent(
        with_sink(
            Properties=form(
                "TEMPLATE",
                '{"o": "$.data.body.at"}',
                '{"EB_SYS_EMBED_OBJECT": "${o}", "n": 1, "no": null, "deep": {"a": [1]}}',
            ),
            Keys=form("JSONPATH", "$.data.body['temperature','at']"),
            Tags=form("TEMPLATE", '{"s": "$.data.body.at.site"}', "hot-${s}"),
            ShardingKey=form("JSONPATH", "$.data.body.at.site"),
        )
    )
    assert message.properties == {"site": "s1", "n": "1", "deep": '{"a":[1]}'}
    assert (message.keys, message.tags, message.sharding_key) == ('93.5 {"site":"s1"}', "hot-s1", "s1")


def test_the_documented_default_paths_mean_something() -> None:
    rules = with_sink(
        Properties=form("JSONPATH", "$.data.userProperties"),
        Keys=form("JSONPATH", "$.data.systemProperties.KEYS"),
        Tags=form("JSONPATH", "$.data.systemProperties.TAGS"),
    )
    message = sent(rules, publish(payload=b"1", user_properties=(("k", "v"), ("KEYS", "o-1"), ("TAGS", "t"))))
    assert (message.properties, message.keys, message.tags) == ({"k": "v"}, "o-1", "t")
    bare = sent(rules, publish(payload=b"1"))
    assert (bare.properties, bare.keys, bare.tags) == ({}, "", ""), "what has no result is left out"


def test_a_topic_may_come_from_the_event() -> None:
    assert sent(with_sink(Topic=form("JSONPATH", "$.data.body.at.site"))).topic == "s1"
    assert sent(with_sink(Topic=form("TEMPLATE", '{"s": "$.data.body.at.site"}', "t-${s}"))).topic == "t-s1"


@pytest.mark.parametrize(
    ("sink", "reason"),
    [
        ({"Topic": form("JSONPATH", "$.data.body.none")}, "illegal_topic"),
        ({"Topic": form("TEMPLATE", '{"t": "$.data.body.at"}', "${t}")}, "illegal_topic"),
        ({"Topic": form("JSONPATH", "$.data.props.secondTopic")}, "illegal_topic"),
        ({"Topic": form("TEMPLATE", '{"s": "$.data.body.at.site"}', "%RETRY%${s}")}, "illegal_topic"),
        ({"Body": form("JSONPATH", "$.data.body.none")}, "body_missing"),
        ({"Properties": form("JSONPATH", "$.data.body.temperature")}, "properties_not_object"),
        ({"Properties": form("TEMPLATE", "{}", "[1]")}, "properties_not_object"),
        ({"Properties": form("TEMPLATE", "{}", "{")}, "properties_not_object"),
        ({"Properties": form("TEMPLATE", "{}", '{"DELAY": "3"}')}, "illegal_property"),
        ({"Properties": form("TEMPLATE", "{}", '{"a": "\\u0001b"}')}, "illegal_property"),
        ({"Properties": form("TEMPLATE", "{}", '{"UNIQ_KEY": "short"}')}, "illegal_property"),
        (
            {"Properties": form("TEMPLATE", '{"o": "$.data.body.temperature"}', '{"EB_SYS_EMBED_OBJECT": ${o}}')},
            "template_failed",
        ),
        ({"Tags": form("TEMPLATE", "{}", "a||b")}, "illegal_tags"),
        ({"Tags": form("TEMPLATE", "{}", " a")}, "illegal_tags"),
        ({"Keys": form("TEMPLATE", "{}", "a\x02b")}, "illegal_keys"),
    ],
)
def test_what_no_broker_could_store_is_rejected_with_its_reason(sink: dict[str, Any], reason: str) -> None:
    outcome = rejected(with_sink(**sink))
    assert (outcome.reason, outcome.stage) == (reason, "mapping")


def test_a_body_over_4_mib_is_rejected() -> None:
    assert rejected(tasks(streaming(BodyDataType="Text")), publish(payload=b"x" * (4 << 20))).reason == "body_too_large"


def test_a_topic_that_the_instance_does_not_list_is_rejected() -> None:
    instances = {"Mqtt": [dict(MQTT_INSTANCE)], "RocketMQ": [{**ROCKETMQ_INSTANCE, "Topics": ["alarms"]}]}
    rules = load(
        {
            "Instances": instances,
            "EventStreamings": [streaming(sink={"Topic": form("JSONPATH", "$.data.body.at.site")})],
        }
    )
    outcome = rejected(rules)
    assert outcome.reason == "illegal_topic"
    assert "lists" in outcome.detail


# Message ids.


def test_a_sink_may_set_the_message_id() -> None:
    own = "0A0B0C0D00002A139A5B00D5E1F30001"
    message = sent(with_sink(Properties=form("TEMPLATE", "{}", json.dumps({"UNIQ_KEY": own, "k": "v"}))))
    assert (message.message_id, message.properties) == (own, {"k": "v"})


def test_parts_and_copies_differ_though_the_sink_sets_the_id() -> None:
    """Whoever knows a message by its id must not take a part for the whole."""
    own = "0A0B0C0D00002A139A5B00D5E1F30001"
    sink = {"Properties": form("TEMPLATE", "{}", json.dumps({"UNIQ_KEY": own}))}
    route = {"Route": {"Path": "$.data.body", "rules": [{"regex": "b", "targetTopics": ["x", "y"]}]}}
    rules = tasks(streaming(BodyDataType="Text", sink=sink, Transforms=[{"Split": {"Separator": ","}}, route]))
    outcome = plan_one(rules, publish(payload=b"a,b")).outcome
    assert isinstance(outcome, Send)
    ids = [message.message_id for message in outcome.messages]
    assert len({*ids, own}) == 4
    assert outcome == plan_one(rules, publish(payload=b"a,b")).outcome, "the same on a retry"
    spoiled = {"Properties": form("TEMPLATE", "{}", '{"UNIQ_KEY": "short"}')}
    assert rejected(tasks(streaming(BodyDataType="Text", sink=spoiled, Transforms=[route])), publish(payload=b"b"))


@pytest.mark.parametrize("source_id", ["m-1", "0A0B0C0D00002A139A5B00D5E1F30001"])
def test_ids_are_the_same_on_a_retry_and_differ_by_task_and_topic(source_id: str) -> None:
    message = publish(payload=b"1", message_id=source_id)
    again = publish(
        payload=b"1", message_id=source_id, time_ms=message.time_ms + (5_000 if len(source_id) == 32 else 0)
    )
    ids = [
        sent(tasks(streaming(name, sink={"Topic": form("CONSTANT", topic)})), message).message_id
        for name, topic in (("one", "a"), ("one", "b"), ("two", "a"))
    ]
    assert len({*ids, source_id}) == 4
    assert sent(tasks(streaming("one", sink={"Topic": form("CONSTANT", "a")})), again).message_id == ids[0]


# Dry run.


def test_a_traced_plan_tells_every_stage() -> None:
    rules = tasks(streaming(FilterPattern={"data": {"body": {"temperature": [{"numeric": [">", 80]}]}}}))
    planned = plan_one(rules, is_traced=True)
    assert [(stage.name, stage.verdict) for stage in planned.stages] == [
        ("decoding", "data.body read as JSON"),
        ("filtering", "matches"),
        ("mapping", "1 message"),
    ]
    cold = plan_one(rules, publish(payload=b'{"temperature": 8}'), is_traced=True)
    assert [(stage.name, stage.verdict) for stage in cold.stages][-1] == ("filtering", "does not match")
    assert plan_one(rules).stages == (), "which costs nothing where nobody asks"


# The API's own request body.


def test_the_body_of_create_event_streaming_is_accepted_as_it_stands() -> None:
    body = {
        "EventStreamingName": "mqtt-out",
        "Description": "",
        "FilterPattern": '{"data":{"props":{"firstTopic":[{"prefix":"dev"}]}}}',
        "Source": {
            "SourceMQTTParameters": {
                "RegionId": "cn-hangzhou",
                "InstanceId": "mqtt-local",
                "Topic": "devices",
                "BodyDataType": "JSON",
            }
        },
        "Sink": {
            "SinkRocketMQParameters": {
                "InstanceId": form("CONSTANT", "rmq-local"),
                "Topic": form("CONSTANT", "t1"),
                "Body": form("JSONPATH", "$.data.body"),
                "Properties": form("JSONPATH", "$.data.props"),
                "InstanceType": form("CONSTANT", "2"),
            }
        },
        "RunOptions": {
            "MaximumTasks": 1,
            "ErrorsTolerance": "ALL",
            "RetryStrategy": {
                "PushRetryStrategy": "BACKOFF_RETRY",
                "MaximumEventAgeInSeconds": 0,
                "MaximumRetryAttempts": 0,
            },
            "BatchWindow": {"CountBasedWindow": 100, "TimeBasedWindow": 3},
            "BusinessOption": {"BusinessMode": "EventNumMode"},
        },
        "Tags": [{"Key": "team", "Value": "a"}],
    }
    rules = load(json.dumps(document(EventStreamings=[body])))
    message = sent(rules)
    assert (message.topic, message.properties["firstTopic"], message.properties["retain"]) == ("t1", "devices", "false")
    assert {notice.path[-1] for notice in rules.notices} >= {
        "RegionId",
        "InstanceType",
        "MaximumTasks",
        "BusinessOption",
        "Tags",
    }


@pytest.mark.parametrize("pattern", [None, "", "{}", {}])
def test_an_empty_pattern_forwards_everything(pattern: Any) -> None:
    sent(tasks(streaming(**({} if pattern is None else {"FilterPattern": pattern}))))


def test_compiled_tasks_name_their_instances() -> None:
    (task,) = tasks(streaming()).tasks
    assert task.sink.instance_id == "rmq-local"
    assert task.streaming.source.mqtt.instance_id == "mqtt-local"
