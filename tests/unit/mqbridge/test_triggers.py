"""Triggers: every readable record is read or fails alone, and what is no batch raises with what was expected."""

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mqbridge import triggers
from mqbridge.flows import inbound, outbound
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Delivered, Drop, Failed, Reject, Settled
from mqbridge.triggers import UnreadableEvent
from tests.unit.mqbridge.support import EVENTS, any_text, both_ways, mqtt_event, quick, rocketmq_event, sqs_event

SQS_SENT_MS = 1_767_225_600_123
IOT = {"payload_b64": base64.b64encode(b"\x00\xff").decode(), "topic": "devices/d1/up"}
COMMAND = {"topic": "commands", "userProperties": {"mqttSecondTopic": "/d1/set"}, "body": "on"}


def only(event: Any) -> Record:
    (record,) = triggers.read(event).records
    return record


def mqtt(event: Any) -> MqttMessage:
    message = only(event).message
    assert isinstance(message, MqttMessage), message
    return message


def rocketmq(event: Any) -> RocketMQMessage:
    message = only(event).message
    assert isinstance(message, RocketMQMessage), message
    return message


# SQS: the four shapes of a body.


def test_sqs_reads_the_columns_of_an_aws_iot_rule() -> None:
    columns = {
        **IOT,
        "client_id": "GID_a@@@d1",
        "ts_ms": 1_767_225_600_000,
        "trace_id": "7f4f4f0a",
        "content_type": "UTF-8",
        "origin": ["mark"],
        "qos": 2,
        "user_properties": [{"key": "k", "value": "v"}],
    }
    assert mqtt(sqs_event(columns)) == MqttMessage(
        instance_id="",
        topic="devices/d1/up",
        payload=b"\x00\xff",
        qos=2,
        message_id="7f4f4f0a",
        time_ms=1_767_225_600_000,
        client_id="GID_a@@@d1",
        user_properties=(("k", "v"), ("mqbridge-origin", "mark")),
        content_type="UTF-8",
    )


def test_all_columns_but_payload_and_topic_are_optional() -> None:
    assert mqtt(sqs_event(IOT)) == MqttMessage(
        instance_id="", topic="devices/d1/up", payload=b"\x00\xff", qos=1, message_id="id-0", time_ms=SQS_SENT_MS
    )


@pytest.mark.parametrize(
    ("column", "absent"),
    [("client_id", "client_id"), ("ts_ms", "time_ms"), ("trace_id", "message_id"), ("content_type", "content_type"),
     ("origin", "user_properties"), ("qos", "qos"), ("user_properties", "user_properties")],
)  # fmt: skip
def test_a_column_that_is_null_is_a_column_that_is_absent(column: str, absent: str) -> None:
    """AWS IoT's functions give null where the publisher did not set the property."""
    assert getattr(mqtt(sqs_event({**IOT, column: None})), absent) == getattr(mqtt(sqs_event(IOT)), absent)


def test_aws_iot_s_n_a_is_no_client_id() -> None:
    assert mqtt(sqs_event({**IOT, "client_id": "n/a"})).client_id == ""


@pytest.mark.parametrize("origin", ["mark", ["mark"]])
def test_the_origin_column_is_the_loop_mark(origin: Any) -> None:
    assert mqtt(sqs_event({**IOT, "origin": origin})).user_properties == (("mqbridge-origin", "mark"),)


def test_sqs_reads_a_command_as_a_back_end_writes_it() -> None:
    assert rocketmq(sqs_event(COMMAND)) == RocketMQMessage(
        instance_id="",
        topic="commands",
        body=b"on",
        message_id="id-0",
        properties={"mqttSecondTopic": "/d1/set"},
        time_ms=SQS_SENT_MS,
    )


def test_sqs_reads_a_body_in_base64() -> None:
    body = base64.b64encode(json.dumps(IOT).encode()).decode()
    assert mqtt(sqs_event(body)) == mqtt(sqs_event(IOT))


