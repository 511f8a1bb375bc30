"""Planning: one outcome per record and rule, and no record takes its neighbours down."""

from collections.abc import Mapping
from typing import Any

import pytest

from mqbridge.flows import Flow, inbound, outbound
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Drop, Planned, Reject, Send
from mqbridge.rules import Rules, load
from tests.unit.mqbridge.support import (
    MQTT_INSTANCE,
    ROCKETMQ_INSTANCE,
    both_ways,
    command,
    document,
    inbound_rule,
    outbound_rule,
    publish,
    record,
)


def plan_one(flow: Flow, message: MqttMessage | RocketMQMessage, rules: Rules, only_rule: str | None = None) -> Planned:
    (planned,) = flow([record(message)], rules, only_rule)
    return planned


def two_instances() -> Rules:
    """Two of each kind; rules on the first of each."""
    instances = {
        "Mqtt": [{**MQTT_INSTANCE, "InstanceId": name} for name in ("mqtt-a", "mqtt-b")],
        "RocketMQ": [{**ROCKETMQ_INSTANCE, "InstanceId": name} for name in ("rmq-a", "rmq-b")],
    }
    out, back = outbound_rule(), inbound_rule()
    out["Source"]["InstanceId"] = back["Destination"]["InstanceId"] = "mqtt-a"
    out["Destination"]["InstanceId"] = back["Source"]["InstanceId"] = "rmq-a"
    return load(document(Instances=instances, OutboundRules=[out], InboundRules=[back]))


@pytest.mark.parametrize("topic", ["other/d1", "device", "devicesx", "Devices/d1", "", "/devices/d1"])
def test_outbound_drops_what_no_rule_wants(topic: str) -> None:
    planned = plan_one(outbound.plan, publish(topic=topic), both_ways())
    assert planned.rule is None
    assert isinstance(planned.outcome, Drop)
    assert planned.outcome.reason == "no_rule"


@pytest.mark.parametrize("topic", ["other", "Commands", "commands2", ""])
def test_inbound_drops_what_no_rule_wants(topic: str) -> None:
    planned = plan_one(inbound.plan, command(topic=topic), both_ways())
    assert planned.rule is None
    assert isinstance(planned.outcome, Drop)
    assert planned.outcome.reason == "no_rule"


@pytest.mark.parametrize(("flow", "message"), [(outbound.plan, publish()), (inbound.plan, command())])
def test_a_disabled_rule_drops_under_its_own_name(flow: Flow, message: Any) -> None:
    rules = both_ways(OutboundRules=[outbound_rule(Status="Disabled")], InboundRules=[inbound_rule(Status="Disabled")])
    planned = plan_one(flow, message, rules)
    assert planned.rule is not None
    assert planned.outcome == Drop("rule_disabled")


@pytest.mark.parametrize(
    ("flow", "message"), [(outbound.plan, publish(instance_id="")), (inbound.plan, command(instance_id=""))]
)
def test_a_missing_instance_means_the_only_one_of_its_kind(flow: Flow, message: Any) -> None:
    assert isinstance(plan_one(flow, message, both_ways()).outcome, Send)


@pytest.mark.parametrize(
    ("flow", "message", "kind", "names"),
    [
        (outbound.plan, publish(instance_id=""), "MQTT", "mqtt-a, mqtt-b"),
        (inbound.plan, command(instance_id=""), "RocketMQ", "rmq-a, rmq-b"),
    ],
)
def test_a_missing_instance_among_several_is_rejected_with_their_names(
    flow: Flow, message: Any, kind: str, names: str
) -> None:
    planned = plan_one(flow, message, two_instances())
    assert planned.rule is None
    assert isinstance(planned.outcome, Reject)
    assert planned.outcome.reason == "instance_missing"
    assert kind in planned.outcome.detail
    assert names in planned.outcome.detail


@pytest.mark.parametrize(
    ("flow", "message", "is_sent"),
    [
        (outbound.plan, publish(instance_id="mqtt-a"), True),
        (outbound.plan, publish(instance_id="mqtt-b"), False),
        (outbound.plan, publish(instance_id="unheard-of"), False),
        (inbound.plan, command(instance_id="rmq-a"), True),
        (inbound.plan, command(instance_id="rmq-b"), False),
        (inbound.plan, command(instance_id="unheard-of"), False),
    ],
)
def test_a_rule_holds_for_its_own_instance_only(flow: Flow, message: Any, is_sent: bool) -> None:
    outcome = plan_one(flow, message, two_instances()).outcome
    assert isinstance(outcome, Send) is is_sent
    if not is_sent:
        assert isinstance(outcome, Drop)
        assert outcome.reason == "no_rule"


def test_a_send_names_the_destination_s_instance() -> None:
    out = plan_one(outbound.plan, publish(instance_id="mqtt-a"), two_instances()).outcome
    back = plan_one(inbound.plan, command(instance_id="rmq-a"), two_instances()).outcome
    assert isinstance(out, Send)
    assert isinstance(back, Send)
    assert [each.instance_id for each in (*out.messages, *back.messages)] == ["rmq-a", "mqtt-a"]


@pytest.mark.parametrize(("flow", "message"), [(outbound.plan, command()), (inbound.plan, publish())])
def test_the_wrong_kind_of_message_is_rejected(flow: Flow, message: Any) -> None:
    planned = plan_one(flow, message, both_ways())
    assert planned.rule is None
    assert isinstance(planned.outcome, Reject)
    assert planned.outcome.reason == "wrong_kind"
    assert "expected" in planned.outcome.detail


