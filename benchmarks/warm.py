"""What a warm invocation costs, by the size of its batch: SQS batches through the functions as they ship, into sinks that take all.

Each function has a process of its own, and in it what it has where it is deployed: its own bridge by the rules of a file, a context that
says how much time is left, the line that sums an invocation up, and metrics as EMF. What is not in it: brokers, and the platform's runtime.
`python -m benchmarks.warm` measures this alone; exit code 1 if a bar is missed.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Bar, Result, table
from benchmarks.warm_function import MODULES, SIZES
from devstack.lambda_service.host_build import ROOT

__all__ = ["figures", "measure"]

RECORDS = 20_000  # at most, in each run
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
    "StatusRules": [{"RuleId": "presence", "Source": {"GroupId": "GID_bench"}, "Destination": {"Topic": "bench"}}],
    "EventStreamings": [_TASK],
}


def measure() -> Iterator[Result]:
    """Yield the CPU time of an invocation with one record, and of a record in batches of each size."""
    for name in MODULES:
        before: Result | None = None
        with tempfile.TemporaryDirectory(prefix="warm-") as folder:
            values = figures(name, Path(folder))
        for size in SIZES:
            what = "an invocation with one record" if size == 1 else f"a record in batches of {size:,}"
            bar = Bar(LINEAR if size == SIZES[-1] else None, against=before, is_ceiling=True) if before else None
            before = Result(f"{name}, {what}", "us CPU", values[size], bar)
            yield before


def figures(name: str, folder: Path, *, records: int = RECORDS, runs: int = RUNS) -> dict[int, tuple[float, ...]]:
    """Return the microseconds of a function for a record in each run, by the size of its batch; its log is in the folder."""
    rules, found = folder / "rules.json", folder / "figures.json"
    rules.write_text(json.dumps(_RULES))
    environment = {"PATH": os.environ["PATH"], "MQBRIDGE_RULES": str(rules), "MQBRIDGE_METRICS": "emf"}
    command = [sys.executable, "-m", "benchmarks.warm_function", name, str(found), str(records), str(runs)]
    with (folder / "log").open("wb") as log:
        subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=log)  # noqa: S603 - our own interpreter
    return {size: tuple(values) for size, *values in json.loads(found.read_text())}


def main() -> int:
    """Print the figures."""
    results = list(measure())
    print(table(results), f"\nload {os.getloadavg()[0]:.1f}")
    return 1 if any(result.is_met is False for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