def test_sqs_reads_a_cloud_event() -> None:
    message = rocketmq(sqs_event(rocketmq_event("e-7", time="2026-01-01T00:00:00Z")))
    assert (message.message_id, message.time_ms, message.instance_id) == ("e-7", 1_767_225_600_000, "rmq-local")


@pytest.mark.parametrize(("count", "attempt"), [("1", 1), ("17", 17), (None, 1), ("many", 1), ({}, 1)])
def test_the_receive_count_is_the_attempt(count: Any, attempt: int) -> None:
    assert only(sqs_event(IOT, attributes={"ApproximateReceiveCount": count})).attempt == attempt


@pytest.mark.parametrize(
    "attributes",
    [None, {}, [], "x", 5, {"SentTimestamp": "soon"}, {"SentTimestamp": float("inf")}, {"SentTimestamp": float("nan")}],
)
def test_attributes_that_are_not_sqs_s_do_no_harm(attributes: Any) -> None:
    assert (only(sqs_event(COMMAND, attributes=attributes)).attempt, rocketmq(sqs_event(COMMAND)).body) == (1, b"on")


@pytest.mark.parametrize(
    ("received", "first_ms"), [("1767225600130", 1_767_225_600_130), (None, 0), ("soon", 0), (5, 0)]
)
def test_sqs_tells_when_a_message_was_received_first(received: Any, first_ms: int) -> None:
    event = sqs_event(IOT, attributes={"ApproximateFirstReceiveTimestamp": received})
    assert only(event).first_attempt_ms == first_ms


def test_a_record_keeps_the_event_as_received_and_the_message_id() -> None:
    event = sqs_event(IOT, "not readable")
    records = triggers.read(event).records
    assert [each.id for each in records] == ["id-0", "id-1"]
    assert [each.event for each in records] == event["Records"]


# CloudEvents.


def test_cloud_events_keep_all_that_the_runner_says() -> None:
    first, second = triggers.read(json.loads((EVENTS / "outbound-cloudevents.json").read_text())).records
    assert first.message == MqttMessage(
        instance_id="mqtt-local",
        topic="devices/d1/up",
        payload=b"\x00\x01\x02\xff",
        qos=1,
        message_id="evt-1",
        time_ms=1_767_225_600_000,
        client_id="GID_a@@@d1",
        protocol_version=5,
        user_properties=(("k", "v"),),
        message_expiry_interval=60,
        content_type="UTF-8",
    )
    assert second.message == MqttMessage(
        instance_id="", topic="devices", payload=b'{"t": 21.5}', qos=1, message_id="evt-2", time_ms=1_767_225_601_000
    )


def test_cloud_events_keep_a_rocketmq_message_s_properties() -> None:
    assert rocketmq((EVENTS / "inbound-cloudevents.json").read_bytes()) == RocketMQMessage(
        instance_id="rmq-local",
        topic="commands",
        body=b"on",
        message_id="0A0B0C0D00002A139A5B00D5E1F30001",
        tags="a",
        keys="k",
        properties={"mqttSecondTopic": "/d1/set", "qoslevel": "1"},
        time_ms=1_767_225_600_000,
    )


@pytest.mark.parametrize(
    "wrap", [json.dumps, lambda event: json.dumps(event).encode(), lambda event: bytearray(json.dumps(event).encode())]
)
def test_text_and_bytes_are_json(wrap: Any) -> None:
    assert triggers.read(wrap([mqtt_event()])).records == triggers.read([mqtt_event()]).records


def test_without_props_the_subject_is_the_topic() -> None:
    assert mqtt([{**mqtt_event(), "subject": "devices/d9/up", "data": {"body": "on"}}]).topic == "devices/d9/up"


@pytest.mark.parametrize(
    ("attempt", "counted"), [(1, 1), (5, 5), (None, 1), ("3", 1), (2.5, 1), ([], 1), (True, 1), (0, 1), (-3, 1)]
)
def test_mqbridgeattempt_counts_deliveries(attempt: Any, counted: int) -> None:
    assert only([mqtt_event(mqbridgeattempt=attempt)]).attempt == counted


