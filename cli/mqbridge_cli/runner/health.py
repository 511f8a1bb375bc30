"""What the listener answers: /livez, /readyz, /metrics, and the tasks. Is the process alive, are its rules connected, what has it done.

No broker is asked.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from mqbridge_cli.runner.control import CONTROL_HEADER, refusal
from mqbridge_cli.runner.http_server import Answer, Request, json_answer
from mqbridge_cli.runner.reloader import ConfigError
from mqbridge_cli.runner.rule_life import RuleLife
from mqbridge_cli.runner.state import State

__all__ = ["Tasks", "answers", "readiness", "with_config_error"]

_HELP_PARKED = "records that can never be delivered wait at the MQTT broker: give the rule a DeadLetterQueue"
_HELP_BLOCKED = "see docs/tasks.md; once its cause is gone: mqbridge task resume "
COMMANDS = ("pause", "resume")


class Tasks(Protocol):
    """Where tasks are asked about and told what to do."""

    def get(self, name: str | None) -> Answer:
        """Say what a task does; without a name, what all do."""
        ...

    def command(self, name: str, command: str) -> Answer:
        """Carry out a command of COMMANDS; who asks may do so."""
        ...


def readiness(
    config_hash: str, lives: Sequence[RuleLife], config_error: ConfigError | None
) -> tuple[bool, dict[str, Any]]:
    """Return whether every rule that is to run does, and has everything delivered that it could; and the details for people."""
    entries = [_entry(life) for life in lives]
    is_ready = all(_is_well(life) for life in lives)
    document: dict[str, Any] = {
        "status": "ready" if is_ready else "not ready",
        "config_hash": config_hash,
        "rules": entries,
    }
    return is_ready, with_config_error(document, config_error)


def with_config_error(document: dict[str, Any], config_error: ConfigError | None) -> dict[str, Any]:
    """Return the document with why the rules file that is there is not in force, if that is so."""
    if config_error is None:
        return document
    since_s = round(time.time() - config_error.since, 1)
    return {**document, "config_error": {"since_s": since_s, "faults": list(config_error.faults)}}


def _is_well(life: RuleLife) -> bool:
    # A task that somebody paused is as it should be.
    return life.state.snapshot.state in (State.RUNNING, State.PAUSED) and not life.parked


def _entry(life: RuleLife) -> dict[str, Any]:
    snapshot = life.state.snapshot
    entry = {
        "rule": life.name,
        "flow": life.flow,
        "state": snapshot.state.value,
        "since_s": round(time.time() - snapshot.since, 1),
        "detail": snapshot.detail,
        "last_ok_s": None if snapshot.last_ok is None else round(time.time() - snapshot.last_ok, 1),
        "unsettled": life.unsettled,
    }
    if life.parked:
        entry |= {"parked": life.parked, "help": _HELP_PARKED}
    if snapshot.state is State.BLOCKED:
        entry["help"] = _HELP_BLOCKED + life.name
    return entry


def answers(
    readiness: Callable[[], tuple[bool, dict[str, Any]]], metrics: Callable[[], bytes], tasks: Tasks
) -> Callable[[Request], Answer]:
    """Return what answers all requests to a runner."""

    def answer(request: Request) -> Answer:
        way = [part for part in request.path.split("/") if part]
        if request.method == "POST":
            return _commanded(request, way, tasks)
        match way:
            case ["livez"]:
                return json_answer(200, {"status": "alive"})
            case ["readyz"]:
                is_ready, document = readiness()
                return json_answer(200 if is_ready else 503, document)
            case ["metrics"]:
                return Answer(status=200, content_type=CONTENT_TYPE_PLAIN_0_0_4, body=metrics())
            case ["tasks"]:
                return tasks.get(None)
            case ["tasks", name]:
                return tasks.get(name)
        return json_answer(404, {"error": "expected /livez, /readyz, /metrics, /tasks or /tasks/NAME"})

    return answer


def _commanded(request: Request, way: list[str], tasks: Tasks) -> Answer:
    match way:
        case ["tasks", name, command] if command in COMMANDS:
            why = refusal(
                peer=request.peer,
                host=request.headers.get("host"),
                control=request.headers.get(CONTROL_HEADER.lower()),
            )
            return tasks.command(name, command) if why is None else json_answer(403, {"error": why})
    return json_answer(404, {"error": "expected /tasks/NAME/pause or /tasks/NAME/resume"})
