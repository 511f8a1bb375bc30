"""What a status source remembers of mosquitto's log, over restarts: else the end of a connection that began before could not be told.

A file a rule, a JSON line for each beginning and end, appended; it is written anew when it is mostly history. It is not forced to the
disk: after a power cut the connections are gone as well.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from mqbridge.presence import Connection
from mqbridge.telemetry import logger

__all__ = ["ConnectionJournal"]

# Lines that may be history before the file is written anew, beside as many as are of use.
MAX_HISTORY = 1_000


class ConnectionJournal:
    """Keep connections in a file. One that cannot be written, or read, is said once and done without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._lines = 0
        self._is_broken = False

    def load(self) -> dict[str, Connection]:
        """Return the last connection of each client; a line that was cut short is passed over."""
        known: dict[str, Connection] = {}
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    self._lines += 1
                    with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
                        entry = json.loads(line)
                        client_id = str(entry.pop("client_id"))
                        known.pop(client_id, None)  # so that the youngest comes last
                        known[client_id] = Connection(**entry)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._give_up(error)
        return known

    def note(self, client_id: str, connection: Connection) -> None:
        """Keep the last connection of a client."""
        if self._is_broken:
            return
        try:
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(_line(client_id, connection))
            self._file.flush()
            self._lines += 1
        except OSError as error:
            self._give_up(error)

    def is_mostly_history(self, count: int) -> bool:
        """Tell whether the file has grown far beyond the `count` connections that are of use."""
        return self._lines > 2 * count + MAX_HISTORY

    def replace(self, known: Mapping[str, Connection]) -> None:
        """Write the file anew, with `known` alone."""
        if self._is_broken:
            return
        temporary = self._path.with_suffix(".tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(_line(client_id, connection) for client_id, connection in known.items())
            os.replace(temporary, self._path)
            self.close()
            self._lines = len(known)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file; `note` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _give_up(self, error: Exception) -> None:
        self._is_broken = True
        logger().warning(
            "connections are not kept: after a restart, the end of one that began before cannot be told",
            extra={"path": str(self._path), "detail": getattr(error, "strerror", None) or str(error)},
        )


def _line(client_id: str, connection: Connection) -> str:
    return json.dumps({"client_id": client_id, **asdict(connection)}, separators=(",", ":")) + "\n"
