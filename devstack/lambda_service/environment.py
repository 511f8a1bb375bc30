"""One execution environment: a process with the runtime and the function in it, which handles one invocation at a time."""

import contextlib
import json
import queue
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .functions import Function
from .runtime_api import MAX_RESPONSE_BYTES, Exited, Happened, Invocation, Raised, Ready, Returned, RuntimeApi, TooLarge

__all__ = ["Answer", "Environment"]

# What the service allows for loading a function before the function's own timeout begins to run.
INIT_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an invocation; `is_error` if the function did not return. `init_ms` is 0 unless the environment was new."""

    request_id: str
    payload: bytes
    is_error: bool
    log: str
    init_ms: float
    duration_ms: float


class Environment:
    """An execution environment of a function. For one thread at a time. The process ends with `close`, and when this one ends.

    It is tied to us by its connection to the Runtime API: when that breaks, awslambdaric gives up.
    """

    def __init__(self, function: Function, log_path: Path) -> None:
        self._is_broken = False
        self._first: Happened = Ready()
        self._function = function
        self._log_path = log_path
        self._api = RuntimeApi()
        self._started_at = time.monotonic()
        self._is_cold = True
        with log_path.open("ab") as log:
            # -S: without the site packages of our own environment, which Lambda has not.
            self._process = subprocess.Popen(  # noqa: S603 - the function's own interpreter on awslambdaric
                [function.python, "-S", "-m", "awslambdaric", function.handler],
                cwd=function.task,
                env=function.variables(self._api.address),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us
            )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def is_usable(self) -> bool:
        """Whether it can take another invocation."""
        return not self._is_broken and self._process.poll() is None

    def invoke(self, payload: bytes, request_id: str) -> Answer:
        """Have the function handle an event, within its timeout; after anything but a return or a raise it is not usable any more."""
        log_start = self._log_path.stat().st_size
        init_ms = self._wait_until_ready() if self._is_cold else 0.0
        timeout_s = self._function.timeout_s
        begun_at = time.monotonic()
        if isinstance(self._first, Ready):
            deadline_ms = int((time.time() + timeout_s) * 1000)
            self._api.offer(
                Invocation(
                    request_id=request_id, payload=payload, deadline_ms=deadline_ms, function_arn=self._function.arn
                )
            )
            happened = self._result(begun_at + timeout_s)
        else:
            happened = self._first
        self._is_cold = False
        duration_ms = (time.monotonic() - begun_at) * 1000
        result = self._judged(happened, request_id)
        log = self._log_since(0 if init_ms else log_start, request_id, duration_ms, init_ms)
        return Answer(
            request_id=request_id,
            payload=result,
            is_error=not isinstance(happened, Returned),
            log=log,
            init_ms=init_ms,
            duration_ms=duration_ms,
        )

    def close(self) -> None:
        """End the process."""
        self._is_broken = True
        self._process.kill()
        self._watcher.join()
        self._api.close()

    def _wait_until_ready(self) -> float:
        # One that takes longer goes on within the invocation's own time: the service would begin anew, to the same effect.
        left_s = INIT_LIMIT_S - (time.monotonic() - self._started_at)
        with contextlib.suppress(queue.Empty):
            self._first = self._api.happened.get(timeout=max(0.0, left_s))
        return (time.monotonic() - self._started_at) * 1000

    def _result(self, deadline: float) -> Happened | None:
        """Return what comes of the invocation, None if nothing does in time. That the runtime is ready is no result."""
        while True:
            try:
                happened = self._api.happened.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if not isinstance(happened, Ready):
                return happened

    def _judged(self, happened: Happened | None, request_id: str) -> bytes:
        if isinstance(happened, Returned):
            return happened.payload
        if isinstance(happened, Raised):
            # The runtime ends itself after an error of initialization, and goes on after one of the handler.
            self._is_broken = not isinstance(self._first, Ready)
            return happened.payload
        self._is_broken = True
        if isinstance(happened, TooLarge):
            what = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
            return _error("Function.ResponseSizeTooLarge", what)
        if isinstance(happened, Exited):
            status = f"signal: {-happened.status}" if happened.status < 0 else f"exit status {happened.status}"
            return _error("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited with error: {status}")
        what = f"Task timed out after {self._function.timeout_s:.2f} seconds"
        return _error("Sandbox.Timedout", f"RequestId: {request_id} Error: {what}")

    def _log_since(self, start: int, request_id: str, duration_ms: float, init_ms: float) -> str:
        with self._log_path.open("rb") as log:
            log.seek(start)
            own = log.read().decode("utf-8", "replace")
        if own and not own.endswith("\n"):
            own += "\n"
        report = f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\tMemory Size: {self._function.memory_mb} MB"
        report += f"\tMax Memory Used: {self._peak_mb()} MB" + (f"\tInit Duration: {init_ms:.2f} ms" if init_ms else "")
        return f"START RequestId: {request_id} Version: $LATEST\n{own}END RequestId: {request_id}\n{report}\n"

    def _peak_mb(self) -> int:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) // 1024 if found else 0

    def _watch(self) -> None:
        self._api.happened.put(Exited(self._process.wait()))


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
