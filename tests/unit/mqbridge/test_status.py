"""Client status notification rules: what each broker's events become."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.flows import status
from mqbridge.messages import ClientStatus, Record, RocketMQMessage
from mqbridge.outcomes import Drop, Planned, Reject, Send
from mqbridge.presence import SYS_TOPICS, read_payload, read_status
from mqbridge.rules import Rules, load
from mqbridge.triggers import HttpRequest, read
from tests.unit.mqbridge.support import (
    EVENTS,
    MQTT_INSTANCE,
    command,
    document,
    outbound_rule,
    publish,
    quick,
    record,
    sqs_event,
)


def status_rule(rule_id: str = "presence", group: str | None = "GID_sensor", **more: Any) -> dict[str, Any]:
    source = {"GroupId": group} if group else {}
    return {"RuleId": rule_id, "Source": {**source, **more}, "Destination": {"Topic": "client_status"}}


def rules(*given: dict[str, Any], **parts: Any) -> Rules:
    return load(document(StatusRules=list(given or [status_rule()]), **parts))


def fixture(name: str) -> Any:
    return json.loads((EVENTS / f"status-{name}.json").read_text())


def plan_event(event: Any, by: Rules | None = None) -> list[Planned]:
    return status.plan(read(event).records, by or rules())


def sent(event: Any, by: Rules | None = None) -> list[RocketMQMessage]:
    messages: list[Any] = []
    for planned in plan_event(event, by):
        assert isinstance(planned.outcome, Send), planned.outcome
        messages += planned.outcome.messages
    return [each for each in messages if isinstance(each, RocketMQMessage)]


def bodies(event: Any) -> list[dict[str, Any]]:
    return [json.loads(message.body) for message in sent(event)]


def ending(event: Any, by: Rules | None = None) -> tuple[str | None, str]:
    """Return the rule and the reason of an event of which nothing is sent."""
    (planned,) = plan_event(event, by)
    assert isinstance(planned.outcome, Drop | Reject)
    rule = planned.rule
    return (by or rules()).status[0].rule_id if rule is not None else None, planned.outcome.reason


# The message.


def test_a_connect_is_the_documented_message() -> None:
    (message,) = sent(fixture("aws-connected"))
    assert (message.instance_id, message.topic) == ("rmq-local", "client_status")
    assert (message.tags, message.keys, message.sharding_key) == ("connect", "GID_sensor@@@d1", "GID_sensor@@@d1")
    body = json.loads(message.body)
    assert list(body) == ["clientId", "time", "eventType", "channelId", "clientIp"]
    assert (body["clientId"], body["time"], body["eventType"]) == ("GID_sensor@@@d1", 1573002230757, "connect")
    assert body["clientIp"] == "192.0.2.0"
    assert len(body["channelId"]) == 32
    assert int(body["channelId"], 16)


@pytest.mark.parametrize("source", ["aws", "emqx"])
def test_an_announced_end_is_a_disconnect_and_a_tcpclean_of_the_connection(source: str) -> None:
    (begun,) = bodies(fixture(f"{source}-connected"))
    messages = sent(fixture(f"{source}-disconnected"))
    assert [message.tags for message in messages] == ["disconnect", "tcpclean"]
    assert {json.loads(message.body)["channelId"] for message in messages} == {begun["channelId"]}
    assert len({message.message_id for message in messages}) == 2


def test_a_lost_connection_is_a_tcpclean_alone_and_says_why() -> None:
    (body,) = bodies(fixture("aws-lost"))
    assert (body["eventType"], body["remark"]) == ("tcpclean", "CONNECTION_LOST")


def test_a_session_that_outlives_its_connection_has_another_channel_in_the_next() -> None:
    event = fixture("aws-connected")
    (first,), (second,) = bodies(event), bodies(event | {"versionNumber": 1})
    assert first["channelId"] != second["channelId"]
    assert second["channelId"] == bodies(fixture("aws-lost"))[0]["channelId"]


@pytest.mark.parametrize("name", ["aws-connected", "aws-disconnected", "emqx-disconnected", "apsaramq"])
def test_an_event_that_comes_again_has_the_same_ids(name: str) -> None:
    def of(event: Any) -> list[tuple[str, bytes]]:
        return [(message.message_id, message.body) for message in sent(event)]

    event = fixture(name)
    cloud_event = {"specversion": "1.0", "id": "other", "source": "s", "type": "t", "data": event}
    assert of(event) == of(event) == of([cloud_event]) == of([{**cloud_event, "subject": "presence"}])
    assert all(len(message_id) == 32 for message_id, _ in of(event))


@pytest.mark.parametrize("name", ["aws-connected", "emqx-disconnected", "apsaramq"])
def test_an_event_comes_by_a_bus_in_every_way(name: str) -> None:
    event = fixture(name)
    cloud_event = {"specversion": "1.0", "id": "other", "source": "s", "type": "t", "data": event}
    for detail in (event, cloud_event):
        bus = {"id": "e", "detail-type": "x", "source": "y", "time": "2026-01-01T00:00:00Z", "detail": detail}
        request = HttpRequest(body=json.dumps(bus).encode())
        for form in (bus, [bus], sqs_event(bus), request):
            assert [message.message_id for message in sent(form)] == [message.message_id for message in sent(event)]


@pytest.mark.parametrize("depth", range(900, 1_000))
def test_what_is_nested_too_deeply_takes_no_neighbour_down(depth: int) -> None:
    deep = '{"clientId":"d1","time":1,"eventType":"connect","channelId":"c","x":' + "[" * depth + "]" * depth + "}"
    event = sqs_event(fixture("aws-connected"), {})
    event["Records"][1]["body"] = deep
    first, _ = plan_event(event)
    assert isinstance(first.outcome, Send)


def test_a_malformed_element_of_an_array_fails_alone() -> None:
    planned = plan_event([fixture("aws-connected"), {}, None])
    assert [type(each.outcome) for each in planned] == [Send, Reject, Reject]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("normal", ["disconnect", "tcpclean"]),
        ("disconnect_with_will_message", ["disconnect", "tcpclean"]),
        *((each, ["tcpclean"]) for each in ("tcp_closed", "keepalive_timeout", "takenover", "discarded", "kicked")),
    ],
)
def test_emqx_s_reasons(reason: str, expected: list[str]) -> None:
    messages = sent(fixture("emqx-disconnected") | {"reason": reason})
    assert [message.tags for message in messages] == expected
    assert json.loads(messages[-1].body)["remark"] == reason


def test_emqx_s_system_topics_are_the_same_connections() -> None:
    """$SYS and a webhook may both be used, and their ends must cancel each other's beginnings."""
    (begun,) = bodies(fixture("emqx-connected"))
    topic = SYS_TOPICS[0].replace("+", "emqx@h", 1).replace("+", "GID_sensor@@@d2")
    payload = {
        "clientid": "GID_sensor@@@d2",
        "connected_at": 1700000000100,
        "ts": 1700000000101,
        "ipaddress": "192.0.2.7",
    }
    (planned,) = status.plan([record(publish(topic=topic, payload=json.dumps(payload).encode()))], rules())
    assert isinstance(planned.outcome, Send)
    (message,) = planned.outcome.messages
    assert isinstance(message, RocketMQMessage)
    assert json.loads(message.body)["channelId"] == begun["channelId"]


