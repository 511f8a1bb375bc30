"""Run one test: its event through the flows that it concerns, planned and delivered by the code that runs, into captured sinks."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mqbridge import flows, triggers
from mqbridge.delivery import ENVELOPE
from mqbridge.flows import Flow
from mqbridge.handler import handle
from mqbridge.messages import ClientStatus, MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Drop, Failed, Planned, Reject
from mqbridge.rules import Rules
from mqbridge.testing import capture

from .document import RuleTest
from .given import event_of

__all__ = ["DeadLetterSeen", "Result", "Unsent", "run_test", "testable"]

Rendered = Mapping[str, Any]
DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSeen:
    """A dead letter: what its envelope says."""

    rule: str | None
    reason: str
    stage: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """A record that a rule neither sent nor dead-lettered, and what it did with it instead."""

    rule: str | None
    fate: str
    reason: str
    detail: str

    @property
    def told(self) -> str:
        """What to say of it."""
        by = f" by {self.rule}" if self.rule else ""
        return f"{self.fate}{by}: {self.reason}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a test's event.

    `dropped` are the intentional ones of those that nothing was sent of, `stuck` the others; `touched` are the rules and tasks that had
    a say in it.
    """

    messages: Sequence[Rendered] = ()
    dead_letters: Sequence[DeadLetterSeen] = ()
    dropped: Sequence[Unsent] = ()
    stuck: Sequence[Unsent] = ()
    touched: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A flow, and what it carries."""

    name: str
    carries: type

    def plan(self, records: Iterable[Record], rules: Rules, only_rule: str | None) -> list[Planned]:
        # The flow of tasks is loaded when it is asked for, and not before: most rules have none.
        plan: Flow = getattr(flows, self.name).plan
        return plan(records, rules, only_rule)


_WAYS = (
    _Way(name="outbound", carries=MqttMessage),
    _Way(name="outflow", carries=MqttMessage),
    _Way(name="inbound", carries=RocketMQMessage),
    _Way(name="status", carries=ClientStatus),
)


def testable(rules: Rules) -> list[str]:
    """Return the names of the rules and tasks that a test can touch."""
    return [rule.rule_id for way in _WAYS for rule in rules.of_flow(way.name)]


def run_test(test: RuleTest, rules: Rules, folder: Path) -> Result:
    """Return what comes of a test's event.

    Raises:
        UnreadableFile: a file that the test names is not there.
        UnreadableEvent: the event is none that a trigger sends.
    """
    event = event_of(test.given, folder)
    plans: list[Planned] = []
    with _silence(), capture(rules) as sent:
        for way in _ways(triggers.read(event).records, rules, test.rule):
            with suppress(
                triggers.Undelivered
            ):  # how a platform that knows only errors hears of what is left; the plan tells
                handle(way.name, _watched(way.plan, test.rule, plans), event, None)
    messages, letters = [], []
    for message in sent:
        envelope = _envelope(message)
        if envelope is None:
            messages.append(message)
        else:
            letters.append(_letter(envelope))
    unsent = [_unsent(planned, rules) for planned in plans]
    return Result(
        messages=messages,
        dead_letters=letters,
        dropped=[each for each in unsent if each is not None and each.fate == DROPPED],
        stuck=[each for each in unsent if each is not None and each.fate != DROPPED],
        touched=frozenset(planned.rule.rule_id for planned in plans if planned.rule is not None),
    )


def _ways(records: Sequence[Record], rules: Rules, only_rule: str | None) -> list[_Way]:
    """Return the flows that carry what an event holds, of those that have rules, or the given rule.

    Where nothing can be read, any flow may have been meant, and one is enough to show what becomes of that.
    """
    used = [way for way in _WAYS if rules.of_flow(way.name)]
    if only_rule is not None:
        return [way for way in used if any(rule.rule_id == only_rule for rule in rules.of_flow(way.name))]
    return [way for way in used if any(isinstance(each.message, way.carries) for each in records)] or used[:1]


def _watched(plan: Flow, only_rule: str | None, plans: list[Planned]) -> Flow:
    def watched(records: Any, rules: Rules, rule_of_batch: str | None) -> list[Planned]:
        planned = plan(records, rules, only_rule or rule_of_batch)
        plans.extend(planned)
        return planned

    return watched


def _unsent(planned: Planned, rules: Rules) -> Unsent | None:
    """Return what became of a record that was neither sent nor dead-lettered; None of any other."""
    outcome = planned.outcome
    options = planned.rule.run_options if planned.rule is not None else rules.run_options
    if isinstance(outcome, Drop):
        fate = DROPPED
    elif isinstance(outcome, Failed):
        fate = "to be tried again"
    elif isinstance(outcome, Reject) and options.dead_letter_queue is None:
        is_discarded = planned.rule is not None and options.errors_tolerance == "ALL"
        fate = "rejected and discarded" if is_discarded else "rejected, without a dead-letter queue,"
    else:
        return None
    name = planned.rule.rule_id if planned.rule is not None else None
    return Unsent(rule=name, fate=fate, reason=outcome.reason, detail=outcome.detail)


def _letter(envelope: Mapping[str, Any]) -> DeadLetterSeen:
    return DeadLetterSeen(
        rule=envelope["rule"], reason=envelope["reason"], stage=envelope["stage"], detail=envelope["detail"]
    )


def _envelope(message: Rendered) -> Mapping[str, Any] | None:
    """Return what a dead letter says of itself, in whichever queue it lies; None for any other message."""
    letter = message.get("detail", {}).get("deadLetter")
    for where in ("properties", "attributes"):
        letter = letter or message.get(where, {}).get(ENVELOPE)
    found: Mapping[str, Any] | None = json.loads(letter) if isinstance(letter, str) else letter
    return found


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the handlers' log out of a test's output: that a record was rejected may be what is expected."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
