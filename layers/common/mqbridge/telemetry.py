"""What the bridge says about itself: counters, kept as plain numbers, each rule's last error, and the logger.

The counters are one registry with two outputs: the runner shows them to Prometheus, functions write them as EMF. Names and labels
are bounded: no client id, topic or message id is ever a label.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mqbridge.delivery import Settlement
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled
from mqbridge.rules import rule_name

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

__all__ = ["COUNTERS", "OUTCOME_WORDS", "Counters", "LastError", "logger", "report"]

SERVICE = "mqbridge"

Labels = tuple[tuple[str, str], ...]

# Name: (label names, help). All that there is; a name that is not here cannot be counted.
COUNTERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "mqbridge_events_received_total": (("flow", "trigger"), "Records decoded from platform events."),
    "mqbridge_events_unmatched_total": (("flow",), "Records that no rule wanted."),
    "mqbridge_records_total": (("flow", "rule", "outcome"), "Records by rule and outcome."),
    "mqbridge_dropped_total": (("rule", "reason", "intentional"), "Records dropped or discarded, never to be retried."),
    "mqbridge_errors_total": (("rule", "stage", "error_type"), "Failures and rejects by reason."),
    "mqbridge_unknown_outcome_total": (("rule",), "Sends whose answer never came; a sub-count of failed."),
    "mqbridge_config_reloads_total": (
        ("outcome",),
        "Changed rules: put in force (ok), refused, or not to be had (failed).",
    ),
}

OUTCOME_WORDS: Mapping[type, str] = {
    Delivered: "delivered",
    Drop: "dropped",
    DeadLettered: "dead_lettered",
    Discarded: "discarded",
    Failed: "failed",
    Reject: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """What last went wrong with a record of a rule: which, how far it had got, why, and when (Unix seconds). Holds no payload."""

    record: str
    outcome: str
    stage: str
    reason: str
    detail: str
    at: float


class Counters:
    """Counters by name and labels, and what last went wrong by flow and rule; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], float] = {}
        self._last_errors: dict[tuple[str, str], LastError] = {}

    def add(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Count; all labels of the name must be given."""
        names, _ = COUNTERS[name]
        key = (name, tuple((each, labels[each]) for each in names))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def snapshot(self) -> dict[tuple[str, Labels], float]:
        """Return a copy of all values."""
        with self._lock:
            return dict(self._values)

    def note_error(self, flow: str, rule: str, error: LastError) -> None:
        """Keep what last went wrong with a rule."""
        self._last_errors[flow, rule] = error

    def last_error(self, flow: str, rule: str) -> LastError | None:
        """Return what last went wrong with a rule, None if nothing has since the process started."""
        return self._last_errors.get((flow, rule))


def report(counters: Counters, flow: str, settlements: Iterable[Settlement]) -> dict[str, int]:
    """Count every settlement by rule and outcome, log each once with its record's id, and return the totals by outcome.

    What went as it should is logged at DEBUG only: normal operation is silent.
    """
    totals: dict[tuple[str, str], int] = {}
    worst: dict[str, Settlement] = {}
    for settlement in settlements:
        outcome, rule = settlement.outcome, settlement.rule
        name = "" if rule is None else rule_name(rule)
        if rule is None and isinstance(outcome, Drop):
            counters.add("mqbridge_events_unmatched_total", flow=flow)
        else:
            word = OUTCOME_WORDS[type(outcome)]
            totals[name, word] = totals.get((name, word), 0) + 1
            _count_reason(counters, name, outcome)
            # Of one batch the first that is given up, or else the first that failed: what comes behind is often its consequence.
            if _gravity(outcome) > (_gravity(worst[name].outcome) if name in worst else 0):
                worst[name] = settlement
        _log(name, settlement.record.id, settlement.record.attempt, outcome)
    for (name, word), amount in totals.items():
        counters.add("mqbridge_records_total", amount, flow=flow, rule=name, outcome=word)
    for name, settlement in worst.items():
        counters.note_error(flow, name, _last_error(name, settlement))
    by_word: dict[str, int] = {}
    for (_, word), amount in totals.items():
        by_word[word] = by_word.get(word, 0) + amount
    return by_word


def _gravity(outcome: Settled) -> int:
    if isinstance(outcome, Delivered | Drop):
        return 0
    return 1 if isinstance(outcome, Failed) else 2


def _last_error(rule: str, settlement: Settlement) -> LastError:
    outcome = settlement.outcome
    return LastError(
        record=settlement.record.id,
        outcome=OUTCOME_WORDS[type(outcome)],
        stage=_stage(rule, outcome),
        reason="" if isinstance(outcome, Delivered) else outcome.reason,
        detail="" if isinstance(outcome, Delivered) else outcome.detail,
        at=time.time(),
    )


def _count_reason(counters: Counters, rule: str, outcome: Settled) -> None:
    if isinstance(outcome, Delivered):
        return
    if isinstance(outcome, Drop | Discarded):
        intentional = "true" if isinstance(outcome, Drop) else "false"
        counters.add("mqbridge_dropped_total", rule=rule, reason=outcome.reason, intentional=intentional)
    if not isinstance(outcome, Drop):
        counters.add("mqbridge_errors_total", rule=rule, stage=_stage(rule, outcome), error_type=outcome.reason)
    if isinstance(outcome, Failed) and outcome.is_unknown:
        counters.add("mqbridge_unknown_outcome_total", rule=rule)


def _log(rule: str, record_id: str, attempt: int, outcome: Settled) -> None:
    level = _LEVELS[type(outcome)]
    if level < logger().log_level:
        return
    word = OUTCOME_WORDS[type(outcome)]
    event_id = record_id.encode("utf-8", "backslashreplace").decode()  # a lone surrogate would lose the whole line
    fields: dict[str, object] = {"rule": rule, "outcome": word, "event_id": event_id, "attempt": attempt}
    if not isinstance(outcome, Delivered):
        fields |= {"error_type": outcome.reason, "detail": outcome.detail}
    if not isinstance(outcome, Delivered | Drop):
        fields |= {"stage": _stage(rule, outcome), "retriable": isinstance(outcome, Failed)}
    say = {logging.DEBUG: logger().debug, logging.WARNING: logger().warning, logging.ERROR: logger().error}[level]
    say(f"record {word.replace('_', ' ')}", extra=fields)


def _stage(rule: str, outcome: Settled) -> str:
    if isinstance(outcome, Failed | Reject | DeadLettered | Discarded) and outcome.stage:
        return outcome.stage
    return "sending" if isinstance(outcome, Failed) else "processing" if rule else "receiving"


_LEVELS: Mapping[type, int] = {
    Delivered: logging.DEBUG,
    Drop: logging.DEBUG,
    Failed: logging.WARNING,
    DeadLettered: logging.WARNING,
    Discarded: logging.ERROR,
    Reject: logging.ERROR,
}

_logger: "Logger | None" = None


def logger() -> "Logger":
    """Return the Powertools logger, made when first needed."""
    global _logger
    if _logger is None:
        from aws_lambda_powertools import Logger

        _logger = Logger(service=SERVICE)
    return _logger
