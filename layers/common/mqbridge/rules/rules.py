"""The rules as flows use them: complete, resolved, indexed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .data_rules import InboundRule, OutboundRule, StatusRule
from .faults import Fault
from .instances import Limits, MqttInstance, RocketMQInstance
from .run_options import RunOptions
from .streamings import EventStreaming
from .tasks import Task

__all__ = ["Rule", "Rules", "rule_name"]

Rule = OutboundRule | InboundRule | StatusRule | EventStreaming


def rule_name(rule: Rule) -> str:
    """Return a rule's RuleId, or a task's EventStreamingName."""
    return rule.name if isinstance(rule, EventStreaming) else rule.rule_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A valid document. Every rule names its instances, and its run options have the document's defaults in them.

    `run_options` are the document's defaults; `digest` tells documents apart; `notices` is what was accepted and ignored; `tasks` are
    the streamings, compiled.
    """

    name: str
    digest: str
    limits: Limits
    run_options: RunOptions
    mqtt: Mapping[str, MqttInstance]
    rocketmq: Mapping[str, RocketMQInstance]
    outbound: tuple[OutboundRule, ...]
    inbound: tuple[InboundRule, ...]
    status: tuple[StatusRule, ...]
    streamings: tuple[EventStreaming, ...]
    tasks: tuple[Task, ...] = ()
    notices: tuple[Fault, ...] = ()
    outbound_by_parent: Mapping[tuple[str, str], OutboundRule] = field(init=False, repr=False)
    inbound_by_topic: Mapping[tuple[str, str], tuple[InboundRule, ...]] = field(init=False, repr=False)
    tasks_by_parent: Mapping[tuple[str, str], tuple[Task, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_parent = {(str(rule.source.instance_id), rule.source.topic): rule for rule in self.outbound}
        by_topic: dict[tuple[str, str], tuple[InboundRule, ...]] = {}
        for rule in self.inbound:
            place = (str(rule.source.instance_id), rule.source.topic)
            by_topic[place] = (*by_topic.get(place, ()), rule)
        tasks_by_parent: dict[tuple[str, str], tuple[Task, ...]] = {}
        for task in self.tasks:
            place = (str(task.streaming.source.mqtt.instance_id), task.streaming.source.mqtt.topic)
            tasks_by_parent[place] = (*tasks_by_parent.get(place, ()), task)
        object.__setattr__(self, "tasks_by_parent", tasks_by_parent)
        object.__setattr__(self, "outbound_by_parent", by_parent)
        object.__setattr__(self, "inbound_by_topic", by_topic)
