"""mqbridge run --workers N: the rules dealt out to N processes, so that they use N cores; seen from outside they are one.

A rule runs in one process only, so a device's messages keep their order. (One rule that is too much for one core can be shared
among runners with --share, which gives that order up.) When the rules file changes, all processes stop before any starts: a rule may
move to another one.
"""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import generate_latest

from mqbridge.rules import Rules, UnreadableRules
from mqbridge.telemetry import Counters, logger
from mqbridge_cli.runner.child import DRAIN_TIMEOUT_S, Child
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.health import answers
from mqbridge_cli.runner.http_server import HttpServer
from mqbridge_cli.runner.reloader import Reloader
from mqbridge_cli.runner.settings import RunSettings, load_or_say
from mqbridge_cli.runner.together import TasksOfAll, readiness_of_all, registry_of_all

__all__ = ["run"]

LOOK_AFTER_CHILDREN_S = 0.5


def run(settings: RunSettings, workers: int) -> int:
    """Run `workers` processes, each on its part of the rules, until SIGTERM or SIGINT.

    A process that ends is started again; one that says its rules cannot be run (exit code 2) ends all of them, with that code.
    """
    with tempfile.TemporaryDirectory(prefix="mqbridge-") as directory:
        return _Supervisor(settings, workers, Path(directory)).run()


class _Supervisor:
    def __init__(self, settings: RunSettings, workers: int, directory: Path) -> None:
        self._settings = settings
        # Children read a copy: one that is started again must not meet a file that has been changed since, and refused.
        self._accepted = directory / f"rules{Path(settings.rules_path).suffix}" if settings.is_file else None
        share = ["--share", settings.share] if settings.share else []
        accepted = ["--accepted", str(self._accepted)] if self._accepted is not None else []
        invoke = settings.invoke.arguments() if settings.invoke is not None else []
        arguments = [
            *("--rules", settings.rules_path, "--listen", "127.0.0.1:0"),
            *("--state-dir", str(settings.state_directory), *share, *accepted, *invoke),
        ]
        self._children = [Child(arguments, part, workers) for part in range(1, workers + 1)]
        self._counters = Counters()
        self._reloader: Reloader | None = None
        self._lock = threading.Lock()  # children are either looked after or exchanged
        self._stop = threading.Event()

    def run(self) -> int:
        if load_or_say(self._settings) is None:
            return 2
        try:
            if self._accepted is not None:
                self._reloader = Reloader(self._settings.rules_path, self._take, self._counters)
                self._take_over(_content_of(self._settings.rules_path))
            registry = registry_of_all(self._children, self._counters)
            server = HttpServer(
                self._settings.listen,
                answers(
                    lambda: readiness_of_all(self._children, self._reloader.error if self._reloader else None),
                    lambda: generate_latest(registry),
                    TasksOfAll(self._children),
                ),
            )
        except Exception as error:  # a port that is taken, a secret that is not there
            print(f"cannot start: {error}", file=sys.stderr)
            return 2
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        for child in self._children:
            child.start()
        server.start()
        if self._reloader is not None:
            self._reloader.start()
        exit_code = self._look_after_children()
        if self._reloader is not None:
            self._reloader.stop()
        _stop_all(self._children)
        server.close()
        return exit_code

    def _look_after_children(self) -> int:
        """Return when all are to end: 2 if one cannot run its rules, else 0."""
        while not self._stop.wait(LOOK_AFTER_CHILDREN_S):
            with self._lock:
                if any(child.keep_running() == 2 for child in self._children):
                    return 2
        return 0

    def _take(self) -> None:
        """Put the rules file as it is now in force."""
        rules = self._take_over(_content_of(self._settings.rules_path))
        with self._lock:
            _stop_all(self._children)
            if self._stop.is_set():
                return
            for child in self._children:
                child.start()
        logger().info("rules changed", extra={"config_hash": rules.digest, "workers": len(self._children)})

    def _take_over(self, content: bytes) -> Rules:
        """Keep `content` for the children if they can run it.

        Raises:
            RulesError, CannotRun: they cannot, and what was kept before still is.
        """
        assert self._accepted is not None  # noqa: S101  # only files are watched
        candidate = self._accepted.with_name(f"candidate{self._accepted.suffix}")
        candidate.write_bytes(content)
        rules = self._settings.load(str(candidate))
        # Made and thrown away: it shows whether children can make theirs.
        settings = self._settings
        Fleet(rules, Counters(), settings.holds, share=settings.share, functions=settings.functions())
        candidate.replace(self._accepted)
        return rules


def _content_of(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnreadableRules(path, f"cannot be read: {error.strerror}") from error


def _stop_all(children: Sequence[Child]) -> None:
    for child in children:
        child.stop()
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for child in children:
        child.finish(deadline)
