"""Which letters of RocketMQ topics were redriven. A topic's messages cannot be removed, so it is remembered here, in a file.

A file, and not a message in the topic that marks another as done: whoever else reads the topic would have to know such marks, and
listing would have to read to the end before it could say anything of the first letter. The price is that another machine, or a
deleted file, knows nothing: the letters are listed again, and redriven again they arrive with the same message ids.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

__all__ = ["Redriven", "StateInUse", "default_path"]


class StateInUse(Exception):
    """Another redrive is under way with this file: two at once would send letters twice."""


def default_path() -> Path:
    """Return where the state lies unless the command line says otherwise."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "mqbridge" / "redriven.jsonl"


class Redriven:
    """The letters that were redriven: a line {"queue": ARN, "place": ..., "id": ...} each.

    A place alone could belong to an earlier topic of the same name, and an id alone to another letter of the same event: both count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: TextIO | None = None
        self._lock: TextIO | None = None
        self._known = self._read()

    def has(self, queue: str, place: str, id: str) -> bool:
        """Tell whether the letter was redriven."""
        return (queue, place, id) in self._known

    def open(self) -> None:
        """Make ready to `add`, with no other process doing the same.

        Raises:
            StateInUse: another one is.
            OSError: the file cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._path.with_name(self._path.name + ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise StateInUse(f"{self._path}: another redrive is using it") from None
        self._known = self._read()  # another redrive may have ended since
        self._log = self._path.open("a", encoding="utf-8")
        if self._log.tell() and not self._ends_its_line():
            self._log.write("\n")

    def add(self, queue: str, place: str, id: str) -> None:
        """Remember a letter, on the disk before this returns.

        Raises:
            OSError: the file cannot be written.
        """
        if self._log is None:
            raise RuntimeError("open() comes first")
        self._log.write(self._line(queue, place, id))
        self._log.flush()
        os.fsync(self._log.fileno())
        self._known.add((queue, place, id))

    def forget(self, queue: str, first_offsets: Mapping[str, int]) -> None:
        """Forget letters that the topic does not hold any more; `first_offsets` are its queues' ("broker/queue")."""
        gone = {
            entry
            for entry in self._known
            if entry[0] == queue and _offset(entry[1]) < first_offsets.get(entry[1].rpartition("/")[0], 0)
        }
        if not gone or self._log is None:
            return
        self._known -= gone
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text("".join(self._line(*entry) for entry in sorted(self._known)), encoding="utf-8")
        self._log.close()
        fresh.replace(self._path)
        self._log = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Let others redrive."""
        for file in (self._log, self._lock):
            if file is not None:
                file.close()
        self._log = self._lock = None

    def _read(self) -> set[tuple[str, str, str]]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return set()
        known = set()
        for line in lines:
            try:
                entry = json.loads(line)
                known.add((entry["queue"], entry["place"], entry["id"]))
            except (ValueError, TypeError, KeyError):
                continue  # cut short by a crash: that letter may be sent twice, and none is lost
        return known

    def _ends_its_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    @staticmethod
    def _line(queue: str, place: str, id: str) -> str:
        return json.dumps({"queue": queue, "place": place, "id": id}) + "\n"


def _offset(place: str) -> int:
    text = place.rpartition("/")[2]
    return int(text) if text.isascii() and text.isdigit() else 0
