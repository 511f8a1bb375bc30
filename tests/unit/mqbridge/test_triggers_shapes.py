"""Every shape of invocation event, in the form its platform documents: whose it is, what is read from it, and that it is one trigger's."""

import base64
import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge import triggers
from mqbridge.messages import ClientStatus, MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Delivered, Reject
from mqbridge.triggers import HttpRequest, HttpResponse, UnreadableEvent
from mqbridge.triggers.reading import TRIGGERS, trigger, trigger_of
from tests.unit.mqbridge.support import EVENTS, ROOT, any_text, mqtt_event, quick, rocketmq_event, sqs_event

READING = MqttMessage(
    instance_id="",
    topic="devices/d1/up",
    payload=b"\x00\x01\x02\xff",
    message_id="7f4f4f0a-0b3c-4a57-9a3e-0d2b4f4a9c11",
    time_ms=1_767_225_600_000,
    client_id="GID_a@@@d1",
    user_properties=(("k", "v"),),
    content_type="application/cbor",
)
# AWS IoT's SQL selects no user properties but the mark of what this device answers; it is of another topic, so this is no echo.
FROM_AWS_IOT = replace(READING, user_properties=(("mqbridge-origin", "257b6423675a767636f88db34cee83d9"),))

# Fixture, trigger, and of each record its id and its topic (with the sub-topic that a command is for), or "unreadable".
FIXTURES: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("iot", "iot", [("7f4f4f0a-0b3c-4a57-9a3e-0d2b4f4a9c11", "devices/d1/up")]),
    ("sqs-iot", "sqs", [("q-1", "devices/d1/up"), ("q-2", "devices/d2/up")]),
    ("sqs-fifo", "sqs", [("a-1", "commands/a/set"), ("b-1", "commands/b/set"), ("a-2", "commands/a2/set"),
                          ("b-2", "commands/b/set"), ("a-3", "commands/a/set")]),
    ("eventbridge", "eventbridge", [("3f1c7a52-9b1e-4a52-8f0e-5d2f0b6f4c01", "devices/d1/up")]),
    ("pipes-sqs", "pipes", [("p-1", "devices/d1/up"), ("p-2", "unreadable")]),
    ("pipes-transformed", "direct", [("request-1/0", "devices/d1/up"), ("request-1/1", "devices/d2/up")]),
    ("fc-mqtt", "fc_mqtt", [("<digest>/0", "devices/d1/up"), ("<digest>/1", "devices/d2/up")]),
    ("fc-rocketmq", "fc_rocketmq", [("evt-1", "commands/d1/set"), ("evt-2", "commands/d2/set")]),
    ("fc-rocketmq-single", "fc_rocketmq", [("evt-1", "commands/d1/set")]),
    ("fc-rocketmq-raw", "fc_rocketmq", [("0A0B0C0D00002A139A5B00D5E1F30001", "commands/d1/set"),
                                        ("0A0B0C0D00002A139A5B00D5E1F30002", "commands/d2/set")]),
    ("fc-rocketmq-self-managed", "fc_rocketmq", [("7F00000100002A139A5B00D5E1F30001", "commands/d1/set")]),
    ("fc-http", "http_emqx", [("0005F8F84FFFAFB9F44200000D810002", "devices/d1/up")]),
    ("emqx", "direct", [("0005F8F84FFFAFB9F44200000D810002", "devices/d1/up")]),
    ("function-url-emqx", "http_emqx", [("0005F8F84FFFAFB9F44200000D810002", "devices/d1/up")]),
    ("function-url-emqx-rule", "http_emqx", [("0005F8F84FFFAFB9F44200000D810003", "devices/d1/up")]),
    ("api-gateway-v1-cloudevents-structured", "http_cloudevents", [("evt-1", "devices/d1/up")]),
    ("api-gateway-v1-cloudevents-binary", "http_cloudevents", [("evt-1", "devices/d 1/up")]),
    ("api-gateway-v2-cloudevents-batch", "http_cloudevents", [("evt-1", "devices/d1/up"), ("evt-2", "devices/d2/up")]),
    ("cloudevent", "direct", [("evt-1", "devices/d1/up")]),
    ("command", "direct", [("request-1/0", "commands/d1/set")]),
]  # fmt: skip