@pytest.mark.parametrize(
    ("first", "first_ms"), [(1_767_225_600_130, 1_767_225_600_130), (None, 0), ("1", 0), (-1, 0), (True, 0)]
)
def test_mqbridgefirstattempt_is_when_the_first_delivery_was(first: Any, first_ms: int) -> None:
    assert only([mqtt_event(mqbridgefirstattempt=first)]).first_attempt_ms == first_ms


@pytest.mark.parametrize("rule", ["telemetry", None])
def test_mqbridgerule_is_the_rule_of_the_whole_batch(rule: str | None) -> None:
    more = {} if rule is None else {"mqbridgerule": rule}
    assert triggers.read([mqtt_event("1", **more), mqtt_event("2", **more)]).only_rule == rule


@pytest.mark.parametrize(
    ("time", "time_ms"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T00:00:00.123Z", 1_767_225_600_123),
        ("2026-01-01T08:00:00+08:00", 1_767_225_600_000),
        ("2026-01-01T00:00:00", 1_767_225_600_000),
        (None, 0),
    ],
)
def test_time_is_rfc_3339_and_utc_where_it_says_nothing(time: str | None, time_ms: int) -> None:
    assert mqtt([mqtt_event(time=time)]).time_ms == time_ms


@quick
@given(time_ms=st.integers(0, 4_102_444_800_000))
@example(time_ms=32_449)  # 32.449 * 1000 is 32448.999... as a float
def test_time_keeps_every_millisecond(time_ms: int) -> None:
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")
    assert mqtt([mqtt_event(time=text)]).time_ms == time_ms


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ("on", b"on"),
        ("", b""),
        ("ä", "ä".encode()),
        ({"t": 21.5}, b'{"t":21.5}'),
        ([1], b"[1]"),
        (True, b"true"),
        (None, b"null"),
        (0, b"0"),
    ],
)
def test_a_body_that_the_platform_has_parsed_is_json_again(body: Any, payload: bytes) -> None:
    assert rocketmq([{**rocketmq_event(), "data": {"topic": "commands", "body": body}}]).body == payload


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (True, "true"), (1.5, "1.5"), ("x", "x"), ("", "")])
def test_a_property_written_as_a_number_or_boolean_is_its_text(value: Any, text: str) -> None:
    assert rocketmq([rocketmq_event(properties={"qoslevel": value})]).properties == {"qoslevel": text}


# Records that fail alone.

