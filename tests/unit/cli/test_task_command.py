"""mqbridge task: what it says of tasks, and its exit codes."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from mqbridge_cli.main import main
from mqbridge_cli.runner.health import answers
from mqbridge_cli.runner.http_server import Answer, HttpServer, json_answer
from mqbridge_cli.runner.state import Snapshot, State
from mqbridge_cli.runner.task_report import status_word
from mqbridge_cli.task_tables import list_text, show_text

COUNTERS = {"received": 12, "delivered": 9, "dropped": 2, "dead_lettered": 0, "discarded": 0, "failed": 1}
BLOCKED: dict[str, Any] = {
    "name": "hot-readings",
    "status": "READY",
    "reason": "at record r-1, decoding: body_not_json: why",
    "since": "2026-01-01T00:00:00Z",
    "config_hash": "0123456789abcdef",
    "description": "What is too hot",
    "source": {"instance": "mqtt-local", "topic": "devices"},
    "sink": {"instance": "rmq-local", "topic": "alarms"},
    "counters": COUNTERS,
    "lag": {"unsettled": 3, "oldest_s": 61.5},
    "blocked": {
        "record": "r-1",
        "stage": "decoding",
        "reason": "body_not_json",
        "detail": "why",
        "since": "2026-01-01T00:00:00Z",
    },
    "last_error": {
        "record": "r-1",
        "outcome": "failed",
        "stage": "decoding",
        "reason": "body_not_json",
        "detail": "why",
        "at": "2026-01-01T00:00:00Z",
    },
}
RUNNING = {
    **BLOCKED,
    "name": "all",
    "status": "RUNNING",
    "reason": "",
    "description": "",
    "lag": {"unsettled": 0, "oldest_s": None},
    "blocked": None,
    "last_error": None,
}


def test_the_table_has_a_line_for_each_task() -> None:
    expected = (
        "NAME          STATUS   RECEIVED  DELIVERED  DROPPED  DEAD-LETTERED  DISCARDED  FAILED  UNSETTLED  OLDEST  REASON\n"
        "hot-readings  READY          12          9        2              0          0       1          3   61.5s  "
        "at record r-1, decoding: body_not_json: why\n"
        "all           RUNNING        12          9        2              0          0       1          0       -\n"
    )
    assert list_text([BLOCKED, RUNNING]) == expected
    assert list_text([]) == "no tasks\n"


def test_everything_about_a_task() -> None:
    assert show_text(BLOCKED) == (
        "name:        hot-readings\n"
        "description: What is too hot\n"
        "status:      READY since 2026-01-01T00:00:00Z\n"
        "reason:      at record r-1, decoding: body_not_json: why\n"
        "source:      devices of mqtt-local\n"
        "sink:        alarms of rmq-local\n"
        "records:     12 received, 9 delivered, 2 dropped, 0 dead-lettered, 0 discarded, 1 failed\n"
        "lag:         3 unsettled, the oldest for 61.5s\n"
        "blocked:     at record r-1 since 2026-01-01T00:00:00Z, decoding: body_not_json: why\n"
        "last error:  2026-01-01T00:00:00Z, decoding: body_not_json: why (record r-1 failed)\n"
        "config:      0123456789abcdef\n"
    )
    assert "blocked:    -\nlast error: -\n" in show_text(RUNNING)


@pytest.mark.parametrize(
    ("state", "was_ok", "word"),
    [
        (State.STARTING, False, "STARTING"),
        (State.RECONNECTING, False, "STARTING"),
        (State.STARTING_FAILED, False, "STARTING_FAILED"),
        (State.RUNNING, True, "RUNNING"),
        (State.RECONNECTING, True, "RUNNING_FAILED"),
        (State.TAKEN_OVER, True, "RUNNING_FAILED"),
        (State.PAUSED, True, "PAUSED"),
        (State.BLOCKED, True, "READY"),
    ],
)
def test_states_are_told_in_the_managed_service_s_words(state: State, was_ok: bool, word: str) -> None:
    assert status_word(Snapshot(state, 0.0, "", 1.0 if was_ok else None)) == word


def test_every_state_has_a_word() -> None:
    assert all(status_word(Snapshot(state, 0.0, "", None)) for state in State)


# The command, against a runner that a test plays.


class _Desk:
    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []

    def get(self, name: str | None) -> Answer:
        if name is None:
            return json_answer(200, {"format_version": "1.0", "tasks": [BLOCKED, RUNNING]})
        if name == "all":
            return json_answer(200, {"format_version": "1.0", "task": RUNNING})
        return json_answer(404, {"error": f"there is no task {name!r}"})

    def command(self, name: str, command: str) -> Answer:
        self.commands.append((name, command))
        return self.get(name)


@pytest.fixture
def desk() -> _Desk:
    return _Desk()


@pytest.fixture
def runner(desk: _Desk) -> Iterator[str]:
    server = HttpServer("127.0.0.1:0", answers(lambda: (True, {}), lambda: b"", desk))
    server.start()
    yield server.address
    server.close()


def test_list_prints_the_table_or_the_document(runner: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "list", "--runner", runner]) == 0
    assert capsys.readouterr().out == list_text([BLOCKED, RUNNING])
    assert main(["task", "list", "--runner", runner, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"format_version": "1.0", "tasks": [BLOCKED, RUNNING]}


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_command_reaches_the_runner(
    runner: str, desk: _Desk, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["task", command, "all", "--runner", runner]) == 0
    assert capsys.readouterr().out == "all: RUNNING\n"
    assert desk.commands == [("all", command)]


@pytest.mark.parametrize("command", ["show", "pause", "resume"])
def test_no_such_task_exits_1(runner: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", command, "nothing", "--runner", runner]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "there is no task 'nothing'\n")


@pytest.mark.parametrize("runner_address", ["127.0.0.1:1", "127.0.0.1:nonsense", "127.0.0.1"])
def test_no_runner_exits_2(runner_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "list", "--runner", runner_address]) == 2
    assert capsys.readouterr().err.startswith(f"no runner at {runner_address}: ")


def test_another_server_is_no_runner(capsys: pytest.CaptureFixture[str]) -> None:
    other = HttpServer("127.0.0.1:0", lambda _request: json_answer(200, {"hello": "world"}))
    other.start()
    try:
        assert main(["task", "list", "--runner", other.address]) == 2
    finally:
        other.close()
    assert "what listens there is none" in capsys.readouterr().err


def test_what_is_not_there_says_what_is(runner: str) -> None:
    connection = http.client.HTTPConnection(runner, timeout=5)
    for method, path in (
        ("GET", "/nothing"),
        ("POST", "/readyz"),
        ("POST", "/tasks/all"),
        ("POST", "/tasks/all/start"),
    ):
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, "expected /" in answer.read().decode()) == (404, True)
    connection.close()