def test_an_end_that_does_not_name_its_beginning_is_told_all_the_same() -> None:
    """EMQX before 5.8.6, in rules."""
    event = {key: value for key, value in fixture("emqx-disconnected").items() if key != "connected_at"}
    assert [message.tags for message in sent(event)] == ["disconnect", "tcpclean"]


def test_a_rule_of_emqx_may_select_what_tells_connections_apart() -> None:
    begin, end = fixture("emqx-connected"), fixture("emqx-disconnected")
    del end["connected_at"]
    chosen = [event | {"connection_id": event["peername"]} for event in (begin, end)]
    assert len({body["channelId"] for event in chosen for body in bodies(event)}) == 1
    assert bodies(begin | {"connection_id": "another"})[0]["channelId"] != bodies(chosen[0])[0]["channelId"]


def test_a_system_topic_tells_begin_from_end() -> None:
    payload = {"clientid": "GID_sensor@@@d2", "connected_at": 1, "ts": 1}
    read_as = [
        read_status(payload, topic=f"$SYS/brokers/n/clients/GID_sensor@@@d2/{word}")
        for word in ("connected", "disconnected")
    ]
    assert [each.notices[0].event_type for each in read_as if each] == ["connect", "tcpclean"]
    other = read_status(payload, topic="$SYS/brokers/n/clients/GID_sensor@@@d2/subscribed")
    assert other is not None
    assert (other.notices, other.event_type) == ((), "client.subscribed")


