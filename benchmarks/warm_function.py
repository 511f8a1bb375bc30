"""`python -m benchmarks.warm_function NAME FIGURES RECORDS RUNS`: one function's environment, warm, of which `warm` is told the CPU's time.

The handler has a bridge of its own, made by MQBRIDGE_RULES, and a context that says how much time is left; what it logs and its metrics go
to standard output. Nothing is replaced but its connections, by some that take all.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mqbridge.handler
from benchmarks.measuring import cpu_and_wall_s
from benchmarks.outbound import sqs_event
from devstack.lambda_service.host_build import ROOT
from mqbridge.delivery import OpenSinks, Sent
from mqbridge.garbage import collect_rarely
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Delivered

__all__ = ["MODULES", "SIZES"]

SIZES = (1, 10, 100, 1_000, 10_000)
INVOCATIONS = 1_000  # at most, in a run of one size
TIMEOUT_S = 30  # as in template.yaml
MODULES: Mapping[str, str] = {
    "outbound": "functions.outbound.app",
    "inbound": "functions.inbound.app",
    "outflow": "functions.outflow.app",
    "status": "functions.outbound.status",
}


class _TakingSinks(OpenSinks):
    """Sinks that take all, at no cost."""

    def send(
        self, kind: str, instance_id: str, messages: Sequence[MqttMessage | RocketMQMessage], deadline: float
    ) -> list[Sent]:
        """Say that every message is delivered."""
        del kind, instance_id, deadline
        return [Delivered()] * len(messages)


class _Context:
    """As Lambda's is, of an invocation that begins now."""

    aws_request_id = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
    function_name = "mqbridge-bench"

    def __init__(self) -> None:
        self._end = time.monotonic() + TIMEOUT_S

    def get_remaining_time_in_millis(self) -> float:
        """Return the time until the platform would end the invocation."""
        return (self._end - time.monotonic()) * 1_000


def _commands(start: int, count: int) -> dict[str, Any]:
    return _like_the_first_of("inbound-sqs", lambda _, body: body, start, count)


def _presences(start: int, count: int) -> dict[str, Any]:
    return _like_the_first_of("status-sqs", _of_a_client, start, count)


def _of_a_client(number: int, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "clientId": f"GID_bench@@@d{number}", "sessionIdentifier": f"{number:032x}"}


def _like_the_first_of(
    name: str, changed: Callable[[int, dict[str, Any]], dict[str, Any]], start: int, count: int
) -> dict[str, Any]:
    record = json.loads((ROOT / "tests" / "events" / f"{name}.json").read_text())["Records"][0]
    body = json.loads(record["body"])
    return {
        "Records": [
            {**record, "messageId": f"m-{number}", "body": json.dumps(changed(number, body))}
            for number in range(start, start + count)
        ]
    }


Handler = Callable[[Any, Any], Any]
Events = Callable[[int, int], dict[str, Any]]
EVENTS: Mapping[str, Events] = {
    "outbound": sqs_event,
    "inbound": _commands,
    "outflow": sqs_event,
    "status": _presences,
}


def main() -> None:
    """Measure, and write the microseconds of a record in each run, by the size of its batch."""
    name, figures, records, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    vars(mqbridge.handler)["OpenSinks"] = _TakingSinks
    handler: Handler = importlib.import_module(MODULES[name]).handler
    events = {
        size: [EVENTS[name](start, size) for start in range(0, min(records, INVOCATIONS * size), size)]
        for size in SIZES
    }
    collect_rarely()  # once more: an environment has one event at a time, and need not walk the others
    values: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(runs + 1):  # in turn, so that a slow moment hits all sizes; the first round warms up
        for size in SIZES:
            values[size].append(_us_per_record(handler, events[size], size))
    figures.write_text(json.dumps([[size, *each[1:]] for size, each in values.items()]))


def _us_per_record(handler: Handler, events: Sequence[Mapping[str, Any]], size: int) -> float:
    def work() -> None:
        for event in events:
            assert handler(event, _Context()) == {"batchItemFailures": []}

    return cpu_and_wall_s(work)[0] / (len(events) * size) * 1e6


if __name__ == "__main__":
    main()