def fixture(name: str) -> Any:
    return json.loads((EVENTS / f"trigger-{name}.json").read_text())


def only(event: Any) -> Record:
    (record,) = triggers.read(event, request_id="request-1").records
    return record


def mqtt(event: Any) -> MqttMessage:
    message = only(event).message
    assert isinstance(message, MqttMessage), message
    return message


def where(record: Record) -> str:
    message = record.message
    if isinstance(message, Reject):
        return "unreadable"
    assert isinstance(message, MqttMessage | RocketMQMessage)
    sub_topic = message.properties.get("mqttSecondTopic", "") if isinstance(message, RocketMQMessage) else ""
    return message.topic + sub_topic


@pytest.mark.parametrize(("name", "trigger", "records"), FIXTURES, ids=[row[0] for row in FIXTURES])
def test_each_documented_shape_is_read(name: str, trigger: str, records: list[tuple[str, str]]) -> None:
    batch = triggers.read(fixture(name), request_id="request-1")
    assert batch.trigger.name == trigger
    found = [(record.id, where(record)) for record in batch.records]
    digest = found[0][0].partition("/")[0]
    assert found == [(id.replace("<digest>", digest), topic) for id, topic in records]


def test_the_page_names_every_trigger() -> None:
    page = (ROOT / "docs" / "triggers.md").read_text()
    own = {trigger(name).name for name in TRIGGERS} - {
        "fc_custom_runtime"
    }  # its batches are of the event in the request
    assert [name for name in sorted(own | {row[1] for row in FIXTURES}) if f"`{name}`" not in page] == []


def test_every_fixture_is_read_here() -> None:
    assert {path.name for path in EVENTS.glob("trigger-*.json")} == {f"trigger-{row[0]}.json" for row in FIXTURES}


@pytest.mark.parametrize("name", [row[0] for row in FIXTURES])
def test_bytes_are_read_as_the_object_is(name: str) -> None:
    """Function Compute hands over bytes; dry-run, text."""
    by_object = [(each.message, each.event) for each in triggers.read(fixture(name)).records]
    for data in (path := EVENTS / f"trigger-{name}.json").read_bytes(), path.read_text():
        records = triggers.read(data).records
        assert [each.event for each in records] == [event for _, event in by_object]
        assert [type(each.message) for each in records] == [type(message) for message, _ in by_object]


@pytest.mark.parametrize("name", [row[0] for row in FIXTURES])
def test_one_trigger_alone_matches_beside_those_that_take_what_is_left(name: str) -> None:
    """The list's order decides between general and special only: a CloudEvent of Function Compute's is one of the runner's form too."""
    matching = [each for each in TRIGGERS if trigger(each).matches(fixture(name))]
    general = {
        "fc_rocketmq": {"cloudevents_batch", "direct"},
        "fc_mqtt": {"direct"},
        "eventbridge": {"direct"},
        "iot": {"direct"},
    }
    assert set(matching[1:]) <= general.get(matching[0], set())


@pytest.mark.parametrize("name", [row[0] for row in FIXTURES])
def test_what_a_dead_letter_holds_can_be_read_again(name: str) -> None:
    """As `mqbridge dlq redrive` does it: a queue message in a batch, a CloudEvent in an array, all else as it stands."""
    for record in triggers.read(fixture(name), request_id="request-1").records:
        event = record.event
        again = {"Records": [event]} if "eventSource" in event else [event] if "specversion" in event else event
        (found,) = triggers.read(json.loads(json.dumps(again)), request_id="request-1").records
        assert where(found) == where(record)
        if isinstance(record.message, MqttMessage):
            assert isinstance(found.message, MqttMessage)
            assert replace(found.message, message_id="") == replace(record.message, message_id="")


# What is read.


def test_the_columns_of_an_aws_iot_rule() -> None:
    assert mqtt(fixture("iot")) == FROM_AWS_IOT
    assert mqtt({"Records": fixture("sqs-iot")["Records"][:1]}) == FROM_AWS_IOT
    assert mqtt(fixture("pipes-sqs")[:1]) == replace(READING, user_properties=())