def test_one_rocketmq_topic_feeds_every_parent_that_a_rule_names() -> None:
    rules = both_ways(
        InboundRules=[inbound_rule("to-devices", parent="devices"), inbound_rule("to-screens", parent="screens")]
    )
    plan = inbound.plan([record(command({"mqttSecondTopic": "/all"}))], rules)
    sent = {
        planned.rule.rule_id: [message.topic for message in planned.outcome.messages]
        for planned in plan
        if planned.rule is not None and isinstance(planned.outcome, Send)
    }
    assert sent == {"to-devices": ["devices/all"], "to-screens": ["screens/all"]}


def test_of_two_rules_one_may_reject_what_the_other_sends() -> None:
    rules = both_ways(
        InboundRules=[inbound_rule("short", parent="abc"), inbound_rule("long", parent="x" * 64)],
        Limits={"MaxTopicLength": 70},
    )
    plan = inbound.plan([record(command({"mqttSecondTopic": "/" + "y" * 20}))], rules)
    assert {each.rule.rule_id: type(each.outcome) for each in plan if each.rule} == {"short": Send, "long": Reject}


@pytest.mark.parametrize(
    ("flow", "message", "only_rule", "planned_by"),
    [
        (outbound.plan, publish(), None, "telemetry"),
        (outbound.plan, publish(), "telemetry", "telemetry"),
        (outbound.plan, publish(), "commands", None),
        (inbound.plan, command(), "commands", "commands"),
        (inbound.plan, command(), "telemetry", None),
        (inbound.plan, command(), "", None),
    ],
)
def test_with_only_rule_it_is_as_if_there_were_no_other(
    flow: Flow, message: Any, only_rule: str | None, planned_by: str | None
) -> None:
    planned = plan_one(flow, message, both_ways(), only_rule)
    assert (None if planned.rule is None else planned.rule.rule_id) == planned_by
    assert isinstance(planned.outcome, Send if planned_by else Drop)


def test_only_rule_chooses_among_the_rules_of_one_topic() -> None:
    rules = both_ways(InboundRules=[inbound_rule("one", parent="aaa"), inbound_rule("two", parent="bbb")])
    planned = plan_one(inbound.plan, command(), rules, "two")
    assert isinstance(planned.outcome, Send)
    assert [message.topic for message in planned.outcome.messages] == ["bbb"]


@pytest.mark.parametrize("flow", [outbound.plan, inbound.plan])
def test_a_record_that_could_not_be_read_keeps_its_reject(flow: Flow) -> None:
    unreadable = Reject("unreadable_record", "body: expected JSON")
    (planned,) = flow([record(unreadable)], both_ways(), None)
    assert (planned.rule, planned.outcome) == (None, unreadable)


class _Explosive(Mapping[str, str]):
    """Properties that cannot be read: a defect that no check foresaw."""

    def __getitem__(self, key: str) -> str:
        raise RuntimeError("defect")

    def __iter__(self) -> Any:
        raise RuntimeError("defect")

    def __len__(self) -> int:
        return 1


def test_a_record_whose_planning_raises_does_not_hurt_its_neighbours() -> None:
    bad = RocketMQMessage(instance_id="rmq-local", topic="commands", body=b"", message_id="m", properties=_Explosive())
    records = [record(command(), "before"), record(bad, "bad"), record(command(), "after")]
    plan = inbound.plan(records, both_ways())
    assert [(each.record.id, type(each.outcome)) for each in plan] == [
        ("before", Send),
        ("bad", Reject),
        ("after", Send),
    ]
    reject = plan[1].outcome
    assert isinstance(reject, Reject)
    assert reject.reason == "unexpected_error"
    assert "RuntimeError, raised in __getitem__ (test_flows.py" in reject.detail
    assert "defect" not in reject.detail, "the text of an error may quote the event"


def test_outbound_survives_a_message_whose_planning_raises() -> None:
    bad = publish(user_properties=5)  # not what the type promises
    plan = outbound.plan([record(publish(), "before"), record(bad, "bad"), record(publish(), "after")], both_ways())
    assert [(each.record.id, type(each.outcome)) for each in plan] == [
        ("before", Send),
        ("bad", Reject),
        ("after", Send),
    ]


def test_the_plan_has_the_order_of_the_batch() -> None:
    topics = ["devices/1", "other/2", "devices/3", "devices/a\x01b", "devices/5"]
    plan = outbound.plan([record(publish(topic=topic), topic) for topic in topics], both_ways())
    assert [planned.record.id for planned in plan] == topics


def test_a_body_that_rocketmq_cannot_store_is_rejected_when_planned() -> None:
    limit = 4 * 1024 * 1024
    planned = plan_one(outbound.plan, publish(payload=bytes(limit)), both_ways())
    assert isinstance(planned.outcome, Reject)
    assert planned.outcome.reason == "illegal_message"
    assert "body" in planned.outcome.detail


def test_outbound_never_rejects_for_the_length_of_a_topic() -> None:
    planned = plan_one(
        outbound.plan, publish(topic="devices/" + "x" * 10_000), both_ways(Limits={"MaxTopicLength": 64})
    )
    assert isinstance(planned.outcome, Send)


def test_planning_twice_gives_the_same() -> None:
    """Plan is pure: so dry-run shows exactly what would be sent."""
    records = [record(publish(message_id="m", user_properties=(("a", "b"),))), record(publish(topic="devices"))]
    rules = both_ways()
    assert outbound.plan(records, rules) == outbound.plan(records, rules)
