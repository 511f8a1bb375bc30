"""Data outbound rules: what devices publish under a parent topic lands in a RocketMQ topic. Pure."""

from collections.abc import Iterable

from mqbridge.mapping import is_echo, parent_of, to_rocketmq
from mqbridge.messages import MqttMessage, Record
from mqbridge.outcomes import Drop, Plan, Planned, Reject, Send
from mqbridge.rules import OutboundRule, Rule, Rules
from rocketmq_remoting import IllegalMessage, check_message

from .instances import named_or_only
from .planning import Carried, plan_each

__all__ = ["plan"]


def plan(records: Iterable[Record], rules: Rules, only_rule: str | None = None) -> list[Planned]:
    """Return what each record's outbound rule makes of it; with `only_rule`, as if there were no other."""

    def plan_message(message: Carried) -> Iterable[tuple[Rule | None, Plan]]:
        if not isinstance(message, MqttMessage):
            return [(None, Reject("wrong_kind", "expected an MQTT message, got something else"))]
        instance_id = named_or_only(message.instance_id, rules.mqtt, "MQTT")
        if isinstance(instance_id, Reject):
            return [(None, instance_id)]
        rule = rules.outbound_by_parent.get((instance_id, parent_of(message.topic)))
        if rule is None or (only_rule is not None and rule.rule_id != only_rule):
            return [
                (
                    None,
                    Drop("no_rule", f"no outbound rule for parent topic {parent_of(message.topic)!r} of {instance_id}"),
                )
            ]
        return [(rule, _plan_by(rule, message))]

    return plan_each(records, plan_message)


def _plan_by(rule: OutboundRule, message: MqttMessage) -> Plan:
    if rule.status == "Disabled":
        return Drop("rule_disabled")
    if is_echo(message):
        return Drop("loop", "the message came from RocketMQ by an inbound rule")
    destination = rule.destination
    mapped = to_rocketmq(
        message,
        source_instance_id=str(rule.source.instance_id),
        instance_id=str(destination.instance_id),
        topic=destination.topic,
    )
    if isinstance(mapped, Reject):
        return mapped
    try:
        check_message(mapped)
    except IllegalMessage as error:
        return Reject("illegal_message", str(error))
    return Send((mapped,))
