"""The rules as flows use them: complete, resolved, indexed."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Union

from mqbridge.values import Value

from .data_rules import InboundRule, OutboundRule, StatusRule
from .faults import Fault
from .instances import Limits, MqttInstance, RocketMQInstance
from .run_options import RunOptions
from .status_rules import StatusRules

if TYPE_CHECKING:
    from .streamings import EventStreaming
    from .tasks import Task, TopicTasks

__all__ = ["Rule", "Rules"]

Rule = Union[OutboundRule, InboundRule, StatusRule, "EventStreaming"]


class Rules(Value):
    """A valid document. Every rule names its instances, and its run options have the document's defaults in them.

    `run_options` are the document's defaults; `digest` tells documents apart; `notices` is what was accepted and ignored; `tasks` are
    the streamings, compiled. Of a document that was loaded for one flow, rules that it has nothing to do with are not here.
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
    streamings: "tuple[EventStreaming, ...]"
    tasks: "tuple[Task, ...]" = ()
    notices: tuple[Fault, ...] = ()
    outbound_by_parent: Mapping[tuple[str, str], OutboundRule] = field(init=False, repr=False)
    inbound_by_topic: Mapping[tuple[str, str], tuple[InboundRule, ...]] = field(init=False, repr=False)
    tasks_by_parent: "Mapping[tuple[str, str], TopicTasks]" = field(init=False, repr=False)
    status_by_client: StatusRules = field(init=False, repr=False, compare=False)

    def of_flow(self, flow: str) -> "Sequence[Rule]":
        """Return the rules that a flow carries messages by."""
        of_flow: Mapping[str, Sequence[Rule]] = {
            "outbound": self.outbound,
            "inbound": self.inbound,
            "status": self.status,
            "outflow": self.streamings,
        }
        return of_flow[flow]

    def __post_init__(self) -> None:
        by_parent = {(str(rule.source.instance_id), rule.source.topic): rule for rule in self.outbound}
        by_topic: dict[tuple[str, str], tuple[InboundRule, ...]] = {}
        for rule in self.inbound:
            place = (str(rule.source.instance_id), rule.source.topic)
            by_topic[place] = (*by_topic.get(place, ()), rule)
        object.__setattr__(self, "tasks_by_parent", _by_parent(self.tasks) if self.tasks else {})
        object.__setattr__(self, "status_by_client", StatusRules(self.status))
        object.__setattr__(self, "outbound_by_parent", by_parent)
        object.__setattr__(self, "inbound_by_topic", by_topic)


def _by_parent(tasks: "tuple[Task, ...]") -> "Mapping[tuple[str, str], TopicTasks]":
    from .tasks import TopicTasks  # here: it brings the event patterns

    of_parent: dict[tuple[str, str], list[Task]] = {}
    for task in tasks:
        source = task.streaming.source.mqtt
        of_parent.setdefault((str(source.instance_id), source.topic), []).append(task)
    return {parent: TopicTasks(tuple(of_one)) for parent, of_one in of_parent.items()}