def test_the_columns_that_a_sender_s_own_rule_supplies() -> None:
    event = fixture("eventbridge")
    assert mqtt(event) == READING
    assert mqtt({**event, "detail": {**event["detail"], "qos": 0}}) == replace(READING, qos=0)


def test_columns_without_trace_id_have_the_invocation_s_id_which_aws_keeps_when_it_tries_again() -> None:
    columns = {key: value for key, value in fixture("iot").items() if key != "trace_id"}
    assert [only(columns).id, mqtt(columns).message_id] == ["request-1/0"] * 2
    once, again = (triggers.read(columns).records[0].id for _ in range(2))
    assert once == again, "without a request id, what the event holds"


def test_an_event_of_a_bus_serves_with_id_and_time() -> None:
    event = {**fixture("eventbridge"), "detail": {"topic": "commands", "body": "on"}}
    message = only(event).message
    assert isinstance(message, RocketMQMessage)
    assert (message.message_id, message.time_ms) == (event["id"], 1_767_225_600_000)


def test_an_event_of_a_bus_may_come_by_way_of_a_queue() -> None:
    assert mqtt(sqs_event(fixture("eventbridge"))) == READING
    event = {**fixture("eventbridge"), "detail": {"topic": "commands", "body": "on"}}
    message = only(sqs_event(event)).message
    assert isinstance(message, RocketMQMessage)
    assert message.message_id == event["id"]


def test_function_compute_s_mqtt_messages_have_ids_that_come_again_with_the_array() -> None:
    event = fixture("fc-mqtt")
    ids = [[each.id for each in triggers.read(event, request_id=request).records] for request in ("one", "another")]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2, "even of two that hold the same"
    assert [each.id for each in triggers.read([*event, event[0]]).records][:2] != ids[0]


def test_function_compute_s_bytes_give_the_same_ids_every_time() -> None:
    data = (EVENTS / "trigger-fc-mqtt.json").read_bytes()
    once, again = ([each.id for each in triggers.read(data).records] for _ in range(2))
    assert once == again


def test_an_emqx_webhook() -> None:
    expected = MqttMessage(
        instance_id="",
        topic="devices/d1/up",
        payload=b'{"t": 21.5}',
        message_id="0005F8F84FFFAFB9F44200000D810002",
        time_ms=1_767_225_600_000,
        client_id="GID_a@@@d1",
        user_properties=(("k", "v"), ("k", "w")),
        message_expiry_interval=60,
        content_type="application/json",
    )
    assert mqtt(fixture("emqx")) == expected
    assert mqtt(fixture("function-url-emqx")) == expected
    assert mqtt(fixture("fc-http")) == expected


def emqx(**changes: Any) -> dict[str, Any]:
    return {**fixture("emqx"), **changes}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"payload": {"t": 21.5}}, "payload", b'{"t":21.5}'),
        ({"payload_b64": "AAEC/w=="}, "payload", b"\x00\x01\x02\xff"),
        ({"clientid": "undefined"}, "client_id", ""),
        ({"clientid": None}, "client_id", ""),
        ({"flags": {"retain": True}}, "retain", True),
        ({"flags": None}, "retain", False),
        ({"qos": 2}, "qos", 2),
        ({"pub_props": {}}, "user_properties", ()),
        ({"pub_props": "undefined"}, "user_properties", ()),
        ({"pub_props": {"User-Property": {"a": "b"}}}, "user_properties", (("a", "b"),)),
        ({"pub_props": {"User-Property": {"a": ["b", "c"]}}}, "user_properties", (("a", "b"), ("a", "c"))),
        ({"publish_received_at": None}, "time_ms", 1_767_225_600_001),
    ],
)
def test_columns_of_emqx(changes: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(mqtt(emqx(**changes)), field) == value


def test_an_emqx_rule_may_select_few_columns() -> None:
    assert mqtt({"topic": "devices/d1", "payload": "on"}).payload == b"on"
    assert mqtt({"topic": "devices/d1", "payload_b64": "b24=", "clientid": "d1"}).client_id == "d1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event": "message.dropped"}, "event: expected message.publish"),
        ({"topic": ""}, "topic"),
        ({"topic": 5}, "topic"),
        ({"qos": 3}, "qos"),
        ({"payload_b64": "?"}, "payload_b64"),
        ({"payload": "\ud800"}, "payload"),
        ({"pub_props": []}, "pub_props"),
        ({"pub_props": {"User-Property": {"a": 1}}}, "User-Property"),
        ({"pub_props": {"User-Property-Pairs": [{"key": "a"}]}}, "User-Property-Pairs"),
    ],
)
def test_a_malformed_event_of_emqx_is_a_reject_that_names_the_field(changes: dict[str, Any], field: str) -> None:
    message = only(emqx(**changes)).message
    assert isinstance(message, Reject)
    assert field in message.detail


