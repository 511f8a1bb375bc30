"""A JSON array of CloudEvents, as the runner sends it; the response names what failed, and how.

The extension `mqbridgerule` says which rule a batch is meant for: in the runner every rule has its own source. `mqbridgeattempt`
counts deliveries from 1, `mqbridgefirstattempt` is the Unix time of the first in milliseconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mqbridge.messages import ATTEMPT, FIRST_ATTEMPT, Record
from mqbridge.outcomes import Failed, Reject, Settled
from mqbridge.triggers.batch import Batch, Invocation, UnreadableEvent
from mqbridge.triggers.fields import is_cloud_event
from mqbridge.triggers.records import record_of

__all__ = ["CloudEventsBatch", "only_rule_of"]


class CloudEventsBatch:
    """[{"specversion": "1.0", "id", "source", "type", "data", "mqbridgerule"?, "mqbridgeattempt"?}]."""

    name = "cloudevents_batch"

    def matches(self, event: Any) -> bool:
        """Tell whether this is an array of CloudEvents."""
        return isinstance(event, list) and bool(event) and all(map(is_cloud_event, event))

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per CloudEvent; its id is the event's.

        Raises:
            UnreadableEvent: the events are meant for different rules, or one has no id.
        """
        events = invocation.event
        return Batch(trigger=self, records=tuple(map(_record, events)), only_rule=only_rule_of(events))

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Mapping[str, Any]:
        """Return the ids of what failed, in the form of a partial batch response, with what a retry needs to know."""
        del deadline  # nothing is asked of anybody
        return {
            "batchItemFailures": [
                _failure(record, outcome) for record, outcome in settled if isinstance(outcome, Failed | Reject)
            ]
        }


def _failure(record: Record, outcome: Failed | Reject) -> dict[str, Any]:
    failure: dict[str, Any] = {"itemIdentifier": record.id, "reason": outcome.reason, "detail": outcome.detail}
    if isinstance(outcome, Failed):
        failure["retryAfter"] = outcome.retry_after_s
    return failure


def only_rule_of(events: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the one rule that all CloudEvents are meant for, None for all rules.

    Raises:
        UnreadableEvent: they are meant for different rules.
    """
    only = events[0].get("mqbridgerule") if events else None
    if only is not None and not isinstance(only, str):
        raise UnreadableEvent("mqbridgerule: expected the name of a rule")
    if any(each.get("mqbridgerule") != only for each in events):
        raise UnreadableEvent("mqbridgerule: expected one rule for the whole batch, got several")
    return only


def _record(event: Mapping[str, Any]) -> Record:
    event_id = event.get("id")
    if not isinstance(event_id, str) or not event_id:
        raise UnreadableEvent("id: expected the CloudEvent's id, got nothing")
    return record_of(
        event,
        id=event_id,
        attempt=_whole(event.get(ATTEMPT), 1),
        first_attempt_ms=_whole(event.get(FIRST_ATTEMPT), 0),
    )


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53 else default