BROKEN: list[tuple[str, Any, str]] = [
    ("the body is not JSON", "hello", "body"),
    ("a JSON number", "5", "expected"),
    ("a JSON array", "[]", "expected"),
    ("JSON null", "null", "expected"),
    ("base64 of what is not JSON", base64.b64encode(b"hello").decode(), "body"),
    ("an empty body", "", "body"),
    ("no known shape", {"a": 1}, "payload_b64"),
    ("payload not Base64", {"payload_b64": "not base64!", "topic": "t"}, "payload_b64"),
    ("payload not text", {"payload_b64": 5, "topic": "t"}, "payload_b64"),
    ("columns without topic", {"payload_b64": ""}, "topic"),
    ("topic not text", {"payload_b64": "", "topic": 5}, "topic"),
    ("client id not text", {**IOT, "client_id": 5}, "client_id"),
    ("qos too large", {**IOT, "qos": 3}, "qos"),
    ("qos a boolean", {**IOT, "qos": True}, "qos"),
    ("ts_ms negative", {**IOT, "ts_ms": -1}, "ts_ms"),
    ("user properties as a mapping", {**IOT, "user_properties": {"k": "v"}}, "user_properties"),
    ("user property without value", {**IOT, "user_properties": [{"key": "k"}]}, "user_properties"),
    ("no body", {"topic": "commands"}, "body"),
    ("an empty topic", {"topic": "", "body": ""}, "topic"),
    ("a body that is not Base64", {"topic": "t", "body": "?", "bodyEncoding": "base64"}, "body"),
    ("an unknown encoding", {"topic": "t", "body": "", "bodyEncoding": "latin-1"}, "bodyEncoding"),
    ("a lone surrogate in the body", {"topic": "t", "body": "\ud800"}, "body"),
    ("a property that is an object", {"topic": "t", "body": "", "userProperties": {"k": {}}}, "userProperties"),
    ("a property that is null", {"topic": "t", "body": "", "userProperties": {"k": None}}, "userProperties"),
    ("properties that are text", {"topic": "t", "body": "", "userProperties": "k=v"}, "userProperties"),
    ("instance id not text", {"topic": "t", "body": "", "instanceId": 5}, "instanceId"),
    ("tags not text", {"topic": "t", "body": "", "systemProperties": {"TAGS": []}}, "TAGS"),
    ("props without first topic", {"props": {}, "body": ""}, "firstTopic"),
    ("props not an object", {"props": "x", "body": ""}, "props"),
    ("expiry too large", {"props": {"firstTopic": "t", "messageExpiryInterval": 1 << 32}, "body": ""}, "messageExpiryInterval"),
    ("a CloudEvent without data", {"specversion": "1.0"}, "data"),
    ("a CloudEvent with text as data", {"specversion": "1.0", "data": "x"}, "data"),
    ("a time that is none", {"specversion": "1.0", "time": "noon", "data": COMMAND}, "time"),
    ("a time that is a number", {"specversion": "1.0", "time": 5, "data": COMMAND}, "time"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_malformed_record_fails_alone_and_names_the_field(body: Any, field: str) -> None:
    good, bad, also_good = [each.message for each in triggers.read(sqs_event(COMMAND, body, IOT)).records]
    assert isinstance(good, RocketMQMessage)
    assert isinstance(also_good, MqttMessage)
    assert isinstance(bad, Reject)
    assert bad.reason == "unreadable_record"
    assert field in bad.detail
    assert "expected" in bad.detail
    assert len(bad.detail) < 500, "a detail is for people"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({**mqtt_event(), "data": None}, "data"),
        ({**mqtt_event(), "data": {"body": ""}}, "props"),
        ({**mqtt_event(), "time": "noon"}, "time"),
        ({**mqtt_event(), "subject": 5}, "subject"),
        ({**mqtt_event(), "data": {"props": {"firstTopic": "d", "qos": "two"}, "body": ""}}, "qos"),
    ],
)
def test_a_malformed_cloud_event_fails_alone_and_names_the_field(event: dict[str, Any], field: str) -> None:
    good, bad = triggers.read([mqtt_event("good"), event]).records
    assert isinstance(good.message, MqttMessage)
    assert isinstance(bad.message, Reject)
    assert field in bad.message.detail


def test_a_body_of_any_depth_is_read_or_fails_alone() -> None:
    """Near the interpreter's limit what could be parsed may not be written again: no reason to lose the whole batch."""
    for depth in [*range(900, 1000), 100_000]:
        body = '{"topic": "commands", "body": ' + "[" * depth + "]" * depth + "}"
        good, deep = triggers.read(sqs_event(COMMAND, body)).records
        assert isinstance(good.message, RocketMQMessage)
        assert isinstance(deep.message, RocketMQMessage | Reject)


# What is no batch.

NO_BATCH: list[tuple[str, Any]] = [
    ("an object", {"a": 1}),
    ("an empty object", {}),
    ("an S3 notification", {"Records": [{"eventSource": "aws:s3", "messageId": "1", "body": "{}"}]}),
    ("records without a source", {"Records": [{"messageId": "1", "body": "{}"}]}),
    ("records of both kinds", {"Records": [*sqs_event(COMMAND)["Records"], {"eventSource": "aws:s3"}]}),
    ("records that are text", {"Records": ["x"]}),
    ("records that are no list", {"Records": {}}),
    ("a list of numbers", [1, 2]),
    ("a list of lists", [[]]),
    ("CloudEvents and something else", [mqtt_event(), {"a": 1}]),
    ("text that is not JSON", "hello"),
    ("an empty text", ""),
    ("bytes that are not JSON", b"hello"),
    ("bytes that are not UTF-8", b"\xff\xfe\xfd"),
    ("no bytes", b""),
    ("JSON text of a number", "5"),
    ("JSON of 100,000 brackets", "[" * 100_000),
    ("a number", 5),
    ("a boolean", True),
    ("nothing", None),
]


