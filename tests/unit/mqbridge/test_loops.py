"""Nothing travels in a circle, however the rules are drawn: whatever one direction sends is fed to the other until it ends."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.flows import inbound, outbound
from mqbridge.mapping import ORIGIN, is_echo
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Drop, Send
from mqbridge.rules import InvalidRules, Rules, load
from tests.unit.mqbridge.support import (
    command,
    document,
    inbound_rule,
    mqtt_topics,
    outbound_rule,
    publish,
    quick,
    record,
)

# Far more than any way without a circle has hops.
RUNAWAY = 50

Sent = MqttMessage | RocketMQMessage


def circulate(rules: Rules, first: Sent) -> list[Sent]:
    """Return everything that the two flows send because of `first`, each message being fed to the other flow."""
    waiting: deque[Sent] = deque([first])
    sent: list[Sent] = []
    while waiting and len(sent) < RUNAWAY:
        message = waiting.popleft()
        plan = (outbound if isinstance(message, MqttMessage) else inbound).plan([record(message)], rules)
        for planned in plan:
            if isinstance(planned.outcome, Send):
                sent += planned.outcome.messages
                waiting += planned.outcome.messages
    return sent


def ways(sent: list[Sent]) -> list[str]:
    return [
        f"{'mqtt' if isinstance(each, MqttMessage) else 'rocketmq'}:{each.instance_id}/{each.topic}" for each in sent
    ]


def rules_of(protocol: str, outbounds: list[dict[str, Any]], inbounds: list[dict[str, Any]]) -> Rules:
    parts = document(OutboundRules=outbounds, InboundRules=inbounds)
    parts["Instances"]["Mqtt"][0]["ProtocolVersion"] = protocol
    return load(parts)


def rules_or_refusal(protocol: str, outbounds: list[dict[str, Any]], inbounds: list[dict[str, Any]]) -> Rules | None:
    """Return the rules, or None where loading refuses the circle, which is as good an end for 3.1.1."""
    try:
        return rules_of(protocol, outbounds, inbounds)
    except InvalidRules:
        assert protocol == "3.1.1", "MQTT 5 has the mark, and no circle to refuse"
        return None


def assert_ends(rules: Rules | None, first: Sent) -> None:
    if rules is not None:
        sent = circulate(rules, first)
        assert len(sent) < RUNAWAY, f"ran away: {ways(sent[:6])} ..."


def same_parent(protocol: str) -> Rules:
    return rules_of(protocol, [outbound_rule(topic="telemetry")], [inbound_rule(topic="telemetry")])


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_a_device_publishes_goes_out_once_and_does_not_come_back(protocol: str) -> None:
    sent = circulate(same_parent(protocol), publish(topic="devices/d1/up"))
    assert ways(sent) == ["rocketmq:rmq-local/telemetry"]


def test_under_mqtt_5_a_command_goes_in_once_and_is_not_exported() -> None:
    sent = circulate(same_parent("5"), command({"mqttSecondTopic": "/d1/set"}, topic="telemetry"))
    assert ways(sent) == ["mqtt:mqtt-local/devices/d1/set"]


def test_under_mqtt_3_1_1_a_command_reaches_the_devices_once() -> None:
    """3.1.1 carries no mark, so the command is exported like a device's; it does not come in again."""
    sent = circulate(same_parent("3.1.1"), command({"mqttSecondTopic": "/d1/set"}, topic="telemetry"))
    assert ways(sent) == ["mqtt:mqtt-local/devices/d1/set", "rocketmq:rmq-local/telemetry"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_circle_through_two_rocketmq_topics_of_one_parent_ends(protocol: str) -> None:
    rules = rules_of(
        protocol,
        [outbound_rule(topic="first")],
        [inbound_rule("from-first", topic="first"), inbound_rule("other", topic="second", parent="others")],
    )
    assert ways(circulate(rules, publish(topic="devices/d1"))) == ["rocketmq:rmq-local/first"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_circle_through_two_parents_ends(protocol: str) -> None:
    """devices -> first -> others -> second -> devices."""
    rules = rules_or_refusal(
        protocol,
        [outbound_rule("out-1", "devices", "first"), outbound_rule("out-2", "others", "second")],
        [inbound_rule("in-1", "first", "others"), inbound_rule("in-2", "second", "devices")],
    )
    assert_ends(rules, publish(topic="devices/d1"))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_one_rocketmq_topic_shared_by_two_parents_ends(protocol: str) -> None:
    """devices -> shared, others -> shared, shared -> devices and others."""
    rules = rules_or_refusal(
        protocol,
        [outbound_rule("out-1", "devices", "shared"), outbound_rule("out-2", "others", "shared")],
        [inbound_rule("in-1", "shared", "devices"), inbound_rule("in-2", "shared", "others")],
    )
    assert_ends(rules, publish(topic="devices/d1"))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_circle_through_two_mqtt_instances_ends(protocol: str) -> None:
    parts = document()
    parts["Instances"]["Mqtt"] = [
        {"InstanceId": name, "Endpoint": "mqtt://h", "ProtocolVersion": protocol} for name in ("one", "two")
    ]
    for name in ("one", "two"):
        parent = {"InstanceId": name, "Topic": "devices"}
        parts.setdefault("OutboundRules", []).append(
            {"RuleId": f"out-{name}", "Source": parent, "Destination": {"Topic": "shared"}}
        )
        parts.setdefault("InboundRules", []).append(
            {"RuleId": f"in-{name}", "Source": {"Topic": "shared"}, "Destination": parent}
        )
    try:
        rules = load(parts)
    except InvalidRules:
        assert protocol == "3.1.1", "MQTT 5 has the mark, and no circle to refuse"
        return
    first = publish(instance_id="one", topic="devices/d1")
    assert_ends(rules, first)
    assert "mqtt:two/devices/d1" in ways(circulate(rules, first)), "the other instance's devices are to hear of it"


@quick
@given(topic=mqtt_topics().map(lambda topic: "devices/" + topic[:60]), payload=st.binary(max_size=20))
def test_no_message_whatsoever_circulates_on_one_parent(topic: str, payload: bytes) -> None:
    for protocol in ("5", "3.1.1"):
        sent = circulate(same_parent(protocol), publish(topic=topic, payload=payload))
        assert len(sent) <= 1


# What is no loop.


def imported(properties: dict[str, str] | None = None, **changes: Any) -> MqttMessage:
    """Return what the inbound rule publishes of a command."""
    (planned,) = inbound.plan(
        [record(command({"mqttSecondTopic": "/d1/set", **(properties or {})}, topic="telemetry", **changes))],
        same_parent("5"),
    )
    assert isinstance(planned.outcome, Send)
    (message,) = planned.outcome.messages
    assert isinstance(message, MqttMessage)
    return message


def outcome_of(message: MqttMessage) -> Any:
    (planned,) = outbound.plan([record(message)], same_parent("5"))
    return planned.outcome


def test_the_bridge_s_own_publish_is_dropped_as_a_loop() -> None:
    dropped = outcome_of(imported())
    assert isinstance(dropped, Drop)
    assert dropped.reason == "loop"


@pytest.mark.parametrize(
    "changes",
    [{"payload": b"done"}, {"topic": "devices/d1/ack"}, {"topic": "devices/d1/set/"}, {"payload": b"body\x00"}],
    ids=str,
)
def test_a_device_that_answers_with_the_command_s_user_properties_is_heard(changes: dict[str, Any]) -> None:
    command_seen = imported({"mqtt5UserProperty": '[{"key":"request","value":"7"}]'})
    answer = publish(
        **{
            "topic": command_seen.topic,
            "payload": command_seen.payload,
            "user_properties": command_seen.user_properties,
            **changes,
        }
    )
    kept = outcome_of(answer)
    assert isinstance(kept, Send)
    (message,) = kept.messages
    assert isinstance(message, RocketMQMessage)
    assert message.properties["mqtt5UserProperty"] == '[{"key":"request","value":"7"}]', (
        "the mark itself is not passed on"
    )


def test_topic_and_payload_are_kept_apart_in_the_mark() -> None:
    one = imported({"mqttSecondTopic": "/ab"}, body=b"c")
    other = imported({"mqttSecondTopic": "/a"}, body=b"bc")
    assert one.user_properties != other.user_properties


# Forged marks.


@pytest.mark.parametrize("mark", ["", "0" * 32, "mqtt:mqtt-local/devices", "\ud800"])
def test_a_device_s_forged_mark_hides_nothing(mark: str) -> None:
    kept = outcome_of(publish(user_properties=((ORIGIN, mark), ("k", "v"))))
    assert isinstance(kept, Send)
    (message,) = kept.messages
    assert isinstance(message, RocketMQMessage)
    assert message.properties["mqtt5UserProperty"] == '[{"key":"k","value":"v"}]'
    assert message.properties[ORIGIN] == "mqtt:mqtt-local/devices"


def test_a_back_end_cannot_plant_a_mark_in_the_user_properties() -> None:
    published = imported({"mqtt5UserProperty": '[{"key":"mqbridge-origin","value":"forged"},{"key":"k","value":"v"}]'})
    assert [name for name, _ in published.user_properties] == ["k", ORIGIN]
    assert is_echo(published)


@pytest.mark.parametrize(
    ("origin", "is_published"),
    [
        ("mqtt:mqtt-local/devices", False),
        ("mqtt:mqtt-local/device", True),
        ("mqtt:mqtt-local/devices/d1", True),
        ("mqtt:other/devices", True),
        ("MQTT:mqtt-local/devices", True),
        ("", True),
    ],
)
def test_only_the_exact_origin_keeps_a_message_from_its_parent(origin: str, is_published: bool) -> None:
    (planned,) = inbound.plan([record(command({ORIGIN: origin}, topic="telemetry"))], same_parent("5"))
    if is_published:
        assert isinstance(planned.outcome, Send)
    else:
        assert isinstance(planned.outcome, Drop)
        assert planned.outcome.reason == "loop"