def test_an_emqx_event_without_payload_is_a_reject() -> None:
    event = emqx()
    del event["payload"]
    message = only(event).message
    assert isinstance(message, Reject)
    assert "payload" in message.detail


# CloudEvents of other types: subject and data are topic and payload.


def foreign(**more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/s",
        "type": "com.example.reading",
        "subject": "devices/d1",
        **more,
    }


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ({"data": {"t": 21.5}}, b'{"t":21.5}'),
        ({"data": "on"}, b"on"),
        ({"data": 5}, b"5"),
        ({"data_base64": "AAEC/w=="}, b"\x00\x01\x02\xff"),
        ({"data_base64": base64.b64encode(b'{"t": 21.50}').decode()}, b'{"t": 21.50}'),
    ],
)
def test_a_cloud_event_of_another_type_is_a_publish(data: dict[str, Any], payload: bytes) -> None:
    message = mqtt(foreign(datacontenttype="x/y", **data))
    assert (message.topic, message.payload, message.message_id, message.content_type) == (
        "devices/d1",
        payload,
        "/s e-1",
        "x/y",
    )


def test_a_cloud_event_of_another_type_may_carry_a_message_in_any_shape() -> None:
    assert mqtt(foreign(data=fixture("iot"))) == FROM_AWS_IOT
    assert mqtt(foreign(data={"props": {"firstTopic": "a"}, "body": "on"})).payload == b"on"
    encoded = base64.b64encode(json.dumps({"topic": "commands", "body": "on"}).encode()).decode()
    assert isinstance(only(foreign(data_base64=encoded)).message, RocketMQMessage)


def test_a_device_s_own_json_may_have_a_body_of_its_own() -> None:
    assert mqtt(foreign(data={"body": "on"})).payload == b'{"body":"on"}'
    own = {"body": "x", "temperature": 21.5}
    assert json.loads(mqtt(foreign(data=own)).payload) == own
    request = HttpRequest(
        headers={
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-source": "me",
            "ce-type": "reading",
            "ce-subject": "devices/d1",
        },
        body=b'{"body": "x",  "temperature": 21.50}',
    )
    (record,) = triggers.read(request).records
    assert isinstance(record.message, MqttMessage)
    assert record.message.payload == request.body, "byte for byte"


STATUS_LIKE: list[dict[str, Any]] = [
    {"clientId": "d1", "eventType": "connected", "timestamp": 1, "sessionIdentifier": "s"},
    {"clientId": "d1", "eventType": "connect", "time": 1, "channelId": "c", "clientIp": ""},
    {"event": "client.connected", "clientid": "d1", "connected_at": 1},
    {"clientId": "d1", "notices": []},
]


@pytest.mark.parametrize(
    "own",
    [
        *STATUS_LIKE,
        {"topic": "left", "payload": "right"},
        {"topic": "left", "payload_b64": "AAE=", "more": 1},
        {"payload_b64": "AAE="},
        {"specversion": "1.0", "data": {}},
        {"detail-type": "x", "detail": {}},
    ],
)
def test_a_device_s_own_json_may_look_like_anything(own: dict[str, Any]) -> None:
    assert json.loads(mqtt(foreign(data=own)).payload) == own
    raw = json.dumps(own, indent=3).encode()
    assert mqtt(foreign(data_base64=base64.b64encode(raw).decode())).payload == raw, "byte for byte"
    assert mqtt(binary(raw, subject="devices/d1")).payload == raw, "byte for byte"


