"""Why a task does not run, kept in files so that a restart does not change it.

A file a task, NAME.json, in a folder a rules file; no file means that nothing holds the task. Files are replaced whole: a crash leaves
the old one or the new one.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["BLOCKED", "PAUSED", "Hold", "StateDirectory", "StateUnavailable", "default_directory"]

FORMAT_VERSION = "1.0"
PAUSED, BLOCKED = "paused", "blocked"


class StateUnavailable(Exception):
    """The state directory, or a file in it, cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What holds a task: `kind` is PAUSED or BLOCKED, `since` is Unix seconds; the rest says which record a task is blocked at, and why."""

    kind: str
    since: float
    record: str = ""
    stage: str = ""
    reason: str = ""
    detail: str = ""


def default_directory(environment: Mapping[str, str], home: Path) -> Path:
    """Return where state lies unless somebody says otherwise (XDG Base Directory Specification)."""
    base = environment.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else home / ".local" / "state") / "mqbridge"


class StateDirectory:
    """The holds of one rules file's tasks.

    Args:
        base: the directory of all rules files.
        rules_path: the rules file; another path is another file, whatever it leads to.
        share: the runner's name among several that share the load: each has its own MQTT session, and so its own state.
    """

    def __init__(self, base: Path, rules_path: str, share: str = "") -> None:
        absolute = os.path.abspath(rules_path)
        digest = hashlib.sha256(absolute.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        self.path = base / (f"{os.path.basename(absolute)}-{digest}" + (f"-{share}" if share else ""))

    def check(self) -> None:
        """Make the directory if it is not there, and try to write.

        Raises:
            StateUnavailable: it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise StateUnavailable(f"state directory {self.path} cannot be written: {error.strerror}") from error

    def hold_of(self, task: str) -> Hold | None:
        """Return what holds a task; a file that cannot be read holds it, because it may have been paused."""
        path = self._file(task)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return _read(document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Hold(kind=PAUSED, since=time.time(), reason="state_unreadable", detail=f"{path}: {error}")

    def put(self, task: str, hold: Hold) -> None:
        """Keep what holds a task.

        Raises:
            StateUnavailable: it cannot be written; what was kept before still is.
        """
        document = {"format_version": FORMAT_VERSION, "task": task, **asdict(hold)}
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replace(self._file(task), json.dumps(document, indent=2) + "\n")
        except OSError as error:
            raise StateUnavailable(f"{self._file(task)} cannot be written: {error.strerror}") from error

    def clear(self, task: str) -> None:
        """Forget what held a task.

        Raises:
            StateUnavailable: its file cannot be removed.
        """
        try:
            self._file(task).unlink(missing_ok=True)
            self._sync_directory()
        except FileNotFoundError:
            return  # there never was a directory
        except OSError as error:
            raise StateUnavailable(f"{self._file(task)} cannot be removed: {error.strerror}") from error

    def _file(self, task: str) -> Path:
        return self.path / f"{task}.json"

    def _replace(self, path: Path, text: str) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self._sync_directory()

    def _sync_directory(self) -> None:
        # The new name, too, has to survive a power cut.
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(document: Any) -> Hold:
    hold = Hold(**{each.name: document[each.name] for each in fields(Hold)})
    if hold.kind not in (PAUSED, BLOCKED) or not isinstance(hold.since, int | float):
        raise ValueError("not the state of a task")
    return hold
