"""Order within a task: what could not be planned is not overtaken by later records of its lane. Pure.

The producer keeps the order of what it sends. It cannot know of a record that did not get that far: one that a transform had to leave
for later, or one that its task is to stop at.
"""

from collections.abc import Iterable

from mqbridge.messages import MqttMessage, Record
from mqbridge.outcomes import Failed, Planned, Reject
from mqbridge.rules import Rules

from .planning import Flow

__all__ = ["in_lanes", "lane_of"]

_HELD_BACK = Failed("held_back", "an earlier record of its lane could not be carried on", stage="processing")


def in_lanes(flow: Flow) -> Flow:
    """Return `flow` for one invocation, whose records may be planned one at a time: of each lane in order, if they are for one rule.

    Only the runner, whose sources keep order, names the rule that a batch is for.
    """
    held: set[str] = set()

    def plan(records: Iterable[Record], rules: Rules, only_rule: str | None) -> list[Planned]:
        planned = flow(records, rules, only_rule)
        return planned if only_rule is None else [_behind(held, each) for each in planned]

    return plan


def lane_of(record: Record) -> str:
    """Return the lane of a record as its source says it of the same message."""
    message = record.message
    return message.client_id or message.topic if isinstance(message, MqttMessage) else record.id


def _behind(held: set[str], planned: Planned) -> Planned:
    lane = lane_of(planned.record)
    if lane in held:
        return planned._replace(outcome=_HELD_BACK)
    if isinstance(planned.outcome, Failed) or (isinstance(planned.outcome, Reject) and _stops(planned)):
        held.add(lane)
    return planned


def _stops(planned: Planned) -> bool:
    options = None if planned.rule is None else planned.rule.run_options
    return options is not None and options.errors_tolerance != "ALL" and options.dead_letter_queue is None
