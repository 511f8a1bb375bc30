"""One worker process of a supervisor: started, started again when it ends, asked over HTTP, stopped."""

import http.client
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from mqbridge.telemetry import logger
from mqbridge_cli.runner.control import CONTROL_HEADER, CONTROL_VALUE

__all__ = ["DRAIN_TIMEOUT_S", "Child"]

RESTART_AFTER_S = 1.0
ASK_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 30.0  # a worker's own, and a margin


class Child:
    """One process, with a listener of its own, whose address it prints first."""

    def __init__(self, arguments: list[str], part: int, workers: int) -> None:
        self._command = [sys.executable, "-m", "mqbridge_cli.main", "run", *arguments, "--part", f"{part}/{workers}"]
        self._part = part
        self._address = ""
        self._not_before = 0.0

    def start(self) -> None:
        """Start the process."""
        self._address = ""
        # Its standard output is ours but for the first line; its end tells the child that we are gone.
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves
        threading.Thread(target=self._forward, args=(self._process,), daemon=True).start()

    def keep_running(self) -> int:
        """Start the process again if it ended; return 2 if that would not help."""
        code = self._process.poll()
        if code is None or code == 2:
            return code or 0
        if time.monotonic() >= self._not_before:
            logger().error("worker ended; it is started again", extra={"part": self._part, "exit_code": code})
            self._not_before = time.monotonic() + RESTART_AFTER_S
            self.start()
        return 0

    def stop(self) -> None:
        """Have the process drain."""
        if self._process.poll() is None:
            self._process.terminate()

    def finish(self, deadline: float) -> None:
        """Wait until `deadline` for its end, then end it."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of what the process answers; 0 if it does not."""
        return self._ask(urllib.request.Request(f"http://{self._address}{path}"), ASK_TIMEOUT_S)  # our own child

    def command(self, path: str) -> tuple[int, str]:
        """Forward a command to the process; as `get`, but it waits until a task has drained."""
        request = urllib.request.Request(  # our own child
            f"http://{self._address}{path}", method="POST", headers={CONTROL_HEADER: CONTROL_VALUE}
        )
        return self._ask(request, DRAIN_TIMEOUT_S)

    def _ask(self, request: urllib.request.Request, timeout_s: float) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310  # our own child
                return int(answer.status), str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError, http.client.HTTPException):
            return 0, ""

    def _forward(self, process: "subprocess.Popen[str]") -> None:
        lines = iter(process.stdout or ())
        address = next(lines, "").strip()
        if process is self._process:
            self._address = address
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()