def test_apsaramq_s_own_notice_passes_unchanged() -> None:
    text = b'{ "clientId": "GID_sensor@@@d3", "time": 1, "eventType": "connect", "channelId": "c", "new": [1.0] }'
    (planned,) = status.plan([record(command(body=text))], rules())
    assert isinstance(planned.outcome, Send)
    (message,) = planned.outcome.messages
    assert isinstance(message, RocketMQMessage)
    assert (message.body, message.tags) == (text, "connect")
    as_event = json.loads(text)
    (message,) = sent(as_event)
    assert json.loads(message.body) == as_event


def test_several_notices_of_one_event_keep_their_order() -> None:
    each = {"clientId": "GID_sensor@@@d1", "time": 1, "channelId": "old", "clientIp": ""}
    notices = [{**each, "eventType": "tcpclean"}, {**each, "eventType": "connect", "channelId": "new"}]
    messages = sent({"clientId": "GID_sensor@@@d1", "notices": notices})
    assert [message.tags for message in messages] == ["tcpclean", "connect"]
    assert ending({"clientId": "GID_sensor@@@d2", "notices": notices})[1] == "not_a_status_event"


# Whose it is.


def test_a_client_belongs_to_the_rule_of_its_group_else_of_the_longest_prefix_else_of_the_first_pattern() -> None:
    by = load(
        document(
            Limits={"RulesPerInstance": 9},
            StatusRules=[
                status_rule("pattern", None, ClientIdPattern="[a-z]+-[0-9]+"),
                status_rule("later", None, ClientIdPattern=".*-[0-9]+"),
                status_rule("short", None, ClientIdPrefix="GID_sensor@@@"),
                status_rule("long", None, ClientIdPrefix="GID_other@@@x"),
                status_rule("group"),
            ],
        )
    )
    found = {
        client: rule.rule_id if (rule := by.status_by_client.rule_for("mqtt-local", client)) is not None else None
        for client in ("GID_sensor@@@d1", "GID_other@@@x1", "sensor-7", "Sensor-7", "sensor-7-", "GID_sensor", "x@@@y")
    }
    assert found == {
        "GID_sensor@@@d1": "group",
        "GID_other@@@x1": "long",
        "sensor-7": "pattern",
        "Sensor-7": "later",
        "sensor-7-": None,
        "GID_sensor": None,
        "x@@@y": None,
    }
    assert by.status_by_client.rule_for("mqtt-9", "sensor-7") is None


def test_of_two_instances_the_event_must_name_one() -> None:
    two = {
        "Mqtt": [dict(MQTT_INSTANCE), {**MQTT_INSTANCE, "InstanceId": "mqtt-2"}],
        "RocketMQ": document()["Instances"]["RocketMQ"],
    }
    by = load({"Instances": two, "StatusRules": [status_rule(InstanceId="mqtt-2")]})
    event = fixture("aws-connected")
    assert ending(event, by)[1] == "instance_missing"
    assert ending(event | {"instanceId": "mqtt-local"}, by)[1] == "no_rule"
    assert len(sent(event | {"instance_id": "mqtt-2"}, by)) == 1


def test_a_disabled_rule_drops() -> None:
    assert ending(fixture("aws-connected"), rules({**status_rule(), "Status": "Disabled"})) == (
        "presence",
        "rule_disabled",
    )


def test_a_batch_for_one_rule_is_for_no_other() -> None:
    records = read(fixture("aws-connected")).records
    (planned,) = status.plan(records, rules(), "another")
    assert isinstance(planned.outcome, Drop)
    assert planned.outcome.reason == "no_rule"


# What is wrong with it.

