"""What holds a task is kept over a restart, whatever happens to the file."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqbridge_cli.runner.holds import BLOCKED, PAUSED, Hold, StateDirectory, StateUnavailable, default_directory

BLOCK = Hold(kind=BLOCKED, since=1_767_225_600.5, record="r-1", stage="decoding", reason="body_not_json", detail="why")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path, "rules.yaml")


@pytest.mark.parametrize("hold", [BLOCK, Hold(kind=PAUSED, since=1.0)])
def test_a_hold_is_read_as_it_was_kept(tmp_path: Path, hold: Hold) -> None:
    StateDirectory(tmp_path, "rules.yaml").put("hot", hold)
    state = StateDirectory(tmp_path, "rules.yaml")
    assert (state.hold_of("hot"), state.hold_of("other")) == (hold, None)
    state.clear("hot")
    assert StateDirectory(tmp_path, "rules.yaml").hold_of("hot") is None


def test_what_was_never_held_can_be_cleared(state: StateDirectory) -> None:
    state.clear("hot")
    state.check()
    state.clear("hot")


def test_rules_files_and_sharing_runners_have_folders_of_their_own(tmp_path: Path) -> None:
    paths = {
        StateDirectory(tmp_path, path, share).path
        for path, share in (
            ("a/rules.yaml", ""),
            ("b/rules.yaml", ""),
            ("a/rules.yaml", "one"),
            ("a/rules.yaml", "two"),
        )
    }
    assert len(paths) == 4
    assert all(path.parent == tmp_path and path.name.startswith("rules.yaml-") for path in paths)


def test_a_relative_path_is_the_file_that_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert StateDirectory(tmp_path, "rules.yaml").path == StateDirectory(tmp_path, str(tmp_path / "rules.yaml")).path


@settings(max_examples=60, deadline=None, database=None)
@given(damage=st.binary(max_size=40) | st.sampled_from([b"{}", b"[]", b"null", b'{"kind": "paused"}']))
def test_a_file_that_cannot_be_read_holds_the_task(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    """Somebody may have paused it: who cleared it by mistake would send what was not to be sent."""
    state = StateDirectory(tmp_path_factory.mktemp("state"), "rules.yaml")
    state.put("hot", BLOCK)
    (state.path / "hot.json").write_bytes(damage)
    hold = state.hold_of("hot")
    assert hold is not None
    assert (hold.kind, hold.reason) == (PAUSED, "state_unreadable")


def test_a_crash_while_writing_leaves_what_was_there(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    state.put("hot", BLOCK)

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(StateUnavailable, match="No space left"):
        state.put("hot", Hold(kind=PAUSED, since=2.0))
    assert state.hold_of("hot") == BLOCK
    assert [path.name for path in state.path.iterdir()] == ["hot.json"], "nothing is left lying about"


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = StateDirectory(tmp_path / "file" / "state", "rules.yaml")
    with pytest.raises(StateUnavailable, match=r"state directory .* cannot be written: Not a directory"):
        state.check()
    with pytest.raises(StateUnavailable):
        state.put("hot", BLOCK)


def test_nobody_else_reads_what_is_kept(state: StateDirectory) -> None:
    state.put("hot", BLOCK)
    assert state.path.stat().st_mode & 0o077 == 0
    assert (state.path / "hot.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "/home/me/.local/state/mqbridge"),
        ({"XDG_STATE_HOME": ""}, "/home/me/.local/state/mqbridge"),
        ({"XDG_STATE_HOME": "relative"}, "/home/me/.local/state/mqbridge"),
        ({"XDG_STATE_HOME": "/var/lib"}, "/var/lib/mqbridge"),
    ],
)
def test_the_default_directory_is_the_user_s(environment: dict[str, str], expected: str) -> None:
    assert default_directory(environment, Path("/home/me")) == Path(expected)
