"""How long a cold start takes: `python -m benchmarks.cold_start [RUNS]`. Exit code 1 if a bar is missed.

What is measured is the built artefact as it ships, with its bytecode and config/rules.yaml, in awslambdaric as on Lambda: from the start
of the process until the first record is planned, rules loaded and all. It is compared with a handler that imports the Powertools logger
and returns, measured alike. The machine's Python is used, not Lambda's; on Lambda everything takes longer, and the ratio is what carries
over.

A cold start is computing, and a small function has a part of a CPU: the CPU's time is what Lambda makes longer, and on a busy machine it
is steady where the clock's is not. So it is what the bars are for; the clock's is shown beside.
"""

import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import Bar, Result, table
from devstack.lambda_service import Function, HostBuild
from devstack.lambda_service.__main__ import DIRECTORY
from devstack.lambda_service.environment import Environment
from devstack.lambda_service.host_build import ROOT

__all__ = ["BARS", "measure", "noted", "with_plan"]

# At most so many times what the handler that only logs takes.
BARS = {"outbound": 1.6, "status": 1.6, "outflow": 1.8, "inbound": 2.2}
BASE = "logger only"
EVENTS = {name: ROOT / "tests" / "events" / f"{name}-sqs.json" for name in BARS}
RUNS = 21

_NOTE = """
def note():
    import os, time
    with open(os.environ["NOTE"], "w") as file:
        file.write(f"{time.process_time_ns()} {time.monotonic_ns()}")
    os._exit(0)
"""
_BASE_HANDLER = """
from aws_lambda_powertools import Logger

logger = Logger(service="mqbridge")

def handler(event, context):
    note()
"""
# What the handler of a function does, with a flow that goes no further than its plan.
_HANDLER = """
import {module}
from mqbridge.flows import {name}
from mqbridge.handler import handle

def plan(*arguments, **options):
    planned = {name}.plan(*arguments, **options)
    assert planned
    note()

def handler(event, context):
    return handle("{name}", plan, event, context)
"""


def measure(build: HostBuild, runs: int = RUNS) -> list[Result]:
    """Return the milliseconds of each function, by the CPU and by the clock; first those of the handler that only logs."""
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        functions = {BASE: _with_handler(build.function("outbound"), _NOTE + _BASE_HANDLER, Path(folder, "base"))}
        functions |= {name: with_plan(build, name, _NOTE, Path(folder, name)) for name in BARS}
        values: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
        for run in range(runs + 1):
            # In turn, so that whatever else the machine does hits all alike. The first round warms the disk's cache.
            for name, function in functions.items():
                taken = _cold_start_ms(function)
                if run:
                    values[name].append(taken)
    results = []
    for at, unit in enumerate(("CPU ms", "ms")):
        base = Result(BASE, unit, tuple(each[at] for each in values[BASE]))
        results.append(base)
        for name, at_most in BARS.items():
            limit = at_most if unit == "CPU ms" else None
            bar = Bar(limit, against=base, is_ceiling=True)
            results.append(Result(name, unit, tuple(each[at] for each in values[name]), bar))
    return results


def with_plan(build: HostBuild, name: str, note: str, folder: Path) -> Function:
    """Return a function, as it ships, that calls what the text `note` defines when it has planned its first records."""
    function = build.function(name)
    module = function.handler.partition(".")[0]
    return _with_handler(function, note + _HANDLER.format(name=name, module=module), folder)


def _with_handler(function: Function, handler: str, folder: Path) -> Function:
    """Return the function with another handler in front of its own, which finds in NOTE where to write."""
    task = folder / "task"
    task.mkdir(parents=True)
    (task / "noting.py").write_text(handler)
    # Its own code lies beside, as one folder more: it has bytecode no more than on Lambda.
    return replace(
        function,
        handler="noting.handler",
        task=task,
        layers=(*function.layers, _as_layer(function.task, folder / "code")),
        environment={**function.environment, "NOTE": str(folder / "note")},
    )


def _as_layer(task: Path, layer: Path) -> Path:
    layer.mkdir()
    (layer / "python").symlink_to(task)
    return layer


def noted(function: Function) -> str:
    """Invoke a function for the first time, and return what it noted before it ended itself."""
    note = Path(function.environment["NOTE"])
    note.unlink(missing_ok=True)
    environment = Environment(function, note.with_name("log"))
    try:
        answer = environment.invoke(EVENTS[function.name.lower()].read_bytes(), "cold-start")
    finally:
        environment.close()
    if not note.exists():
        raise RuntimeError(f"{function.name} did not come so far: {answer.payload.decode()}\n{answer.log}")
    return note.read_text()


def _cold_start_ms(function: Function) -> tuple[float, float]:
    """Return how long it took by the CPU and by the clock."""
    begun_ns = time.monotonic_ns()
    cpu_ns, at_ns = map(int, noted(function).split())
    return cpu_ns / 1e6, (at_ns - begun_ns) / 1e6


def main() -> int:
    """Print the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    results = measure(HostBuild(DIRECTORY), runs)
    print(table(results))
    spread = statistics.stdev(results[0].values) / results[0].median if runs > 1 else 0.0
    print(
        f"\n{runs} runs each, in turn; spread of the first {spread:.0%}; load {os.getloadavg()[0]:.1f}", file=sys.stderr
    )
    return 1 if any(result.is_met is False for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
