"""The log: Powertools' logger, and the line of a record that did not go as it should.

The fields are Powertools' own and those of docs/metrics.md. What went well is at DEBUG only: normal operation is silent. The same error
of a rule is logged once in 10 seconds, and says then how often it was not (`repeated`); at DEBUG all are. No field holds a payload.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mqbridge.messages import Record
from mqbridge.outcomes import Answer, DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled, stage_of

from .message_fields import message_fields, written
from .repeats import Repeats

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

__all__ = ["OUTCOME_WORDS", "log_settlement", "logger", "logs_everything", "service"]

OUTCOME_WORDS: Mapping[type, str] = {
    Delivered: "delivered",
    Drop: "dropped",
    DeadLettered: "dead_lettered",
    Discarded: "discarded",
    Failed: "failed",
    Reject: "failed",
}

_LEVELS: Mapping[type, int] = {
    Delivered: logging.DEBUG,
    Drop: logging.DEBUG,
    Failed: logging.WARNING,
    DeadLettered: logging.WARNING,
    Discarded: logging.ERROR,
    Reject: logging.ERROR,
}

_logger: "Logger | None" = None


def service() -> str:
    """Return what logs and metrics call this deployment: Powertools' own setting, by default mqbridge."""
    return os.environ.get("POWERTOOLS_SERVICE_NAME") or "mqbridge"


def logger() -> "Logger":
    """Return the Powertools logger, made when first needed."""
    global _logger
    if _logger is None:
        from aws_lambda_powertools import Logger

        _logger = Logger(service=service())
    return _logger


def logs_everything() -> bool:
    """Tell whether what went well is logged as well."""
    return logger().log_level <= logging.DEBUG


def log_settlement(repeats: Repeats, function: str, trigger: str, rule: str, record: Record, outcome: Settled) -> None:
    """Log what became of a record by a rule, unless the level or its being a repetition forbids it."""
    level = _LEVELS[type(outcome)]
    log_level = logger().log_level
    if level < log_level:
        return
    word, repeated = OUTCOME_WORDS[type(outcome)], None
    if level > logging.DEBUG and not isinstance(outcome, Delivered):
        repeated = repeats.unsaid((function, rule, word, stage_of(rule, outcome), outcome.reason))
        level = logging.DEBUG if repeated is None else level
        if level < log_level:
            return
    fields: dict[str, object] = {"rule": rule, "flow": function, "trigger": trigger, "outcome": word}
    fields |= {"event_id": written(record.id), "attempt": record.attempt}
    if not isinstance(outcome, Delivered | Drop) and outcome.answer is not None:
        fields |= _of_answer(outcome.answer)
    fields |= message_fields(record)
    if not isinstance(outcome, Delivered):
        fields |= {"error_type": outcome.reason, "detail": outcome.detail}
    if not isinstance(outcome, Delivered | Drop):
        fields |= {"stage": stage_of(rule, outcome), "retriable": isinstance(outcome, Failed)}
    if repeated:
        fields["repeated"] = repeated
    say = {logging.DEBUG: logger().debug, logging.WARNING: logger().warning, logging.ERROR: logger().error}[level]
    say(f"record {word.replace('_', ' ')}", extra=fields)


def _of_answer(answer: Answer) -> dict[str, object]:
    fields: dict[str, object] = {"error_code": answer.code, "broker": answer.broker, "queue_id": answer.queue_id}
    return {name: value for name, value in fields.items() if value not in (None, "")}
