"""A task over pauses and blocks, and what the runner says of it; nothing is started, so nothing is connected."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.health import readiness
from mqbridge_cli.runner.holds import BLOCKED, PAUSED, StateDirectory
from mqbridge_cli.runner.metrics import registry_of
from mqbridge_cli.runner.rule_life import RuleLife
from mqbridge_cli.runner.rules_file import CannotRun
from mqbridge_cli.runner.settings import RunSettings
from mqbridge_cli.runner.state import State
from mqbridge_cli.runner.task_desk import TaskDesk
from tests.unit.mqbridge.support import document, outbound_rule, streaming

NAME = "hot-readings"
POISON = ("r-1", "body_not_json", "why")


class _Made:
    """A fleet of one task and one data rule, both named alike, and what tells of it."""

    def __init__(self, directory: Path, **task: Any) -> None:
        self.holds = StateDirectory(directory, "rules.yaml")
        self.counters = Counters()
        rules = load(document(OutboundRules=[outbound_rule(NAME)], EventStreamings=[streaming(**task)]))
        self.fleet = Fleet(rules, self.counters, self.holds)
        self.desk = TaskDesk(self.fleet, self.counters)

    @property
    def life(self) -> RuleLife:
        life = self.fleet.task(NAME)
        assert life is not None
        return life

    def block(self) -> None:
        self.life._on_block(*POISON)

    def pause(self) -> None:
        self.fleet.pause(NAME)

    def answer(self, command: str) -> tuple[int, dict[str, Any]]:
        answer = self.desk.command(NAME, command)
        return answer.status, json.loads(answer.body)

    def shown(self) -> dict[str, Any]:
        task: dict[str, Any] = json.loads(self.desk.get(NAME).body)["task"]
        return task


Make = Callable[..., _Made]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a fleet; all of a test share a state directory."""
    return lambda **task: _Made(tmp_path / "state", **task)


def test_a_pause_is_kept_for_the_next_start(make: Make) -> None:
    made = make()
    made.pause()
    assert made.shown()["status"] == "PAUSED"
    again = make()
    again.life.start()
    assert (again.life.hold, again.shown()["status"]) == (made.life.hold, "PAUSED")


def test_a_block_is_kept_for_the_next_start(make: Make) -> None:
    make().block()
    again = make()
    again.life.start()
    shown = again.shown()
    assert (shown["status"], shown["blocked"]["record"]) == ("READY", "r-1")
    assert "body_not_json: why" in shown["reason"]


def test_who_blocks_while_he_is_being_paused_is_paused(make: Make) -> None:
    made = make()
    made.pause()
    made.block()
    assert made.shown()["status"] == "PAUSED"
    assert made.holds.hold_of(NAME) == made.life.hold


def test_pausing_a_blocked_task_leaves_it_blocked(make: Make) -> None:
    made = make()
    made.block()
    status, answer = made.answer("pause")
    assert (status, answer["task"]["status"]) == (200, "READY")
    assert made.life.hold is not None
    assert made.life.hold.kind == BLOCKED


def test_a_block_at_the_very_end_holds_the_life_after_it(make: Make) -> None:
    """A reload makes the next life before it drains this one."""
    now, then = make(), make()
    now.block()
    then.life.start()
    assert then.life.state.snapshot.state is State.BLOCKED


def test_a_pause_that_cannot_be_kept_is_refused_and_nothing_is_done(make: Make) -> None:
    made = make()
    (made.holds.path / "hot-readings.json").mkdir()
    status, answer = made.answer("pause")
    assert status == 409
    assert "cannot be written" in answer["error"]
    assert not made.life.is_held


def test_a_block_that_cannot_be_kept_blocks_all_the_same(make: Make) -> None:
    made = make()
    (made.holds.path / "hot-readings.json").mkdir()
    made.block()
    assert made.life.state.snapshot.state is State.BLOCKED


def test_a_task_that_its_file_pauses_is_not_resumed(make: Make) -> None:
    made = make(Status="Paused")
    made.life.start()
    assert made.shown()["status"] == "PAUSED"
    status, answer = made.answer("resume")
    assert status == 409
    assert "change it there" in answer["error"]


def test_a_task_that_is_not_held_needs_no_resuming(make: Make) -> None:
    made = make()
    assert made.answer("resume")[0] == 200
    assert made.life.hold is None


def test_a_data_rule_is_no_task(make: Make) -> None:
    made = make()
    listed = json.loads(made.desk.get(None).body)["tasks"]
    assert [task["name"] for task in listed] == [NAME]
    assert made.desk.command("nothing", "pause").status == 404


def test_a_runner_that_is_stopping_takes_no_commands(make: Make) -> None:
    made = make()
    made.fleet.stop()
    assert made.answer("pause")[0] == 409
    with pytest.raises(CannotRun):
        made.fleet.apply(made.fleet.rules)


@pytest.mark.parametrize(("kind", "is_ready"), [(PAUSED, True), (BLOCKED, False)])
def test_a_paused_task_is_as_it_should_be_and_a_blocked_one_is_not(make: Make, kind: str, is_ready: bool) -> None:
    made = make()
    if kind == PAUSED:
        made.pause()
    else:
        made.block()
    found, details = readiness("hash", [made.life], None)
    assert found == is_ready
    (entry,) = details["rules"]
    assert entry["state"] == kind.upper()
    assert ("mqbridge task resume hot-readings" in entry.get("help", "")) == (not is_ready)


def test_metrics_tell_a_blocked_task_and_no_series_twice(make: Make) -> None:
    made = make()
    made.block()
    series = [
        (sample.name, tuple(sample.labels.items()), sample.value)
        for family in registry_of(made.fleet, made.counters, dict).collect()
        for sample in family.samples
    ]
    assert ("mqbridge_task_blocked", (("rule", NAME),), 1.0) in series
    names = [each[:2] for each in series]
    assert len(names) == len(set(names))


def test_a_change_that_cannot_be_run_changes_nothing(make: Make) -> None:
    made = make()
    before = made.fleet.lives
    made.holds.path.rmdir()
    made.holds.path.write_text("a file, where the directory was")
    with pytest.raises(CannotRun, match="cannot be written"):
        made.fleet.apply(load(document(EventStreamings=[streaming("new")])))
    assert made.fleet.lives == before


def test_without_tasks_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Fleet(load(document(OutboundRules=[outbound_rule()])), Counters(), StateDirectory(tmp_path / "file", "r.yaml"))


def test_workers_have_all_rules_between_them(tmp_path: Path) -> None:
    rules = load(document(OutboundRules=[outbound_rule()], EventStreamings=[streaming(f"t{n}") for n in range(4)]))
    fleets = [Fleet(rules, Counters(), StateDirectory(tmp_path, "r.yaml"), part=(n, 3)) for n in (1, 2, 3)]
    names = [life.name for fleet in fleets for life in fleet.lives]
    assert sorted(names) == ["t0", "t1", "t2", "t3", "telemetry"]


def test_a_document_that_is_no_file_has_state_of_its_own(tmp_path: Path) -> None:
    def path_of(text: str) -> Path:
        return RunSettings(rules_path=text, listen="127.0.0.1:0", state_directory=tmp_path).holds.path

    assert path_of('{"Instances": {}}') != path_of('{"Instances": {"Mqtt": []}}')
    assert path_of('{"Instances": {}}').parent == tmp_path
