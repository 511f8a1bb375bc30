"""Client status notification rules: clients of a group coming and going become RocketMQ messages. Pure.

What arrives is an event of a broker about a client, by itself or as the payload of a message. A message is as ApsaraMQ sends it: its tag
is the kind of event (reference of the managed rules: consumers select by tag), its body the documented JSON. A client's messages share a
sharding key, so that they keep their order.
"""

from collections.abc import Iterable

from mqbridge.mapping import part_id
from mqbridge.messages import ClientStatus, MqttMessage, Record, RocketMQMessage, StatusNotice
from mqbridge.outcomes import Drop, Plan, Planned, Reject, Send
from mqbridge.presence import read_payload, write_notice
from mqbridge.rules import Rule, Rules, StatusRule
from rocketmq_remoting import IllegalMessage, check_message

from .instances import named_or_only
from .planning import Carried, plan_each

__all__ = ["plan"]


def plan(records: Iterable[Record], rules: Rules, only_rule: str | None = None) -> list[Planned]:
    """Return what each record's status rule makes of it; with `only_rule`, as if there were no other."""

    def plan_message(message: Carried) -> Iterable[tuple[Rule | None, Plan]]:
        status = _status_of(message)
        if status.fault is not None and not status.client_id:
            return [(None, status.fault)]
        instance_id = named_or_only(status.instance_id, rules.mqtt, "MQTT")
        if isinstance(instance_id, Reject):
            return [(None, instance_id)]
        rule = rules.status_by_client.rule_for(instance_id, status.client_id)
        if rule is None or (only_rule is not None and rule.rule_id != only_rule):
            return [(None, Drop("no_rule", f"no status rule for client {status.client_id[:64]!r} of {instance_id}"))]
        return [(rule, _plan_by(rule, status))]

    return plan_each(records, plan_message)


def _status_of(message: Carried) -> ClientStatus:
    if isinstance(message, ClientStatus):
        return message
    if isinstance(message, MqttMessage):
        return read_payload(
            message.payload, topic=message.topic, instance_id=message.instance_id, time_ms=message.time_ms
        )
    # A status topic of ApsaraMQ. It names the RocketMQ instance, not the MQTT one.
    return read_payload(message.body, time_ms=message.time_ms)


def _plan_by(rule: StatusRule, status: ClientStatus) -> Plan:
    if rule.status == "Disabled":
        return Drop("rule_disabled")
    if status.fault is not None:
        return status.fault
    if not status.notices:
        return Drop("foreign_event_type", f"{status.event_type} is neither a beginning nor an end of a connection")
    messages = tuple(_message(rule, notice) for notice in status.notices)
    try:
        for message in messages:
            check_message(message)
    except IllegalMessage as error:
        return Reject("illegal_message", str(error))
    return Send(messages)


def _message(rule: StatusRule, notice: StatusNotice) -> RocketMQMessage:
    destination = rule.destination
    return RocketMQMessage(
        instance_id=str(destination.instance_id),
        topic=destination.topic,
        body=write_notice(notice),
        tags=notice.event_type,
        keys=notice.client_id,
        sharding_key=notice.client_id,
        # The event may come twice, and under another id: what it says is what identifies it.
        message_id=part_id(
            f"{notice.client_id}\0{notice.channel_id}",
            notice.time_ms,
            rule.rule_id,
            destination.topic,
            notice.event_type,
        ),
        time_ms=notice.time_ms,
    )
