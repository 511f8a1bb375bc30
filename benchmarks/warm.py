"""What a warm invocation costs, by the size of its batch: SQS batches through the handlers, into sinks that take all."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.measuring import Bar, Result, cpu_and_wall_s
from benchmarks.outbound import sqs_event
from devstack.lambda_service.host_build import ROOT
from functions.inbound import app as inbound
from functions.outbound import app as outbound
from functions.outflow import app as outflow
from mqbridge.delivery import Outgoing, Sent
from mqbridge.garbage import collect_rarely
from mqbridge.handler import Bridge, using
from mqbridge.outcomes import Delivered
from mqbridge.rules import load

__all__ = ["measure"]

SIZES = (1, 10, 100, 1_000, 10_000)
RECORDS = 20_000  # in each run, whatever the size of its batches
RUNS = 5
# A record of the largest batch may cost so much more than one of a tenth of it; what grows as the square would cost ten times as much.
LINEAR = 1.25

_TASK = {
    "EventStreamingName": "bench",
    "Source": {"SourceMQTTParameters": {"Topic": "devices"}},
    "FilterPattern": {"data": {"body": {"device": [{"exists": True}]}}},
    "Sink": {
        "SinkRocketMQParameters": {
            "Topic": {"Form": "CONSTANT", "Value": "bench"},
            "Body": {"Form": "JSONPATH", "Value": "$.data.body.values"},
        }
    },
}
_RULES = {
    "Instances": {
        "Mqtt": [{"InstanceId": "mqtt-bench", "Endpoint": "mqtt://127.0.0.1:1883"}],
        "RocketMQ": [{"InstanceId": "rmq-bench", "NameServers": ["127.0.0.1:9876"]}],
    },
    "OutboundRules": [{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "bench"}}],
    "InboundRules": [{"RuleId": "into", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
    "EventStreamings": [_TASK],
}


class _Taking:
    """Sinks that take all, at no cost."""

    def send(self, kind: str, instance_id: str, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Say that every message is delivered."""
        del kind, instance_id, deadline
        return [Delivered()] * len(messages)


def _commands(start: int, count: int) -> dict[str, Any]:
    template = json.loads((ROOT / "tests" / "events" / "inbound-sqs.json").read_text())["Records"][0]
    records = [{**template, "messageId": f"m-{number}"} for number in range(start, start + count)]
    return {"Records": records}


Handler = Callable[[Any, Any], Any]
HANDLERS: Mapping[str, tuple[Handler, Callable[[int, int], dict[str, Any]]]] = {
    "outbound": (outbound.handler, sqs_event),
    "inbound": (inbound.handler, _commands),
    "outflow": (outflow.handler, sqs_event),
}


def measure() -> Iterator[Result]:
    """Yield the CPU time of an invocation with one record, and of a record in batches of each size."""
    collect_rarely()  # as an execution environment does
    for name, (handler, events_of) in HANDLERS.items():
        events = {size: [events_of(start, size) for start in range(0, RECORDS, size)] for size in SIZES}
        values: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(RUNS + 1):  # in turn, so that a slow moment hits all sizes; the first round warms up
            for size in SIZES:
                values[size].append(_us_per_record(handler, events[size], size))
        before: Result | None = None
        for size in SIZES:
            what = "an invocation with one record" if size == 1 else f"a record in batches of {size:,}"
            bar = Bar(LINEAR if size == SIZES[-1] else None, against=before, is_ceiling=True) if before else None
            before = Result(f"{name}, {what}", "us CPU", tuple(values[size][1:]), bar)
            yield before


def _us_per_record(handler: Handler, events: Sequence[Mapping[str, Any]], size: int) -> float:
    def work() -> None:
        for event in events:
            assert handler(event, None) == {"batchItemFailures": []}

    with using(Bridge(load(_RULES), _Taking())):
        return cpu_and_wall_s(work)[0] / (len(events) * size) * 1e6


if __name__ == "__main__":
    from benchmarks.measuring import table

    print(table(list(measure())), f"\nload {os.getloadavg()[0]:.1f}")
