"""Several worker processes seen as one."""

import json
from typing import Any

from prometheus_client import generate_latest

from mqbridge.telemetry import Counters
from mqbridge_cli.runner.reloader import ConfigError
from mqbridge_cli.runner.together import TasksOfAll, readiness_of_all, registry_of_all


class _Process:
    """A process with some tasks; `tasks` None is one that does not answer."""

    def __init__(self, *names: str, is_there: bool = True, is_ready: bool = True) -> None:
        self.names = names
        self.commands: list[str] = []
        self._is_there = is_there
        self._is_ready = is_ready

    def get(self, path: str) -> tuple[int, str]:
        if not self._is_there:
            return 0, ""
        if path == "/readyz":
            status = "ready" if self._is_ready else "not ready"
            rules = [{"rule": name} for name in self.names]
            return self._said(200 if self._is_ready else 503, status=status, config_hash="h", rules=rules)
        if path == "/metrics":
            lines = [f'mqbridge_task_blocked{{rule="{name}"}} 1.0' for name in self.names]
            common = [
                "# TYPE mqbridge_events_unmatched_total counter",
                'mqbridge_events_unmatched_total{function="outflow"} 2',
            ]
            return 200, "\n".join(["# TYPE mqbridge_task_blocked gauge", *lines, *common, ""])
        if path == "/tasks":
            return self._said(200, format_version="1.0", tasks=[{"name": name} for name in self.names])
        name = path.split("/")[2]
        if name in self.names:
            return self._said(200, format_version="1.0", task={"name": name})
        return self._said(404, error="no such task")

    def command(self, path: str) -> tuple[int, str]:
        status, text = self.get(path)
        if status == 200:
            self.commands.append(path)
        return status, text

    def _said(self, status: int, /, **document: Any) -> tuple[int, str]:
        return status, json.dumps(document)


def test_all_are_ready_only_if_each_is() -> None:
    ready, slow, away = _Process("a"), _Process("b", is_ready=False), _Process("c", is_there=False)
    assert readiness_of_all([ready, ready], None)[0]
    is_ready, document = readiness_of_all([ready, slow], None)
    assert (is_ready, document["rules"]) == (False, [{"rule": "a"}, {"rule": "b"}])
    assert not readiness_of_all([ready, away], None)[0]


def test_a_refused_file_is_shown_and_leaves_them_ready() -> None:
    is_ready, document = readiness_of_all([_Process("a")], ConfigError(since=0.0, faults=("line 1",)))
    assert (is_ready, document["config_error"]["faults"]) == (True, ["line 1"])


def test_tasks_of_all_are_listed_by_name() -> None:
    answer = TasksOfAll([_Process("b", "d"), _Process("a", "c")]).get(None)
    assert [task["name"] for task in json.loads(answer.body)["tasks"]] == ["a", "b", "c", "d"]


def test_a_command_goes_to_the_process_that_has_the_task() -> None:
    processes = [_Process("a"), _Process("b")]
    assert TasksOfAll(processes).command("b", "pause").status == 200
    assert [process.commands for process in processes] == [[], ["/tasks/b/pause"]]
    assert TasksOfAll(processes).get("b").status == 200


def test_a_task_that_nobody_has_is_missing_unless_somebody_is_away() -> None:
    assert TasksOfAll([_Process("a"), _Process("b")]).command("x", "pause").status == 404
    assert TasksOfAll([_Process("a"), _Process(is_there=False)]).command("x", "pause").status == 503
    assert TasksOfAll([_Process("a"), _Process(is_there=False)]).get(None).status == 503


def test_metrics_add_up_with_the_supervisor_s_own() -> None:
    counters = Counters()
    counters.add("mqbridge_config_reloads_total", outcome="ok")
    text = generate_latest(registry_of_all([_Process("a"), _Process("b")], counters)).decode()
    assert 'mqbridge_config_reloads_total{outcome="ok"} 1.0' in text
    assert 'mqbridge_events_unmatched_total{function="outflow"} 4.0' in text
    assert 'mqbridge_task_blocked{rule="b"} 1.0' in text
