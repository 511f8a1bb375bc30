"""What the runner says of a task: its status in the managed service's words, what it has done, what is under way, what went wrong."""

from datetime import UTC, datetime
from typing import Any

from mqbridge.rules import EventStreaming
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.holds import BLOCKED
from mqbridge_cli.runner.rule_life import RuleLife
from mqbridge_cli.runner.state import Snapshot, State

__all__ = ["FORMAT_VERSION", "status_word", "task_entry"]

FORMAT_VERSION = "1.0"

# The words of GetEventStreaming. A blocked task is READY there: it could run, and does not.
_WORDS = {
    State.STARTING: "STARTING",
    State.STARTING_FAILED: "STARTING_FAILED",
    State.RUNNING: "RUNNING",
    State.TAKEN_OVER: "RUNNING_FAILED",
    State.BLOCKED: "READY",
    State.PAUSED: "PAUSED",
    State.DRAINING: "RUNNING",
    State.STOPPED: "READY",
}


def status_word(snapshot: Snapshot) -> str:
    """Return a task's status as the managed service would say it."""
    if snapshot.state is State.RECONNECTING:
        return "STARTING" if snapshot.last_ok is None else "RUNNING_FAILED"
    return _WORDS[snapshot.state]


def task_entry(life: RuleLife, counters: Counters, config_hash: str) -> dict[str, Any]:
    """Return a task as JSON shows it. Counters are those of this process; null is what a function knows that carries the task out."""
    snapshot, hold, error, oldest_s = life.state.snapshot, life.hold, life.last_error, life.oldest_age_s()
    entry: dict[str, Any] = {
        "name": life.name,
        "status": status_word(snapshot),
        "reason": snapshot.detail,
        "since": _utc(snapshot.since),
        "config_hash": config_hash,
        **_places(life.part.rule),
        "counters": {"received": life.received, **_outcomes(life, counters)},
        "lag": {"unsettled": life.unsettled, "oldest_s": None if oldest_s is None else round(oldest_s, 1)},
        "blocked": None,
        "last_error": None,
    }
    if hold is not None and hold.kind == BLOCKED:
        entry["blocked"] = {
            "record": hold.record,
            "stage": hold.stage,
            "reason": hold.reason,
            "detail": hold.detail,
            "since": _utc(hold.since),
        }
    if error is not None:
        entry["last_error"] = {
            "record": error.record,
            "outcome": error.outcome,
            "stage": error.stage,
            "reason": error.reason,
            "detail": error.detail,
            "at": _utc(error.at),
        }
    return entry


def _outcomes(life: RuleLife, counters: Counters) -> dict[str, int | None]:
    words: tuple[str, ...] = ("delivered", "dropped", "dead_lettered", "discarded", "failed")
    known = ("settled", "failed") if life.is_carried_out_elsewhere else words
    values = counters.snapshot()
    labels = (("flow", life.flow), ("rule", life.name))
    counted = {word: int(values.get(("mqbridge_records_total", (*labels, ("outcome", word))), 0)) for word in known}
    return {**dict.fromkeys(words), **counted}


def _places(rule: object) -> dict[str, Any]:
    if not isinstance(rule, EventStreaming):
        return {}
    source, sink = rule.source.mqtt, rule.sink.rocketmq
    return {
        "description": rule.description,
        "source": {"instance": source.instance_id, "topic": source.topic},
        "sink": {
            "instance": sink.instance_id.value if sink.instance_id is not None else None,
            "topic": sink.topic.value,
        },
    }


def _utc(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