def test_ids_of_cloud_events_are_of_their_source() -> None:
    """By the specification: source and id together are unique. What is a message id already, and our own, stay as they are."""
    one, other = (mqtt(foreign(data=1, id="1", source=source)).message_id for source in ("/a", "/b"))
    assert one != other
    unique = "0A0B0C0D00002A139A5B00D5E1F30001"
    assert mqtt(foreign(data=1, id=unique)).message_id == unique
    assert mqtt(mqtt_event("1")).message_id == "1"
    assert only(foreign(data=1, id="1")).id == "1", "answers name a record as its sender does"


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_json_cannot_write_is_a_reject(number: float) -> None:
    for event in (foreign(data={"v": number}), {**fixture("emqx"), "payload": {"v": number}}):
        message = only(event).message
        assert isinstance(message, Reject)
        assert "number" in message.detail


@pytest.mark.parametrize("name", ["status", "emqx"])
def test_columns_of_a_publish_may_be_called_as_those_of_other_events(name: str) -> None:
    marks: dict[str, Any] = {"connected_at": 5} if name == "emqx" else {"notices": []}
    assert mqtt({"topic": "devices/d1", "payload": "x", "clientid": "d1", **marks}).topic == "devices/d1"
    assert mqtt({**fixture("emqx"), **marks}) == mqtt(fixture("emqx"))


def test_an_event_of_emqx_in_a_cloud_event_is_one_by_its_own_mark() -> None:
    event = fixture("emqx")
    assert mqtt(foreign(data=event)) == mqtt(event)
    assert mqtt(foreign(data={name: event[name] for name in event if name != "event"})).topic == "devices/d1"


@pytest.mark.parametrize("own", STATUS_LIKE)
def test_without_a_subject_it_is_an_event_about_a_client(own: dict[str, Any]) -> None:
    assert isinstance(only(foreign(data=own, subject="")).message, ClientStatus)


@pytest.mark.parametrize(
    "more", [{}, {"data_base64": "?"}, {"data_base64": 5}, {"subject": "", "data": "x"}, {"data": "\ud800"}]
)
def test_a_cloud_event_without_readable_data_is_a_reject(more: dict[str, Any]) -> None:
    assert isinstance(only(foreign(**more)).message, Reject)


def test_the_subject_of_a_rocketmq_event_is_no_mqtt_topic() -> None:
    event = {**rocketmq_event(), "subject": "acs:mq:local:0:rmq-local%commands", "data": {"body": "on"}}
    assert isinstance(triggers.read([event]).records[0].message, Reject)


# HTTP.


def post(body: Any, content_type: str = "application/json", **headers: str) -> HttpRequest:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(method="POST", headers={"Content-Type": content_type, **named}, body=data)


def binary(body: Any, content_type: str = "application/json", **attributes: str) -> HttpRequest:
    named = {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "com.example.reading", **attributes}
    return post(body, content_type, **{f"CE_{name}": value for name, value in named.items()})


def test_the_body_of_binary_mode_is_the_data() -> None:
    message = mqtt(
        binary(b"\x00\xff", "application/octet-stream", subject="devices/d%C3%A4%201", time="2026-01-01T00:00:00Z")
    )
    assert (message.topic, message.payload, message.time_ms) == ("devices/dä 1", b"\x00\xff", 1_767_225_600_000)
    assert message.content_type == "application/octet-stream"
    assert mqtt(binary(b'{"t": 21.50}', subject="devices/d1")).payload == b'{"t": 21.50}', "byte for byte"
    assert mqtt(binary(b"", subject="devices/d1")).payload == b""


@pytest.mark.parametrize(
    ("written", "topic"),
    [
        ('"devices/d1"', "devices/d1"),
        (r'"devices/\"d\\1"', 'devices/"d\\1'),
        ('"devices/d%20%22"', 'devices/d "'),
        ('"', '"'),
        ('devices/"d"', 'devices/"d"'),
    ],
)
def test_values_of_attributes_may_be_quoted(written: str, topic: str) -> None:
    """HTTP's binding 1.0, 3.1.3.2, for receivers."""
    assert mqtt(binary(b"on", subject=written)).topic == topic


