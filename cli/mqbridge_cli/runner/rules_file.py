"""The rules file, looked at from time to time: when it has changed, what it says is put in force, or refused. Whoever looks says when."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mqbridge.rules import InvalidRules, RulesError

__all__ = ["CannotRun", "Look", "RulesFile", "Verdict"]

# Modification time in nanoseconds, size, inode; None while there is no such file.
Signature = tuple[int, int, int]


class CannotRun(Exception):
    """Rules that are valid, and cannot be run here all the same: a secret is not there, a directory cannot be written."""


class Verdict(Enum):
    SAME = "same"  # nothing to do
    RESTORED = "restored"  # the file was refused, and says again what is in force
    TAKEN = "taken"
    REFUSED = "refused"  # said once for each change


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of a look; `faults` is why the file was refused, one line each, with its place."""

    verdict: Verdict
    faults: tuple[str, ...] = ()


_SAME = Look(verdict=Verdict.SAME)


class RulesFile:
    """Watches one file, whose content is in force when this is made.

    Args:
        path: the file.
        take: puts what is in the file in force, or raises RulesError or CannotRun, and then nothing has changed.
    """

    def __init__(self, path: str, take: Callable[[], None]) -> None:
        self._path = path
        self._take = take
        self._seen = self._last = self._signature()
        self._in_force = self._content_digest()
        self._is_refused = False

    def look(self) -> Look:
        """Look at the file. A change counts once a second look shows the same: before, it may be half written."""
        signature = self._signature()
        is_settled, self._last = signature == self._last, signature
        if signature == self._seen or not is_settled:
            return _SAME
        self._seen = signature
        digest = self._content_digest()
        was_refused, self._is_refused = self._is_refused, False
        if digest is not None and digest == self._in_force:
            return Look(verdict=Verdict.RESTORED) if was_refused else _SAME
        try:
            self._take()
        except InvalidRules as error:
            return self._refused(*(fault.text(self._path) for fault in error.faults))
        except (RulesError, CannotRun) as error:
            return self._refused(str(error))
        self._in_force = digest
        return Look(verdict=Verdict.TAKEN)

    def _refused(self, *faults: str) -> Look:
        self._is_refused = True
        return Look(verdict=Verdict.REFUSED, faults=faults)

    def _signature(self) -> Signature | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _content_digest(self) -> str | None:
        try:
            return hashlib.sha256(Path(self._path).read_bytes()).hexdigest()
        except OSError:
            return None
