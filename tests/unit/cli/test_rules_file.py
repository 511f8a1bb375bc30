"""The rules file watched: what counts as a change, and what is said of a bad one."""

import os
from pathlib import Path

import pytest

from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.reloader import Reloader
from mqbridge_cli.runner.rules_file import CannotRun, RulesFile, Verdict

GOOD, BETTER, BAD = '{"Instances": {}}', '{"Instances": {}, "OutboundRules": []}', '{"Instances": {}, "Nonsense": 1}'


class _Watched:
    """A rules file that is watched, and how often it was put in force."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text(GOOD)
        self.taken: list[str] = []
        self.cannot_run = ""
        self.file = RulesFile(str(path), self._take)

    def _take(self) -> None:
        load(str(self.path))
        if self.cannot_run:
            raise CannotRun(self.cannot_run)
        self.taken.append(self.path.read_text())

    def write(self, text: str) -> None:
        """Replace the file as an editor does."""
        new = self.path.with_name("new.json")
        new.write_text(text)
        os.replace(new, self.path)

    def looks(self, times: int = 2) -> list[Verdict]:
        return [self.file.look().verdict for _ in range(times)]


@pytest.fixture
def watched(tmp_path: Path) -> _Watched:
    return _Watched(tmp_path / "rules.json")


def test_an_untouched_file_is_the_same(watched: _Watched) -> None:
    assert watched.looks(3) == [Verdict.SAME] * 3


def test_a_change_is_taken_once_it_has_settled(watched: _Watched) -> None:
    watched.write(BETTER)
    assert watched.looks(3) == [Verdict.SAME, Verdict.TAKEN, Verdict.SAME]
    assert watched.taken == [BETTER]


def test_a_file_that_is_still_being_written_waits(watched: _Watched) -> None:
    verdicts = []
    for end in range(5, len(BETTER) + 1, 5):
        watched.path.write_text(BETTER[:end])
        verdicts += watched.looks(1)
    assert set(verdicts) == {Verdict.SAME}
    watched.path.write_text(BETTER)
    assert watched.looks()[-1] is Verdict.TAKEN


def test_the_same_content_written_again_changes_nothing(watched: _Watched) -> None:
    watched.write(GOOD)
    assert watched.looks(3) == [Verdict.SAME] * 3
    assert watched.taken == []


def test_a_bad_file_is_refused_once_with_the_places_of_its_faults(watched: _Watched) -> None:
    watched.write(BAD)
    looks = [watched.file.look() for _ in range(4)]
    assert [look.verdict for look in looks] == [Verdict.SAME, Verdict.REFUSED, Verdict.SAME, Verdict.SAME]
    (fault,) = looks[1].faults
    assert fault.startswith(f"{watched.path}:1:19 MB101 Nonsense: expected")


def test_what_cannot_be_run_here_is_refused(watched: _Watched) -> None:
    watched.cannot_run = "environment variable SECRET is not set"
    watched.write(BETTER)
    assert [watched.file.look() for _ in range(2)][-1].faults == (watched.cannot_run,)
    watched.cannot_run = ""
    watched.write(BETTER)
    assert watched.looks()[-1] is Verdict.TAKEN, "it was never in force"


def test_a_file_that_is_gone_is_refused_and_may_come_back(watched: _Watched) -> None:
    watched.path.unlink()
    looks = [watched.file.look() for _ in range(2)]
    assert looks[-1].verdict is Verdict.REFUSED
    assert "cannot be read" in looks[-1].faults[0]
    watched.write(GOOD)
    assert watched.looks() == [Verdict.SAME, Verdict.RESTORED]
    assert watched.taken == []


def test_outcomes_are_counted_and_the_error_goes_with_its_cause(tmp_path: Path) -> None:
    path, counters = tmp_path / "rules.json", Counters()
    path.write_text(GOOD)

    def take() -> None:
        load(str(path))

    reloader = Reloader(str(path), take, counters)

    def after(text: str) -> tuple[bool, dict[str, float]]:
        path.write_text(text)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))  # coarse clocks of file systems
        reloader.look()
        reloader.look()
        values = {dict(labels)["outcome"]: value for (_, labels), value in counters.snapshot().items()}
        return reloader.error is not None, values

    assert after(GOOD) == (False, {"ok": 0, "refused": 0})
    assert after(BAD) == (True, {"ok": 0, "refused": 1})
    assert after(BETTER) == (False, {"ok": 1, "refused": 1})
    assert after(BAD) == (True, {"ok": 1, "refused": 2})
    assert after(BETTER) == (False, {"ok": 1, "refused": 2}), "as it was: nothing was put in force"