def test_levels_without_a_slash_get_one() -> None:
    for levels, topic in (("/d1/up", "devices/d1/up"), ("d1/up", "devices/d1/up"), ("", "devices"), ("/", "devices/")):
        assert mqtt({"props": {"firstTopic": "devices", "secondTopic": levels}, "body": ""}).topic == topic


def test_binary_mode_carries_our_own_shapes_too() -> None:
    record = only(binary(mqtt_event()["data"], type="mqtt:Topic:SendMessage"))
    assert isinstance(record.message, MqttMessage)
    assert (record.id, record.message.topic, record.message.message_id) == ("e-1", "devices/d1/up", "e-1")
    assert record.event["data"]["body"] == "on", "a dead letter is one CloudEvent, readable and redrivable"


def test_extensions_in_headers_say_which_rule_is_meant() -> None:
    assert triggers.read(binary({"topic": "commands", "body": ""}, mqbridgerule="one")).only_rule == "one"
    assert triggers.read(post([mqtt_event(mqbridgerule="two")])).only_rule == "two"
    assert triggers.read(post([mqtt_event()])).only_rule is None


def test_the_content_type_says_the_mode_whatever_the_headers() -> None:
    attributes = {"CE_specversion": "1.0", "CE_id": "2", "CE_source": "/s", "CE_type": "t", "CE_subject": "other"}
    structured = post(foreign(data=5), "application/cloudevents+json", **attributes)
    assert (mqtt(structured).topic, mqtt(structured).payload) == ("devices/d1", b"5")
    batched = post([foreign(data=5), foreign(data=6)], "application/cloudevents-batch+json", **attributes)
    assert len(triggers.read(batched).records) == 2


def test_structured_and_batched_mode() -> None:
    assert mqtt(post(mqtt_event(), "application/cloudevents+json; charset=UTF-8")).payload == b"on"
    batch = triggers.read(post([mqtt_event("1"), None, mqtt_event("2")], "Application/CloudEvents-Batch+JSON"))
    assert [where(each) for each in batch.records] == ["devices/d1/up", "unreadable", "devices/d1/up"]
    assert triggers.read(post([], "application/cloudevents-batch+json")).records == ()


@pytest.mark.parametrize("name", ["emqx-connected", "aws-connected"])
def test_a_request_may_bring_events_about_clients(name: str) -> None:
    event = json.loads((EVENTS / f"status-{name}.json").read_text())
    assert isinstance(only(post(event)).message, ClientStatus)


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest(method="GET"),
        post(b""),
        post(b"hello"),
        post(b"\xff"),
        post(b"[" * 100_000),
        post(5),
        post({}),
        post({"a": 1}),
        post([5]),
        post(mqtt_event(), "application/cloudevents-batch+json"),
        post([mqtt_event()], "application/cloudevents+json"),
        post({"topic": "commands", "body": ""}, "application/cloudevents+json"),
        post([{"topic": "commands", "body": ""}], "application/cloudevents-batch+json"),
        post([mqtt_event(mqbridgerule="a"), mqtt_event(mqbridgerule="b")]),
    ],
)
def test_a_request_that_brings_no_event_is_answered_with_what_was_expected(request_: HttpRequest) -> None:
    with pytest.raises(UnreadableEvent) as raised:
        triggers.read(request_)
    answer = raised.value.answer
    assert answer.status == (405 if request_.method == "GET" else 400)
    assert "expected" in json.loads(answer.body)["error"]
    assert len(answer.body) < 1_000


@pytest.mark.parametrize(
    "changes",
    [
        {"body": None},
        {"body": 5},
        {"body": "\ud800"},
        {"body": "?", "isBase64Encoded": True},
        {"body": "{}"},
        {"requestContext": {"http": {"method": "GET"}}},
        {"requestContext": {"http": {}}, "body": ""},
        {"headers": None, "body": ""},
    ],
)
def test_an_event_of_a_gateway_that_brings_none_has_an_answer_too(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEvent) as raised:
        triggers.read({**fixture("function-url-emqx"), **changes})
    answer = raised.value.answer
    assert answer["statusCode"] in (400, 405)
    assert "expected" in json.loads(answer["body"])["error"]


