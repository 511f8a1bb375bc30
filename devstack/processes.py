"""Child processes that can be waited for, paused, killed and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .errors import StartError

_POLL_S = 0.02
_TAIL_BYTES = 4000
_TETHER = Path(__file__).with_name("tether.py")

# The kernel takes a *thread* for the parent of a tethered process. This one lives as long as the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-spawner")


def wait_until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    """Poll until the condition holds; return False if it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


class ManagedProcess:
    """A child process with a log file, in a session of its own: Ctrl-C at the terminal leaves it to us to end it.

    It is killed when this process dies (on Linux). A detached one stays, and a file beside its log records it, so that
    another process can find it with `recorded_processes` and end it. Output is appended to the log over restarts.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log_path = log_path.resolve()
        self._environment = dict(environment or {})
        self._detached = detached
        self._record_path = self.log_path.with_suffix(".pid")
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The process id of the child, which may have ended since."""
        if self._child is None:
            raise ProcessLookupError(f"{self.name} has not been started")
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child exists; a paused one does."""
        return self._child is not None and self._child.poll() is None

    @property
    def output(self) -> str:
        """What the child has logged since it was last started."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def start(self, ready: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Start the child and wait until it is ready.

        Raises:
            StartError: it ended before that, or was not ready in time and has been killed.
        """
        self.launch()
        self.wait_ready(ready, timeout_s=timeout_s)

    def launch(self) -> None:
        """Start the child without waiting for anything."""
        if self.alive:
            raise StartError(f"{self.name} is running already, as process {self.pid}")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._child = _spawner.submit(self._spawn).result()
        if self._detached:
            self._record_path.write_text(f"{self.pid} {_start_ticks(self.pid)}\n", encoding="ascii")

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Wait until a launched child is ready; errors as in `start`."""
        if wait_until(lambda: not self.alive or ready(), timeout_s=timeout_s) and self.alive:
            return
        exit_status = self._child.poll() if self._child else None
        self.kill()
        reason = f"not ready after {timeout_s:g} s" if exit_status is None else f"ended with status {exit_status}"
        tail = self.output[-_TAIL_BYTES:].strip() or "(it wrote nothing)"
        raise StartError(f"{self.name}: {reason}; the end of {self.log_path}:\n{tail}")

    def stop(self, *, grace_s: float = 20.0) -> None:
        """Ask the child to end, and kill it if it does not within the grace. Does nothing if it has ended."""
        self.terminate()
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_s)
        self.kill()

    def terminate(self) -> None:
        """Ask the child to end and do not wait for it; `stop` does."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a paused process would not even notice

    def kill(self) -> None:
        """End the child without giving it a chance to tidy up. Does nothing if it has ended."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()
        if self._detached:
            self._record_path.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop the child from running; its connections stay open and silent."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused child run on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)  # checks first that the process id is still ours

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = self.command
        if sys.platform == "linux" and not self._detached:
            # -I -S: no site packages, no environment: 20 ms.
            command = (sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *command)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(  # noqa: S603 - the commands are ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProcess:
    """A detached process that was started by this or another process."""

    name: str
    pid: int
    start_ticks: str
    record_path: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs; a later process that got the same id is told apart by its start time."""
        return _start_ticks(self.pid) == self.start_ticks != ""

    def stop(self, *, grace_s: float = 20.0) -> None:
        """End it as `ManagedProcess.stop` does, and forget it."""
        for numbers, patience_s in (((signal.SIGTERM, signal.SIGCONT), grace_s), ((signal.SIGKILL,), 5.0)):
            for number in numbers:
                if self.alive:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.pid, number)
            if wait_until(lambda: not self.alive, timeout_s=patience_s):
                break
        self.record_path.unlink(missing_ok=True)


def recorded_processes(directory: Path) -> list[RecordedProcess]:
    """Return the detached processes whose log files are below the directory, the dead ones included."""
    found = []
    for path in sorted(directory.rglob("*.pid")):
        pid, _, start_ticks = path.read_text(encoding="ascii").strip().partition(" ")
        found.append(RecordedProcess(name=path.stem, pid=int(pid), start_ticks=start_ticks, record_path=path))
    return found


def _start_ticks(pid: int) -> str:
    """Return when the process was started, in the kernel's own unit; empty if there is none or it has ended."""
    if not Path("/proc/self/stat").exists():  # not Linux: an id has to do
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        return "unknown"
    try:
        # proc(5): the name, in parentheses, may contain anything; the state follows it, the start is field 22.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
