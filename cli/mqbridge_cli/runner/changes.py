"""What a changed rules document means for what is running: which rules go on, which are stopped, which are started. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mqbridge.rules import (
    EventStreaming,
    InboundRule,
    Limits,
    MqttInstance,
    OutboundRule,
    RocketMQInstance,
    Rules,
    RunOptions,
    StatusRule,
)

__all__ = ["Changes", "Key", "Part", "RunnableRule", "changes", "flow_of", "parts"]

RunnableRule = OutboundRule | InboundRule | StatusRule | EventStreaming
# Flow and name: a task may be named as a data rule is.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A rule with all of the document that it runs by. Two that are equal run alike."""

    rule: RunnableRule
    instances: tuple[MqttInstance | RocketMQInstance, ...]
    limits: Limits
    defaults: RunOptions

    @property
    def key(self) -> Key:
        """What tells the rule from all others."""
        return flow_of(self.rule), self.rule.rule_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The rules of two documents, by what becomes of them."""

    kept: tuple[Key, ...]
    changed: tuple[Key, ...]
    added: tuple[Key, ...]
    removed: tuple[Key, ...]


def flow_of(rule: RunnableRule) -> str:
    """Return the name of the flow that carries a rule."""
    if isinstance(rule, EventStreaming):
        return "outflow"
    if isinstance(rule, StatusRule):
        return "status"
    return "outbound" if isinstance(rule, OutboundRule) else "inbound"


def parts(rules: Rules) -> dict[Key, Part]:
    """Return what of the document runs: data rules that are enabled, and all tasks, since one that is paused may be asked about.

    A status rule runs where its MQTT instance says on which topics the broker publishes presence.
    """
    status = [rule for rule in rules.status if rules.mqtt[str(rule.source.instance_id)].presence_from is not None]
    data_rules: list[RunnableRule] = [*rules.outbound, *rules.inbound, *status]
    enabled = [rule for rule in data_rules if rule.status == "Enabled"]
    found = [
        Part(
            rule=rule,
            instances=tuple(_instances(rule, rules)),
            limits=rules.limits,
            defaults=rules.run_options,
        )
        for rule in (*enabled, *rules.streamings)
    ]
    return {part.key: part for part in found}


def changes(old: Mapping[Key, Part], new: Mapping[Key, Part]) -> Changes:
    """Compare two documents' parts."""
    both = [key for key in new if key in old]
    return Changes(
        kept=tuple(key for key in both if old[key] == new[key]),
        changed=tuple(key for key in both if old[key] != new[key]),
        added=tuple(key for key in new if key not in old),
        removed=tuple(key for key in old if key not in new),
    )


def _instances(rule: RunnableRule, rules: Rules) -> Iterator[Any]:
    """Yield the brokers that a rule speaks to: its source's, its sink's, its dead-letter queue's."""
    if isinstance(rule, EventStreaming):
        yield rules.mqtt[str(rule.source.mqtt.instance_id)]
        sink = rule.sink.rocketmq.instance_id
        yield rules.rocketmq[str(sink.value if sink is not None else "")]
    elif isinstance(rule, OutboundRule | StatusRule):
        yield rules.mqtt[str(rule.source.instance_id)]
        yield rules.rocketmq[str(rule.destination.instance_id)]
    else:
        yield rules.rocketmq[str(rule.source.instance_id)]
        yield rules.mqtt[str(rule.destination.instance_id)]
    queue = rule.run_options.dead_letter_queue
    if queue is not None and queue.kind == "rocketmq":
        yield rules.rocketmq[queue.instance_and_topic[0]]
