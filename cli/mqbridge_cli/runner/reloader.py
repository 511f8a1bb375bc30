"""The rules file watched while its rules run: good changes are put in force, bad ones said and shown."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mqbridge.telemetry import Counters, logger
from mqbridge_cli.runner.rules_file import RulesFile, Verdict

__all__ = ["ConfigError", "Reloader"]

LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigError:
    """Why the rules file that is there is not in force: since when (Unix seconds), and its faults, a line each."""

    since: float
    faults: tuple[str, ...]


class Reloader:
    """Looks at the rules file once a second, in a thread of its own: putting rules in force waits for others to drain.

    Args:
        path: the file.
        take: puts what is in it in force; see `RulesFile`.
        counters: where outcomes are counted.
    """

    def __init__(self, path: str, take: Callable[[], None], counters: Counters) -> None:
        self._path = path
        self._file = RulesFile(path, take)
        self._counters = counters
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reloader", daemon=True)
        self._error: ConfigError | None = None
        for outcome in ("ok", "refused"):
            counters.add("mqbridge_config_reloads_total", 0, outcome=outcome)

    @property
    def error(self) -> ConfigError | None:
        """Why the file that is there is not in force; None if it is."""
        return self._error

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; return when what is being put in force is."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        look = self._file.look()
        if look.verdict is Verdict.SAME:
            return
        self._error = None
        if look.verdict is Verdict.RESTORED:
            logger().info("rules file says again what is in force", extra={"path": self._path})
        elif look.verdict is Verdict.TAKEN:
            self._counters.add("mqbridge_config_reloads_total", outcome="ok")
        else:
            self._counters.add("mqbridge_config_reloads_total", outcome="refused")
            self._error = ConfigError(since=time.time(), faults=look.faults)
            logger().error(
                "changed rules are refused; those from before stay in force",
                extra={"path": self._path, "faults": list(look.faults)},
            )

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # a defect must not end the watching in silence
                logger().exception("rules file could not be looked at", extra={"path": self._path})