def test_a_load_balancer_may_send_headers_with_several_values() -> None:
    event = {**fixture("api-gateway-v1-cloudevents-structured"), "headers": None}
    assert mqtt(event).payload == b"on"


header_names = st.sampled_from(
    [
        "ce-specversion",
        "ce-id",
        "CE-Type",
        "ce-subject",
        "ce-time",
        "ce-data",
        "ce-data_base64",
        "Content-Type",
    ]
)
header_values = any_text | st.sampled_from(
    [
        "1.0",
        "devices/d1",
        "2026-01-01T00:00:00Z",
        "mq:x",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
    ]
)


@quick
@given(
    headers=st.dictionaries(header_names, header_values, max_size=6),
    body=st.binary(max_size=20)
    | st.sampled_from([b"{}", b"[]", b'{"body": 1}', b'{"specversion": 1}', b'[{"topic": "t", "body": 1}]']),
    path=st.sampled_from(["/", "/invoke"]),
)
def test_any_request_is_a_batch_or_has_an_answer(headers: dict[str, str], body: bytes, path: str) -> None:
    try:
        batch = triggers.read(HttpRequest(headers=headers, body=body, path=path))
    except UnreadableEvent as error:
        answer = error.answer
    else:
        answer = batch.trigger.respond([(each, Delivered()) for each in batch.records])
    assert isinstance(answer, HttpResponse)


# For one rule.


def test_a_single_cloud_event_says_which_rule_is_meant_however_it_comes() -> None:
    event = foreign(data=5, mqbridgerule="one")
    assert triggers.read(event).only_rule == triggers.read([event]).only_rule == triggers.read(post(event)).only_rule
    assert triggers.read(event).only_rule == "one"
    with pytest.raises(UnreadableEvent, match="mqbridgerule"):
        triggers.read({**event, "mqbridgerule": 5})


# Which trigger it is.


@pytest.mark.parametrize("event", [{"Records": []}, [], b"[]", b'{"Records": []}', post([]), post([], "text/plain")])
def test_an_empty_envelope_is_none(event: Any) -> None:
    """Only CloudEvents' batched mode knows empty batches."""
    with pytest.raises(UnreadableEvent, match="expected"):
        triggers.read(event)


def test_the_runner_s_batch_and_function_compute_s_are_told_apart() -> None:
    plain = mqtt_event(), rocketmq_event()
    for event in plain:
        assert trigger_of([event]).name == "cloudevents_batch"
        assert trigger_of([event], is_raw=True).name == "fc_rocketmq", "bytes come from nobody else"
        assert trigger_of([{**event, "mqbridgerule": "a"}], is_raw=True).name == "cloudevents_batch"
        assert trigger_of([{**event, "aliyunregionid": "cn-hangzhou"}]).name == "fc_rocketmq"
        assert trigger_of([{**event, "source": "RocketMQ-Function-x"}]).name == "fc_rocketmq"
        # What was dead-lettered there comes back by a redrive here.
        assert trigger_of([{**event, "aliyunregionid": "x", "mqbridgerule": "a"}]).name == "cloudevents_batch"


@pytest.mark.parametrize("name", ["fc-mqtt", "fc-rocketmq", "fc-rocketmq-raw", "pipes-transformed"])
@pytest.mark.parametrize("broken", [None, 5, "x", [], {}, {"a": 1}])
def test_a_malformed_element_of_a_good_array_fails_alone(name: str, broken: Any) -> None:
    good = [where(each) for each in triggers.read(fixture(name)).records]
    assert [where(each) for each in triggers.read([broken, *fixture(name)]).records] == ["unreadable", *good]


@pytest.mark.parametrize(
    "event",
    [
        [mqtt_event(), {"props": {}, "body": ""}],
        [*sqs_event({})["Records"], {"topic": "t", "body": ""}],
        [{"a": 1}, {}],
        {"Records": [{"eventSource": "aws:kinesis"}]},
        {"detail-type": "x"},
        {"requestContext": {}},
        {"topic": "t"},
        {"body": "x"},
        {"event": "x"},
    ],
)
def test_what_is_none_of_them_is_told_what_was_expected(event: Any) -> None:
    with pytest.raises(UnreadableEvent, match=r"expected an SQS batch .* got an"):
        triggers.read(event)


