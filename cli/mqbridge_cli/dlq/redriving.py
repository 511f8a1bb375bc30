"""Send the event of a dead letter the way it went before: trigger, flow, delivery, for the rule alone that could not deliver it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mqbridge import flows, triggers
from mqbridge.delivery import Delivery, Redrive, Sinks, settled_records
from mqbridge.flows import Flow
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Planned, Reject, Settled
from mqbridge.rules import EventStreaming, InboundRule, OutboundRule, Rule, Rules, StatusRule
from mqbridge_cli.dlq.letters import StoredLetter
from rocketmq_remoting import (
    BrokerBusy,
    BrokerRefused,
    ConnectFailed,
    HeldBack,
    OutcomeUnknown,
    ProtocolError,
    RouteNotFound,
    TopicNotFound,
    TransportError,
)

__all__ = ["NotRedrivable", "Result", "plan", "send", "why_not_again"]

SEND_TIMEOUT_S = 10.0  # as a handler has

# Which flow a kind of rule has; a new kind is one more line. Asked for when needed, because some load much.
FLOWS: Mapping[type, Callable[[], Flow]] = {
    OutboundRule: lambda: flows.outbound.plan,
    InboundRule: lambda: flows.inbound.plan,
    StatusRule: lambda: flows.status.plan,
    EventStreaming: lambda: flows.outflow.plan,
}

# Reasons that may have passed by themselves: the classes of Failed. Whatever else fails after a redrive fails for good.
_RETRIABLE_ERRORS = (
    BrokerBusy,
    BrokerRefused,
    ConnectFailed,
    HeldBack,
    OutcomeUnknown,
    ProtocolError,
    RouteNotFound,
    TopicNotFound,
    TransportError,
)
TRANSIENT = frozenset(
    {error.name for error in _RETRIABLE_ERRORS}
    | {"cannot_connect", "connection_lost", "queue_failed", "dead_letter_failed"}
)

WORDS: Mapping[type, str] = {
    Delivered: "delivered",
    DeadLettered: "dead_lettered",
    Drop: "dropped",
    Discarded: "discarded",
    Failed: "failed",
    Reject: "rejected",
}


class NotRedrivable(Exception):
    """Why a letter cannot be sent on its way again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a letter: `outcome` is one of WORDS or "skipped"; `is_done` tells that the letter itself is needed no more."""

    outcome: str
    detail: str = ""
    is_done: bool = False


def why_not_again(letter: StoredLetter, *, force: bool) -> str:
    """Return why a letter that failed after an earlier redrive is left alone, "" if it is not."""
    if force or not letter.redrive_count or letter.reason in TRANSIENT:
        return ""
    times = "once" if letter.redrive_count == 1 else f"{letter.redrive_count} times"
    return f"redriven {times} and failed for good ({letter.reason}); --force sends it all the same"


def plan(letter: StoredLetter, rules: Rules) -> list[Planned]:
    """Return what the letter's rule makes of its event now, as if it had come for the first time.

    Raises:
        NotRedrivable: there is no such rule, or no whole event.
    """
    rule = _rule_of(letter, rules)
    kind = FLOWS[type(rule)]
    if letter.is_truncated:
        raise NotRedrivable("the event was too large for the queue, and only its head is here")
    try:
        batch = triggers.read(_as_batch(letter.event, rule.rule_id))
    except triggers.UnreadableEvent as error:
        raise NotRedrivable(str(error)) from error
    # Attempts of an earlier life do not count against the rule's retries.
    records = [replace(record, attempt=1, first_attempt_ms=0) for record in batch.records]
    return kind()(records, rules, rule.rule_id)


def send(letter: StoredLetter, planned: list[Planned], rules: Rules, sinks: Sinks) -> Result:
    """Carry out the plan of a letter's event; what fails again is dead-lettered anew and knows what it comes from."""
    redrive = Redrive(of=letter.id, count=letter.redrive_count + 1, first_failure=letter.first_failure)
    settlements = Delivery(sinks, rules.run_options, redrive=redrive).carry_out(
        planned, time.monotonic() + SEND_TIMEOUT_S
    )
    outcomes = [outcome for _, outcome in settled_records(settlements)]
    if len(outcomes) != 1:
        return Result("failed", f"expected one event in the letter, got {len(outcomes)}")
    return _result(outcomes[0])


def _result(outcome: Settled) -> Result:
    # A rule that drops the event now did not deliver it: what becomes of the letter is for people to say.
    detail = "" if isinstance(outcome, Delivered) else ": ".join(filter(None, (outcome.reason, outcome.detail)))
    return Result(WORDS[type(outcome)], detail, isinstance(outcome, Delivered | DeadLettered))


def _rule_of(letter: StoredLetter, rules: Rules) -> Rule:
    if not letter.envelope:
        raise NotRedrivable("it has no envelope, so that nothing tells which rule it was for")
    if letter.rule is None:
        raise NotRedrivable("no rule had taken the event yet, so that nothing tells which it was for")
    every: tuple[Rule, ...] = (*rules.outbound, *rules.inbound, *rules.status, *rules.streamings)
    found = [rule for rule in every if rule.rule_id == letter.rule]
    if len(found) != 1:
        raise NotRedrivable(f"expected one rule or task {letter.rule!r} in the rules, got {len(found) or 'none'}")
    return found[0]


def _as_batch(text: str, rule: str) -> Any:
    """Return the invocation that would bring the one event of a letter."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotRedrivable(f"the event is not JSON: {error}") from error
    if not isinstance(event, Mapping):
        raise NotRedrivable(f"expected an event as a JSON object, got a {type(event).__name__}")
    if event.get("eventSource") == "aws:sqs":
        # The receipt handle is of a delivery that is long over.
        return {"Records": [{key: value for key, value in event.items() if key != "receiptHandle"}]}
    if "specversion" in event:
        return [{**event, "mqbridgerule": rule}]
    return event  # triggers that bring one event alone
