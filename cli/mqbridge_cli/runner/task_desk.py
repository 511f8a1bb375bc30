"""Tasks asked about and told what to do, in one process."""

from mqbridge.telemetry import Counters
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.holds import StateUnavailable
from mqbridge_cli.runner.http_server import Answer, json_answer
from mqbridge_cli.runner.rule_life import PAUSED_BY_FILE
from mqbridge_cli.runner.rules_file import CannotRun
from mqbridge_cli.runner.task_report import FORMAT_VERSION, task_entry

__all__ = ["TaskDesk", "no_such_task"]


class TaskDesk:
    """Answers for one fleet."""

    def __init__(self, fleet: Fleet, counters: Counters) -> None:
        self._fleet = fleet
        self._counters = counters

    def get(self, name: str | None) -> Answer:
        """Say what a task does; without a name, what all do."""
        config_hash = self._fleet.rules.digest
        document = {"format_version": FORMAT_VERSION, "config_hash": config_hash}
        if name is None:
            tasks = [task_entry(life, self._counters, config_hash) for life in self._fleet.lives if life.is_task]
            return json_answer(200, {**document, "tasks": tasks})
        life = self._fleet.task(name)
        if life is None:
            return no_such_task(name)
        return json_answer(200, {**document, "task": task_entry(life, self._counters, config_hash)})

    def command(self, name: str, command: str) -> Answer:
        """Pause or resume; when that is answered, it is done, but for what a start waits for."""
        life = self._fleet.task(name)
        if life is None:
            return no_such_task(name)
        if command == "resume" and life.is_paused_by_file:
            return json_answer(409, {"error": f"task {name} cannot be resumed: {PAUSED_BY_FILE}, so change it there"})
        try:
            if command == "pause":
                self._fleet.pause(name)
            else:
                self._fleet.resume(name)
        except KeyError:  # removed from the rules meanwhile
            return no_such_task(name)
        except (StateUnavailable, CannotRun) as error:
            return json_answer(409, {"error": f"cannot {command} task {name}: {error}"})
        return self.get(name)


def no_such_task(name: str) -> Answer:
    """Answer who asked for a task that there is not."""
    return json_answer(404, {"error": f"there is no task {name[:127]!r}"})