@pytest.mark.parametrize("event", [row[1] for row in NO_BATCH], ids=[row[0] for row in NO_BATCH])
def test_what_is_no_batch_raises(event: Any) -> None:
    with pytest.raises(UnreadableEvent):
        triggers.read(event)


@pytest.mark.parametrize(
    "event", [row[1] for row in NO_BATCH if "JSON" not in row[0] and "UTF-8" not in row[0] and row[1] not in ("", b"")]
)
def test_what_is_no_batch_is_told_what_was_expected(event: Any) -> None:
    with pytest.raises(UnreadableEvent) as raised:
        triggers.read(event)
    text = str(raised.value)
    assert "aws:sqs" in text
    assert "specversion" in text
    assert "got" in text
    assert len(text) < 1_000


@pytest.mark.parametrize("text", ["hello", b"hello", b"\xff"])
def test_what_is_not_json_is_told_so(text: Any) -> None:
    with pytest.raises(UnreadableEvent, match="not JSON"):
        triggers.read(text)


def test_the_event_s_content_is_not_in_the_error() -> None:
    with pytest.raises(UnreadableEvent) as raised:
        triggers.read({"password": "hunter2"})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("message_id", [None, "", 5, {}])
def test_an_sqs_record_without_message_id_could_not_be_reported_so_the_batch_raises(message_id: Any) -> None:
    with pytest.raises(UnreadableEvent, match="messageId: expected"):
        triggers.read(sqs_event(COMMAND, messageId=message_id))


@pytest.mark.parametrize("id", [None, "", 5])
def test_a_cloud_event_without_id_could_not_be_reported_so_the_batch_raises(id: Any) -> None:
    with pytest.raises(UnreadableEvent, match="id: expected"):
        triggers.read([mqtt_event("1"), {**mqtt_event(), "id": id}])


def test_a_batch_for_several_rules_raises() -> None:
    with pytest.raises(UnreadableEvent, match="mqbridgerule: expected one rule"):
        triggers.read([mqtt_event("1", mqbridgerule="a"), mqtt_event("2", mqbridgerule="b")])
    with pytest.raises(UnreadableEvent, match="mqbridgerule: expected one rule"):
        triggers.read([mqtt_event("1", mqbridgerule="a"), mqtt_event("2")])


@pytest.mark.parametrize("rule", [5, ["a"], {"a": 1}, True])
def test_a_rule_that_is_not_a_name_raises(rule: Any) -> None:
    """Taken as a name it would match no rule, and the records would be acknowledged as wanted by none."""
    with pytest.raises(UnreadableEvent, match="mqbridgerule"):
        triggers.read([mqtt_event("1", mqbridgerule=rule)])


# Whatever comes.

KEYS = (
    "Records eventSource messageId body attributes SentTimestamp ApproximateReceiveCount specversion id time subject data props "
    "firstTopic secondTopic clientId qos topic bodyEncoding instanceId systemProperties userProperties UNIQ_KEY TAGS KEYS key value "
    "payload_b64 client_id ts_ms trace_id user_properties origin content_type mqttSecondTopic mqtt5UserProperty "
    "messageExpiryInterval".split()
)
VALUES = st.sampled_from(
    [
        "aws:sqs",
        "1.0",
        "m-1",
        "devices/d1",
        "devices",
        "commands",
        "/d1",
        "base64",
        "utf-8",
        "AAEC",
        "2026-01-01T00:00:00Z",
        "1",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text | VALUES
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | any_text, inner, max_size=4),
    max_leaves=12,
)
near_messages = st.fixed_dictionaries(
    {},
    optional={
        "specversion": scalars,
        "id": scalars,
        "time": scalars,
        "subject": scalars,
        "data": json_values,
        "topic": scalars,
        "body": json_values,
        "bodyEncoding": scalars,
        "payload_b64": scalars,
        "ts_ms": st.integers() | scalars,
        "qos": scalars,
        "client_id": scalars,
        "props": json_values,
        "userProperties": json_values,
        "systemProperties": json_values,
        "user_properties": json_values,
        "origin": json_values,
    },
)
attributes = st.none() | st.fixed_dictionaries(
    {}, optional={"SentTimestamp": scalars, "ApproximateReceiveCount": scalars}
)


