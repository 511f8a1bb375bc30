"""What a flow decides about a record, and what became of it.

Planned:  Send | Drop | Reject | Failed.    Settled:  Delivered | Drop | Failed | DeadLettered | Discarded | Reject.

`reason` is a word from a bounded set, fit for a metric label; `detail` is for people, and holds no payload. `stage` is how far the record
got, "" where that follows from the rest: see `stage_of`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mqbridge.values import Value

if TYPE_CHECKING:
    from .messages import MqttMessage, Record, RocketMQMessage
    from .rules import Rule

__all__ = [
    "Answer",
    "DeadLettered",
    "Delivered",
    "Discarded",
    "Drop",
    "Failed",
    "Plan",
    "Planned",
    "Reject",
    "Send",
    "Settled",
    "Stage",
    "stage_of",
]


@dataclass(frozen=True, slots=True)
class Send:
    """These messages are to be sent; the record is delivered when all are."""

    messages: "tuple[MqttMessage | RocketMQMessage, ...]"


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing is to be sent, intentionally: the record is acknowledged and counted."""

    reason: str
    detail: str = ""


class Answer(Value):
    """What a broker answered that did not store a message: its response or reason code, None if it did not answer.

    Of RocketMQ, `broker` and `queue_id` are where the message was sent to, as far as that is known.
    """

    code: int | None = None
    broker: str = ""
    queue_id: int | None = None


@dataclass(frozen=True, slots=True)
class _GivenUp:
    reason: str
    detail: str = ""
    stage: str = ""
    answer: Answer | None = None


class Reject(_GivenUp):
    """The record can never succeed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """Everything that the record gave rise to is stored by its broker."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It may succeed later; `retry_after_s` is when to try, by the rule's retry strategy.

    `is_unknown` tells that the answer never came after sending: the message may be stored, at the instance `sink`.
    """

    reason: str
    detail: str = ""
    retry_after_s: float = 0.0
    is_unknown: bool = False
    stage: str = ""
    sink: str = ""
    answer: Answer | None = None


class DeadLettered(_GivenUp):
    """The dead-letter queue holds the record, so the source may forget it."""

    __slots__ = ()


class Discarded(_GivenUp):
    """Given up without a dead-letter queue, because the rule says ErrorsTolerance: ALL."""

    __slots__ = ()


class Stage(Value):
    """One stage of a task and what it made of the record; `verdict` is a few words for people."""

    name: str
    verdict: str


Plan = Send | Drop | Reject | Failed


class Planned(NamedTuple):
    """What `rule` makes of `record`; rule is None where no rule wanted the record, or it could not be read.

    Failed is planned where what a task looks things up in does not answer. `stages` is the way there, if somebody asked for it.
    """

    record: "Record"
    rule: "Rule | None"
    outcome: Plan
    stages: tuple[Stage, ...] = ()


Settled = Delivered | Drop | Reject | Failed | DeadLettered | Discarded


def stage_of(rule: str, outcome: Settled) -> str:
    """Return how far a record got by the rule of that name ("" if none took it): receiving, processing or sending, or a task's stage."""
    if isinstance(outcome, Failed | _GivenUp) and outcome.stage:
        return outcome.stage
    return "sending" if isinstance(outcome, Failed) else "processing" if rule else "receiving"
