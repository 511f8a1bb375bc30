"""mqbridge run --workers N: the rules dealt out to N processes, so that they use N cores; seen from outside they are one.

A rule runs in one process only, so a device's messages keep their order. (One rule that is too much for one core can be shared
among runners with --share, which gives that order up.)
"""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from mqbridge.telemetry import logger
from mqbridge_cli.runner.health import HealthServer

__all__ = ["run"]

RESTART_AFTER_S = 1.0
ASK_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 30.0  # a worker's own, and a margin


def run(arguments: list[str], listen: str, workers: int) -> int:
    """Run `workers` processes of `mqbridge run` with `arguments`, each on its part of the rules, until SIGTERM or SIGINT.

    A process that ends is started again; one that says its rules cannot be run (exit code 2) ends all of them, with that code.
    """
    children = [_Child(arguments, part, workers) for part in range(1, workers + 1)]
    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry()
    registry.register(_Summed(children))
    try:
        health = HealthServer(
            host or "127.0.0.1", int(port), lambda: _readiness(children), lambda: generate_latest(registry)
        )
    except (OSError, ValueError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for child in children:
        child.start()
    health.start()
    exit_code = 0
    while exit_code != 2 and not stop.wait(0.5):
        exit_code = max(child.keep_running() for child in children)
    for child in children:
        child.stop()
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for child in children:
        child.finish(deadline)
    health.close()
    return exit_code if exit_code == 2 else 0


class _Child:
    """One process, with a health address of its own that it prints first."""

    def __init__(self, arguments: list[str], part: int, workers: int) -> None:
        self._command = [sys.executable, "-m", "mqbridge_cli.main", "run", *arguments, "--part", f"{part}/{workers}"]
        self._part = part
        self._address = ""
        self._not_before = 0.0

    def start(self) -> None:
        # Its standard output is ours but for the first line; its end tells the child that we are gone.
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves
        threading.Thread(target=self._forward, args=(self._process,), daemon=True).start()

    def keep_running(self) -> int:
        """Start the process again if it ended; return 2 if that would not help."""
        code = self._process.poll()
        if code is None or code == 2:
            return code or 0
        if time.monotonic() >= self._not_before:
            logger().error("worker ended; it is started again", extra={"part": self._part, "exit_code": code})
            self._not_before = time.monotonic() + RESTART_AFTER_S
            self.start()
        return 0

    def stop(self) -> None:
        """Have the process drain."""
        if self._process.poll() is None:
            self._process.terminate()

    def finish(self, deadline: float) -> None:
        """Wait until `deadline` for its end, then end it."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> str:
        """Return what the process answers, whatever the status; "" if it does not."""
        try:
            with urllib.request.urlopen(
                f"http://{self._address}{path}", timeout=ASK_TIMEOUT_S
            ) as answer:  # our own child
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except (OSError, ValueError):
            return ""

    def _forward(self, process: "subprocess.Popen[str]") -> None:
        lines = iter(process.stdout or ())
        self._address = next(lines, "").strip()
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()


def _readiness(children: list[_Child]) -> tuple[bool, dict[str, Any]]:
    answers = [child.get("/readyz") for child in children]
    documents = [json.loads(answer) for answer in answers if answer]
    is_ready = len(documents) == len(children) and all(each["status"] == "ready" for each in documents)
    return is_ready, {
        "status": "ready" if is_ready else "not ready",
        "config_hash": next((each["config_hash"] for each in documents), None),
        "workers": len(children),
        "rules": [rule for each in documents for rule in each["rules"]],
    }


class _Summed(Collector):
    """The metrics of all processes, series of the same name and labels added up."""

    def __init__(self, children: list[_Child]) -> None:
        self._children = children

    def collect(self) -> list[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for child in self._children:
            for family in text_string_to_metric_families(child.get("/metrics")):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                of_family = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sorted(sample.labels.items())))
                    value = 1.0 if family.name.endswith("_info") else of_family.get(key, 0.0) + sample.value
                    of_family[key] = value
        for name, metric in families.items():
            for (sample_name, labels), value in values[name].items():
                metric.add_sample(sample_name, dict(labels), value)
        return list(families.values())