def test_a_queue_message_of_a_pipe_without_id_could_not_be_reported() -> None:
    event = fixture("pipes-sqs")
    del event[1]["messageId"]
    with pytest.raises(UnreadableEvent, match="messageId"):
        triggers.read(event)


@pytest.mark.parametrize(
    ("queue", "group", "expected"),
    [
        ("arn:aws:sqs:eu-central-1:1:c.fifo", "a", ("a",)),
        (None, "a", ("a",)),
        ("arn:aws:sqs:eu-central-1:1:c", "a", ()),  # a fair queue: no order is asked for
        ("arn:aws:sqs:eu-central-1:1:c.fifo", None, ()),
        ("arn:aws:sqs:eu-central-1:1:c.fifo", 5, ()),
    ],
)
def test_groups_are_those_of_fifo_queues(queue: Any, group: Any, expected: tuple[str, ...]) -> None:
    event = sqs_event({"topic": "t", "body": ""}, eventSourceARN=queue, attributes={"MessageGroupId": group})
    assert triggers.read(event).groups == expected


# Whatever comes.

KEYS = (
    "requestContext http httpMethod method headers body isBase64Encoded multiValueHeaders rawPath detail detail-type source time id props "
    "topic firstTopic payload payload_b64 event clientid pub_props User-Property User-Property-Pairs flags key value specversion type "
    "subject data data_base64 systemProperties UNIQ_KEY msgId trace_id ts_ms eventSource messageId attributes MessageGroupId "
    "aliyunregionid mqbridgerule Content-Type ce-specversion ce-id ce-subject".split()
)
VALUES = "aws:sqs POST 1.0 m-1 devices/d1 message.publish mqtt:Topic:SendMessage AAEC {} [] application/cloudevents+json".split()
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.sampled_from(VALUES)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | any_text, inner, max_size=5),
    max_leaves=15,
)
objects = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=6)


@quick
@given(event=objects | st.lists(objects, max_size=3) | json_values)
def test_any_json_value_is_a_batch_or_an_unreadable_event(event: Any) -> None:
    for form in (event, json.dumps(event).encode()):
        try:
            batch = triggers.read(form)
        except UnreadableEvent:
            continue
        assert all(isinstance(each.id, str) and each.id for each in batch.records)


@quick
@given(name=st.sampled_from([row[0] for row in FIXTURES]), changes=objects, dropped=st.sets(st.sampled_from(KEYS)))
def test_a_shape_with_anything_wrong_is_a_batch_or_an_unreadable_event(
    name: str, changes: dict[str, Any], dropped: set[str]
) -> None:
    event = fixture(name)
    elements = event if isinstance(event, list) else [event]
    changed = [{key: value for key, value in {**each, **changes}.items() if key not in dropped} for each in elements]
    with contextlib.suppress(UnreadableEvent):
        triggers.read(changed if isinstance(event, list) else changed[0])


ENVELOPES: list[tuple[str, Any]] = [
    ("fc_mqtt", lambda element: [element, fixture("fc-mqtt")[0]]),
    ("fc_rocketmq", lambda element: [element, fixture("fc-rocketmq-raw")[0]]),
    ("eventbridge", lambda element: {**fixture("eventbridge"), "detail": element}),
    ("sqs", lambda element: sqs_event(element)),
    ("pipes", lambda element: sqs_event(element)["Records"]),
    ("http", lambda element: post([element, {"topic": "commands", "body": ""}])),
]


@pytest.mark.parametrize("wrap", [row[1] for row in ENVELOPES], ids=[row[0] for row in ENVELOPES])
@quick
@given(element=objects | json_values)
def test_any_json_value_in_a_good_envelope_is_a_message_or_a_reject(wrap: Any, element: Any) -> None:
    try:
        records = triggers.read(wrap(element)).records
    except UnreadableEvent:
        # An element that makes the whole an array of another kind: one with ids by which its sender hears answers, or for one rule.
        assert isinstance(element, dict)
        assert {"specversion", "eventSource", "mqbridgerule"} & set(element)
        return
    assert records[0].message is not None