@quick
@given(event=json_values)
@example(event={"Records": [{"eventSource": "aws:sqs", "messageId": "1", "attributes": {"SentTimestamp": 1e400}}]})
def test_any_json_value_is_a_batch_or_an_unreadable_event(event: Any) -> None:
    texts = (json.dumps(event), json.dumps(event).encode())
    for form in texts if isinstance(event, str) else (event, *texts):  # text itself is JSON, of something else
        try:
            batch = triggers.read(form)
        except UnreadableEvent:
            continue
        else:
            assert len(batch.records) == len(event if isinstance(event, list) else event.get("Records", ["one"]))


@quick
@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_batch_or_an_unreadable_event(data: bytes) -> None:
    with contextlib.suppress(UnreadableEvent):
        assert len(triggers.read(data).records) <= 1  # no more can come of 40 bytes


@quick
@given(bodies=st.lists(near_messages | json_values, min_size=1, max_size=4), attributes=attributes)
def test_no_sqs_record_is_lost_whatever_its_body(bodies: list[Any], attributes: Any) -> None:
    batch = triggers.read(sqs_event(*bodies, attributes=attributes))
    assert [each.id for each in batch.records] == [f"id-{at}" for at in range(len(bodies))]
    for flow in (inbound.plan, outbound.plan):
        plan = flow(batch.records, both_ways(), batch.only_rule)
        assert [planned.record.id for planned in plan] == [each.id for each in batch.records]
        assert not [each for each in plan if getattr(each.outcome, "reason", "") == "unexpected_error"]


@quick
@given(
    events=st.lists(
        st.fixed_dictionaries(
            {"specversion": scalars, "id": st.text(min_size=1, max_size=5)},
            optional={
                "data": near_messages | json_values,
                "time": scalars,
                "subject": scalars,
                "mqbridgeattempt": scalars,
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_cloud_event_is_lost_whatever_its_data(events: list[Any]) -> None:
    batch = triggers.read(events)
    assert [each.id for each in batch.records] == [each["id"] for each in events]
    for flow in (inbound.plan, outbound.plan):
        plan = flow(batch.records, both_ways(), batch.only_rule)
        assert [planned.record.id for planned in plan] == [each.id for each in batch.records]
        assert not [each for each in plan if getattr(each.outcome, "reason", "") == "unexpected_error"]


# Answers.


def test_sqs_hears_of_what_failed_and_of_nothing_else() -> None:
    batch = triggers.read(sqs_event(COMMAND, COMMAND, COMMAND, COMMAND))
    outcomes: list[Settled] = [
        Delivered(),
        Failed("broker_busy", "", 12.0),
        Drop("no_rule"),
        Reject("illegal_topic", "why"),
    ]
    answer = batch.trigger.respond(list(zip(batch.records, outcomes, strict=True)))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "id-1"}, {"itemIdentifier": "id-3"}]}


def test_the_runner_hears_when_to_try_again_and_why() -> None:
    batch = triggers.read([mqtt_event(str(at)) for at in range(4)])
    outcomes: list[Settled] = [
        Delivered(),
        Failed("broker_busy", "later", 12.0),
        Drop("no_rule"),
        Reject("illegal_topic", "why"),
    ]
    answer = batch.trigger.respond(list(zip(batch.records, outcomes, strict=True)))
    assert answer == {
        "batchItemFailures": [
            {"itemIdentifier": "1", "reason": "broker_busy", "detail": "later", "retryAfter": 12.0},
            {"itemIdentifier": "3", "reason": "illegal_topic", "detail": "why"},
        ]
    }


@pytest.mark.parametrize("event", [sqs_event(COMMAND), [mqtt_event()]])
def test_all_well_is_an_empty_list(event: Any) -> None:
    batch = triggers.read(event)
    assert batch.trigger.respond([(each, Delivered()) for each in batch.records]) == {"batchItemFailures": []}
