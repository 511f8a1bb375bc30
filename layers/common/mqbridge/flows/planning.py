"""What all flows share: a plan is one outcome per record and rule, and no record takes its neighbours down."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mqbridge.messages import ClientStatus, MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Plan, Planned, Reject
from mqbridge.rules import Rule, Rules

__all__ = ["Carried", "Flow", "defect", "only_message", "plan_each"]

Message = TypeVar("Message", MqttMessage, RocketMQMessage)

Carried = MqttMessage | RocketMQMessage | ClientStatus
Flow = Callable[[Iterable[Record], Rules, str | None], list[Planned]]


def plan_each(
    records: Iterable[Record],
    plan_message: Callable[[Carried], Iterable[tuple[Rule | None, Plan]]],
) -> list[Planned]:
    """Plan every record by itself; whatever one raises becomes its own Reject."""
    return [planned for record in records for planned in _plan_one(record, plan_message)]


def _plan_one(
    record: Record, plan_message: Callable[[Carried], Iterable[tuple[Rule | None, Plan]]]
) -> Iterator[Planned]:
    if isinstance(record.message, Reject):
        yield Planned(record, None, record.message)
        return
    try:
        outcomes = list(plan_message(record.message))
    except Exception as error:  # a defect of ours: this record's neighbours must not suffer for it
        outcomes = [(None, defect(error))]
    for rule, outcome in outcomes:
        yield Planned(record, rule, outcome)


def defect(error: Exception) -> Reject:
    """Return the outcome of what should not have been raised: what and where, without its text, which may quote the event."""
    *_, place = traceback.extract_tb(error.__traceback__)
    where = f"{place.name} ({place.filename.rpartition('/')[2]}:{place.lineno})"
    return Reject("unexpected_error", f"{type(error).__name__}, raised in {where}")


def only_message(record: Record, kind: type[Message]) -> Message | Reject:
    """Return the record's message if it could be read and is of the kind that the flow carries."""
    message = record.message
    if isinstance(message, Reject | kind):
        return message
    names = {
        MqttMessage: "an MQTT message",
        RocketMQMessage: "a RocketMQ message",
        ClientStatus: "an event of a client coming or going",
    }
    return Reject("wrong_kind", f"expected {names[kind]}, got {names[type(message)]}")
