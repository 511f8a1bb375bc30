"""Several worker processes seen as one: readiness, metrics and tasks."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from mqbridge.telemetry import Counters
from mqbridge_cli.runner.health import with_config_error
from mqbridge_cli.runner.http_server import Answer, json_answer
from mqbridge_cli.runner.metrics import families_of
from mqbridge_cli.runner.reloader import ConfigError
from mqbridge_cli.runner.task_desk import no_such_task

__all__ = ["Asked", "TasksOfAll", "readiness_of_all", "registry_of_all"]

# An instance is connected if each process's rules that read from it or send to it are.
CONNECTED = "mqbridge_broker_connected"
NOT_RUNNING = {"error": "a worker process is being started; try again in a moment"}


class Asked(Protocol):
    """A process that can be asked; status 0 is no answer."""

    def get(self, path: str) -> tuple[int, str]: ...

    def command(self, path: str) -> tuple[int, str]: ...


def readiness_of_all(children: Sequence[Asked], config_error: ConfigError | None) -> tuple[bool, dict[str, Any]]:
    """Return whether all are ready, and their rules."""
    documents = [json.loads(text) for status, text in (child.get("/readyz") for child in children) if status]
    is_ready = len(documents) == len(children) and all(each["status"] == "ready" for each in documents)
    document: dict[str, Any] = {
        "status": "ready" if is_ready else "not ready",
        "config_hash": next((each["config_hash"] for each in documents), None),
        "workers": len(children),
        "rules": [rule for each in documents for rule in each["rules"]],
    }
    return is_ready, with_config_error(document, config_error)


class TasksOfAll:
    """Each task is in one of the processes."""

    def __init__(self, children: Sequence[Asked]) -> None:
        self._children = children

    def get(self, name: str | None) -> Answer:
        """Say what a task does, or what all do."""
        if name is not None:
            return self._first(name, [child.get(f"/tasks/{name}") for child in self._children])
        answers = [child.get("/tasks") for child in self._children]
        if any(status != 200 for status, _ in answers):
            return json_answer(503, NOT_RUNNING)
        documents = [json.loads(text) for _, text in answers]
        tasks = [task for each in documents for task in each["tasks"]]
        return json_answer(200, {**documents[0], "tasks": sorted(tasks, key=lambda task: str(task["name"]))})

    def command(self, name: str, command: str) -> Answer:
        """Have the process that has the task carry out a command."""
        return self._first(name, (child.command(f"/tasks/{name}/{command}") for child in self._children))

    def _first(self, name: str, answers: Iterable[tuple[int, str]]) -> Answer:
        is_missing = False
        for status, text in answers:
            if status == 0:
                is_missing = True
            elif status != 404:
                return Answer(status=status, content_type="application/json", body=text.encode())
        return json_answer(503, NOT_RUNNING) if is_missing else no_such_task(name)


def registry_of_all(children: Sequence[Asked], counters: Counters) -> CollectorRegistry:
    """Return a registry of the metrics of all processes and of this one's counters, series of the same name and labels put together."""
    registry = CollectorRegistry()
    registry.register(_Summed(children, counters))
    return registry


class _Summed(Collector):
    def __init__(self, children: Sequence[Asked], counters: Counters) -> None:
        self._children = children
        self._counters = counters

    def collect(self) -> list[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for family in self._families():
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            of_family = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                of_family[key] = _together(family.name, of_family.get(key), sample.value)
        for name, metric in families.items():
            for (sample_name, labels), value in values[name].items():
                metric.add_sample(sample_name, dict(labels), value)
        return list(families.values())

    def _families(self) -> Iterable[Metric]:
        yield from families_of(self._counters).values()
        for child in self._children:
            yield from text_string_to_metric_families(child.get("/metrics")[1])


def _together(name: str, one: float | None, other: float) -> float:
    if one is None or name.endswith("_info"):
        return other
    return min(one, other) if name == CONNECTED else one + other
