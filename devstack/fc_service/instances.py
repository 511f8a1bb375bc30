"""One instance of a function: a process with a built-in or a custom runtime in it, and how the service speaks with each."""

import base64
import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from devstack.errors import StartError
from devstack.ports import free_port

from .declared import Declared

__all__ = ["ACCOUNT", "REGION", "Answer", "Instance", "start"]

ACCOUNT, REGION = "1234567890123456", "cn-hangzhou"
START_LIMIT_S = 30.0
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the caller of InvokeFunction hears: 200 in any case, and a header if the function failed."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    @property
    def is_error(self) -> bool:
        """Whether the service counts the invocation as failed."""
        return "X-Fc-Error-Type" in self.headers


class Instance(Protocol):
    """A process that takes invocations, one at a time or several."""

    @property
    def log(self) -> str: ...

    @property
    def is_usable(self) -> bool: ...

    def invoke(self, event: bytes, request_id: str) -> Answer: ...

    def close(self) -> None: ...


def start(declared: Declared, code: Path, log_path: Path, more: Mapping[str, str]) -> Instance:
    """Start an instance; `more` is added to the function's environment.

    Raises:
        StartError: a custom runtime does not listen in time.
    """
    if declared.runtime.startswith("custom"):
        return _Custom(declared, code, log_path, more)
    return _BuiltIn(declared, code, log_path, more)


def failed(kind: str, message: str, stack: tuple[str, ...] = ()) -> Answer:
    """Return the answer for an invocation that failed."""
    body = {"errorMessage": message, "errorType": kind, "stackTrace": list(stack)}
    return Answer(body=json.dumps(body).encode(), headers={"X-Fc-Error-Type": "UnhandledInvocationError"})


def _environment(declared: Declared, code: Path, more: Mapping[str, str]) -> dict[str, str]:
    own = {name: value.replace("/code", str(code)) for name, value in declared.environment.items()}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108 - as there
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "stand-in",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "stand-in",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "stand-in",
        **own,
        **more,
        "FC_ACCOUNT_ID": ACCOUNT,
        "FC_REGION": REGION,
        "FC_FUNCTION_NAME": declared.name,
        "FC_FUNCTION_MEMORY_SIZE": str(declared.memory_mb),
    }


class _OwnProcess:
    """A process that writes a log."""

    _process: subprocess.Popen[bytes]
    _log_path: Path

    @property
    def is_usable(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace")


class _BuiltIn(_OwnProcess):
    """`handler(event: bytes, context)`, one invocation at a time."""

    def __init__(self, declared: Declared, code: Path, log_path: Path, more: Mapping[str, str]) -> None:
        self._declared = declared
        self._log_path = log_path
        self._turn = threading.Lock()
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        read_end, write_end = os.pipe()
        # Results come through a pipe of their own: standard output is the function's log.
        command = [sys.executable, "-S", str(_BOOTSTRAP), declared.handler, str(write_end)]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter on the bootstrap
                command,
                cwd=code,
                env={**_environment(declared, code, more), "PYTHONPATH": str(code)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                start_new_session=True,
            )
        os.close(write_end)
        self._reader = threading.Thread(target=self._read, args=(read_end,), daemon=True)
        self._reader.start()
        self._is_loaded = False

    def invoke(self, event: bytes, request_id: str) -> Answer:
        with self._turn:
            if not self._is_loaded:
                self._result(START_LIMIT_S)
                self._is_loaded = True
            call = {
                "request_id": request_id,
                "event": base64.b64encode(event).decode(),
                "memory": self._declared.memory_mb,
                "timeout": self._declared.timeout_s,
            }
            assert self._process.stdin is not None  # noqa: S101 - it is a pipe
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(call).encode() + b"\n")
                self._process.stdin.flush()
            told = self._result(self._declared.timeout_s)
        if told is None:
            self.close()
            return failed("FunctionTimeout", f"Function timed out after {self._declared.timeout_s} seconds")
        if "error" in told:
            error = told["error"]
            return failed(error["errorType"], error["errorMessage"], tuple(error["stackTrace"]))
        return Answer(body=told["result"].encode())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._reader.join()

    def _result(self, timeout_s: float) -> dict[str, Any] | None:
        try:
            told = self._told.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if told is not None:
            return told
        self._process.wait()  # so that the next invocation knows
        return {
            "error": {"errorType": "ProcessExited", "errorMessage": "Process exited unexpectedly", "stackTrace": []}
        }

    def _read(self, read_end: int) -> None:
        with os.fdopen(read_end, encoding="utf-8") as results:
            for line in results:
                self._told.put(json.loads(line))
        self._told.put(None)


class _Custom(_OwnProcess):
    """An HTTP server of the function's own: POST /invoke, judged by the header `x-fc-status` of its answer."""

    def __init__(self, declared: Declared, code: Path, log_path: Path, more: Mapping[str, str]) -> None:
        self._declared = declared
        self._log_path = log_path
        self._port = free_port()
        # The interpreter is this machine's; -S, as there are no site packages of ours over there.
        command = [sys.executable, "-S", *declared.command[1:]]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - as s.custom.yaml says
                command,
                cwd=code,
                env={**_environment(declared, code, more), "FC_SERVER_PORT": str(self._port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                answer = self._post("/initialize", b"", "init")
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise StartError(f"{declared.name} does not listen:\n{self.log}") from None
                time.sleep(0.02)
        if answer.is_error:
            self.close()
            raise StartError(f"{declared.name}: /initialize failed: {answer.body!r}")

    def invoke(self, event: bytes, request_id: str) -> Answer:
        try:
            return self._post("/invoke", event, request_id)
        except TimeoutError:
            return failed("FunctionTimeout", f"Function timed out after {self._declared.timeout_s} seconds")
        except OSError as error:
            return failed("ProcessExited", str(error))

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _post(self, path: str, body: bytes, request_id: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._declared.timeout_s)
        headers = {
            "content-type": "application/octet-stream",
            "x-fc-request-id": request_id,
            "x-fc-control-path": path,
            "x-fc-function-name": self._declared.name,
            "x-fc-function-memory": str(self._declared.memory_mb),
            "x-fc-region": REGION,
            "x-fc-account-id": ACCOUNT,
            "x-fc-access-key-id": "stand-in",
            "x-fc-access-key-secret": "stand-in",
            "x-fc-security-token": "stand-in",
        }
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        # Without the header the service takes any answer for a success, a 500 too.
        if response.headers.get("x-fc-status", "200") == "200":
            return Answer(body=content, status=response.status)
        return Answer(body=content, headers={"X-Fc-Error-Type": "UnhandledInvocationError"})