AWS = {
    "clientId": "GID_sensor@@@d1",
    "timestamp": 1,
    "eventType": "connected",
    "sessionIdentifier": "s",
    "versionNumber": 1,
}
EMQX = {"event": "client.connected", "clientid": "GID_sensor@@@d2", "connected_at": 1, "timestamp": 1}
OWN = {"clientId": "GID_sensor@@@d3", "time": 1, "eventType": "connect", "channelId": "c"}


@pytest.mark.parametrize(
    ("event", "rule", "reason"),
    [
        ({**AWS, "clientId": None}, None, "client_id_missing"),
        ({**EMQX, "clientid": ""}, None, "client_id_missing"),
        ({**OWN, "clientId": 7}, None, "client_id_missing"),
        ({**AWS, "clientId": "GID_other@@@d1"}, None, "no_rule"),
        ({**AWS, "clientId": "d1"}, None, "no_rule"),
        ({**AWS, "eventType": "subscribed"}, "presence", "foreign_event_type"),
        ({**AWS, "eventType": "exploded"}, "presence", "foreign_event_type"),
        ({**AWS, "eventType": ["connected"]}, "presence", "foreign_event_type"),
        ({**EMQX, "event": "client.connack"}, "presence", "foreign_event_type"),
        ({**EMQX, "event": "session.subscribed"}, "presence", "foreign_event_type"),
        ({**OWN, "eventType": "exploded"}, "presence", "foreign_event_type"),
        ({**AWS, "timestamp": "yesterday"}, "presence", "invalid_time"),
        ({**AWS, "timestamp": True}, "presence", "invalid_time"),
        ({**AWS, "timestamp": None}, "presence", "invalid_time"),
        ({**EMQX, "timestamp": "1"}, "presence", "invalid_time"),
        ({**OWN, "time": "1"}, "presence", "invalid_time"),
        ({**OWN, "channelId": ""}, "presence", "channel_id_missing"),
        ({**AWS, "sessionIdentifier": None, "versionNumber": None}, "presence", "channel_id_missing"),
        ({**AWS, "clientId": "GID_sensor@@@\x01"}, "presence", "illegal_message"),
    ],
)
def test_what_cannot_be_told_has_its_own_reason(event: Any, rule: str | None, reason: str) -> None:
    assert ending(event) == (rule, reason)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"on", b"7", b'{"a": 1}', b"[" * 100_000])
def test_a_message_that_carries_no_event_is_rejected(payload: bytes) -> None:
    (planned,) = status.plan([record(publish(payload=payload))], rules(OutboundRules=[outbound_rule()]))
    assert isinstance(planned.outcome, Reject)
    assert planned.outcome.reason == "not_a_status_event"


@pytest.mark.parametrize(
    "data", [{"eventType": "connect", "t": 1}, {"eventType": "connected"}, {"event": "door", "clientid": "d"}]
)
def test_what_a_device_says_of_itself_is_no_event_of_the_broker(data: dict[str, Any]) -> None:
    assert read_status(data) is None


def test_one_bad_event_harms_no_other() -> None:
    outcomes = [type(each.outcome).__name__ for each in plan_event(fixture("sqs"))]
    assert outcomes == ["Send", "Send", "Reject", "Drop", "Drop", "Reject"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
known_keys = st.sampled_from(
    "clientId clientid eventType event time timestamp ts channelId sessionIdentifier versionNumber connected_at "
    "disconnected_at reason peername notices clientInitiatedDisconnect disconnectReason".split()
)
words = st.sampled_from(
    ["connect", "connected", "client.connected", "client.disconnected", "disconnected", "GID_sensor@@@d1"]
)


@quick
@given(st.dictionaries(known_keys, json_values | words, max_size=6))
def test_whatever_comes_has_an_outcome_and_raises_nothing(event: dict[str, Any]) -> None:
    status_of = read_status(event)
    if status_of is None:
        return
    (planned,) = status.plan([Record(id="r", attempt=1, message=status_of)], rules())
    assert not isinstance(planned.outcome, Reject) or planned.outcome.reason != "unexpected_error"


@quick
@given(st.binary(max_size=30))
def test_any_payload_is_read_or_has_a_fault(payload: bytes) -> None:
    status_of = read_payload(payload)
    assert isinstance(status_of, ClientStatus)
    assert status_of.fault is not None
