"""Order within a task: what a stage before sending could not carry on is not overtaken by later records of its lane.

The producer keeps the order of what it sends. It cannot know of a record that did not get that far: one that a transform had to leave
for later, or one that its task is to stop at.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mqbridge.delivery import Sinks
from mqbridge.flows import Flow, lane_of
from mqbridge.handler import Bridge
from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Planned, Reject
from mqbridge.rules import Rules
from mqbridge.telemetry import Counters, count_held_back

__all__ = ["HELD_BACK", "TaskBridge", "without_overtaking"]

# The reason of what was not tried, because an earlier record of its lane failed; the producer says so, too.
HELD_BACK = "held_back"


def without_overtaking(plan: Sequence[Planned], *, stops_at_reject: bool) -> tuple[list[Planned], list[Planned]]:
    """Return the plan without the records that would overtake an earlier one of their lane, and what is left out.

    `stops_at_reject` says that a record that can never be delivered holds its lane, too.
    """
    holding = (Failed, Reject) if stops_at_reject else (Failed,)
    held: set[str] = set()
    kept: list[Planned] = []
    left: list[Planned] = []
    for planned in plan:
        lane = lane_of(planned.record)
        if lane in held:
            left.append(planned)
            continue
        kept.append(planned)
        if isinstance(planned.outcome, holding):
            held.add(lane)
    return kept, left


class TaskBridge(Bridge):
    """A bridge for one task of the runner, whose batches keep the order of their lanes."""

    def __init__(self, rules: Rules, sinks: Sinks, counters: Counters, *, stops_at_reject: bool) -> None:
        super().__init__(rules, sinks, counters)
        self._stops_at_reject = stops_at_reject

    def handle(self, name: str, flow: Flow, event: Any, context: Any, *, may_pull: bool = False) -> Any:
        """As any bridge; what was held back is reported as failed, to be tried again at once."""
        left: list[Planned] = []

        def plan(records: Iterable[Record], rules: Rules, only_rule: str | None) -> list[Planned]:
            planned, held_back = without_overtaking(
                flow(records, rules, only_rule), stops_at_reject=self._stops_at_reject
            )
            left.extend(held_back)
            return planned

        response: Mapping[str, Any] = super().handle(name, plan, event, context, may_pull=may_pull)
        count_held_back(self.counters, name, left, HELD_BACK)
        held = [{"itemIdentifier": each.record.id, "reason": HELD_BACK, "retryAfter": 0.0} for each in left]
        return {"batchItemFailures": [*response["batchItemFailures"], *held]}
