"""make bench: measure, print, and write RESULTS.md. `python -m benchmarks client|outbound|tasks|functions|end-to-end|all`.

Exit code 1 if a bar is missed; RESULTS.md is written all the same, and shows which.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import client, cold_start, comparison, outbound, patterns, tasks, warm
from benchmarks.measuring import Result, table
from devstack.cache import program
from devstack.lambda_service import HostBuild
from devstack.lambda_service.__main__ import DIRECTORY

RESULTS = Path(__file__).with_name("RESULTS.md")


def _outbound() -> Iterator[Result]:
    yield from outbound.plan_and_encode()
    yield from outbound.handler_into_real_broker()


def _tasks() -> Iterator[Result]:
    yield from patterns.measure()
    yield from tasks.measure()


def _functions() -> Iterator[Result]:
    yield from cold_start.measure(HostBuild(DIRECTORY))
    yield from warm.measure()


Part = tuple[str, Callable[[], Iterator[Result]]]
PARTS: Mapping[str, Part] = {
    "client": ("The RocketMQ client beside RocketMQ's own", client.sends),
    "outbound": ("The outbound handler", _outbound),
    "tasks": ("Event patterns and tasks", _tasks),
    "functions": ("Functions, cold and warm", _functions),
    "end-to-end": ("`mqbridge run` beside Apache Camel", comparison.end_to_end),
}

_INTRODUCTION = """\
# Results

`make bench` wrote this. Each figure is the median of its runs, with the lowest and highest; the peers take turns within one run, on the
same brokers, which share the machine's cores with them. So compare figures of one run only, and ratios rather than rates.
The ratio is to the peer of the same kind; the bar is the project's own.
"""
_CLIENT = """\
Both make their messages within the measured time, in one thread, after a warm-up that lets Java compile what it does.
Java's client sends the next batch when it has the answer to the one before; `Producer` keeps several in flight.
"""
_OUTBOUND = """\
The handler in this process, without what a function adds to it: no metrics, no deadline. What ships is measured under "warm".
"""
_TASKS = """\
Events are of about 900 bytes; figures are of CPU time, on one core, and what is compared takes turns.
"""
_FUNCTIONS = """\
A cold start runs from the start of the process until the first record is planned, rules loaded and all: the built artefact as it ships,
with its bytecode and config/rules.yaml, in awslambdaric as on Lambda, beside a handler that imports the Powertools logger and returns.
It is computing, and a small function has a part of a CPU, so the bars are for the CPU's time; the clock's is shown beside.
Warm, SQS batches go through each function as it ships, in a process of its own: a bridge by the rules of a file, a deadline, the line that
sums an invocation up, and metrics as EMF; into sinks that take all, and without the platform's runtime. The ratio of a row is to the one
above.
"""
_END_TO_END = """\
A burst of 30,000 messages at QoS 1, 200 bytes of JSON on 100 topics, after a warm-up of 20,000, three times for each peer.
Outbound the clock runs from the first byte published to the last message in the broker's offsets, inbound from the moment that the
peer, paused while a backlog was written, goes on, to the last message at a subscriber. CPU is that of the peer's own process; memory
is its largest resident set, of a JVM with default settings, whose heap may grow to a quarter of the machine's memory.
Camel runs as its documentation shows it, and copies neither topic nor properties; it acknowledges MQTT before RocketMQ answered, so what
RocketMQ then does not take is lost, and does not count for its rate.
Lost and duplicated messages are counted by the ids in their payloads.
"""
_PROFILE = """\
Where `mqbridge run` spends its time outbound, by cProfile, waiting left out; what a function calls outside the project counts as its own:
"""
EXPLANATIONS = {
    "client": (_CLIENT,),
    "outbound": (_OUTBOUND,),
    "tasks": (_TASKS,),
    "functions": (_FUNCTIONS,),
    "end-to-end": (_END_TO_END,),
}


def main() -> int:
    """Run the chosen parts; write RESULTS.md if they are all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("part", nargs="?", default="all", choices=[*PARTS, "profile", "all"])
    part = parser.parse_args().part
    parts = {name: each for name, each in PARTS.items() if part in (name, "all")}
    profile = comparison.profile if part in ("profile", "all") else None
    return bench(parts, profile, RESULTS if part == "all" else None)


def bench(parts: Mapping[str, Part], profile: Callable[[], str] | None, results: Path | None) -> int:
    """Measure and print the parts and the profile, write all of it to `results`, and return 1 if a bar is missed."""
    begin = time.monotonic()
    sections, missed = [_INTRODUCTION, _machine()], False
    for name, (title, measure) in parts.items():
        figures = list(measure())
        missed |= any(each.is_met is False for each in figures)
        measured = table(figures)
        print(f"\n{title}\n\n{measured}\n", flush=True)
        sections += [f"## {title}\n", *EXPLANATIONS.get(name, ()), measured + "\n"]
    if profile is not None:
        profiled = profile()
        print(f"{_PROFILE}\n{profiled}\n")
        sections += [_PROFILE, profiled + "\n"]
    took_s = time.monotonic() - begin
    print(f"took {took_s:.0f} s")
    if results is not None:
        results.write_text("\n".join([*sections, f"The run took {took_s / 60:.0f} minutes.\n"]), encoding="utf-8")
    return 1 if missed else 0


def _machine() -> str:
    java = subprocess.run((program("java"), "-version"), check=True, capture_output=True, text=True).stderr  # noqa: S603
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{datetime.now(UTC).date()}, {os.cpu_count()} cores {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, {java.splitlines()[0]}; load average before: {load}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
