"""Data inbound rules: a RocketMQ topic's messages are pushed to MQTT clients under a parent topic. Pure."""

from collections.abc import Iterable

from mqbridge.aws_iot import limit_broken
from mqbridge.mapping import comes_from, to_mqtt
from mqbridge.messages import Record, RocketMQMessage
from mqbridge.outcomes import Drop, Plan, Planned, Reject, Send
from mqbridge.rules import InboundRule, Rule, Rules

from .instances import named_or_only
from .planning import Carried, plan_each

__all__ = ["plan"]


def plan(records: Iterable[Record], rules: Rules, only_rule: str | None = None) -> list[Planned]:
    """Return what each inbound rule of a record's topic makes of it; with `only_rule`, as if there were no other."""

    def plan_message(message: Carried) -> Iterable[tuple[Rule | None, Plan]]:
        if not isinstance(message, RocketMQMessage):
            return [(None, Reject("wrong_kind", "expected a RocketMQ message, got something else"))]
        instance_id = named_or_only(message.instance_id, rules.rocketmq, "RocketMQ")
        if isinstance(instance_id, Reject):
            return [(None, instance_id)]
        of_topic = rules.inbound_by_topic.get((instance_id, message.topic), ())
        wanted = [rule for rule in of_topic if only_rule in (None, rule.rule_id)]
        if not wanted:
            return [(None, Drop("no_rule", f"no inbound rule for topic {message.topic!r} of {instance_id}"))]
        return [(rule, _plan_by(rule, message, rules)) for rule in wanted]

    return plan_each(records, plan_message)


def _plan_by(rule: InboundRule, message: RocketMQMessage, rules: Rules) -> Plan:
    if rule.status == "Disabled":
        return Drop("rule_disabled")
    instance_id, parent = str(rule.destination.instance_id), rule.destination.topic
    if comes_from(message, instance_id=instance_id, parent=parent):
        return Drop("loop", f"the message came from {instance_id}/{parent} by an outbound rule")
    instance = rules.mqtt[instance_id]
    mapped = to_mqtt(
        message,
        instance_id=instance_id,
        parent=parent,
        protocol_version=instance.protocol_level,
        max_topic_length=rules.limits.max_topic_length,
    )
    if isinstance(mapped, Reject):
        return mapped
    broken = limit_broken(mapped) if instance.is_aws_iot else None
    return broken or Send((mapped,))
