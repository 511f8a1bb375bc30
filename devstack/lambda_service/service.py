"""The service: functions by name, their environments, and the invoke API over HTTP."""

import base64
import itertools
import json
import re
import tempfile
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from .environment import Answer, Environment
from .functions import ACCOUNT, REGION, Function
from .loopback import LoopbackServer

__all__ = ["AsyncInvocation", "LambdaService", "Refused"]

# Lambda's quotas: 6 MB for a synchronous event, 1 MB for an asynchronous one.
MAX_SYNC_BYTES = 6 * 1024 * 1024
MAX_ASYNC_BYTES = 1024 * 1024
LOG_TAIL_BYTES = 4096
# Before the second and third attempt of an asynchronous invocation.
RETRY_DELAYS_S = (60.0, 120.0)
# How soon an asynchronous invocation that was throttled is tried again; this is no attempt.
THROTTLED_DELAY_S = 1.0

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncInvocation:
    """An event that was accepted, and failed in every attempt: what an OnFailure destination would get."""

    function: str
    payload: bytes
    answers: tuple[Answer, ...]


class Refused(Exception):
    """The service does not invoke; it says why as the API's exception `kind`, with the HTTP status and body that the API has for it."""

    def __init__(self, status: int, kind: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.body = {"Type": "User", "Message": message, **more}


class LambdaService:
    """The functions, behind `url`, which boto3 takes as endpoint_url. A context manager: on leaving, all processes end.

    `dead` has the asynchronous invocations that failed for good.
    """

    def __init__(
        self, functions: Iterable[Function], *, port: int = 0, retry_delays_s: Sequence[float] = RETRY_DELAYS_S
    ) -> None:
        self.dead: list[AsyncInvocation] = []
        self._logs = tempfile.TemporaryDirectory(prefix="lambda-service-")
        self._pools = {each.name: _Pool(each, Path(self._logs.name)) for each in functions}
        self._retry_delays_s = retry_delays_s
        self._stopped = threading.Event()
        self._server = _server(self, port)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.stop()
        for pool in self._pools.values():
            pool.close()
        self._logs.cleanup()

    @property
    def url(self) -> str:
        """Where the service listens."""
        return f"http://{self._server.address}"

    def invoke(self, name: str, payload: bytes, *, request_id: str | None = None) -> Answer:
        """Invoke a function synchronously and return what became of it.

        Raises:
            Refused: it is not invoked.
        """
        pool = self._pool(name)
        if len(payload) > MAX_SYNC_BYTES:
            raise _too_large(len(payload), MAX_SYNC_BYTES)
        return pool.invoke(_event(payload), request_id or str(uuid.uuid4()))

    def invoke_later(self, name: str, payload: bytes, *, request_id: str) -> None:
        """Accept an asynchronous invocation."""
        pool = self._pool(name)
        if len(payload) > MAX_ASYNC_BYTES:
            raise _too_large(len(payload), MAX_ASYNC_BYTES)
        threading.Thread(target=self._attempts, args=(pool, _event(payload), request_id), daemon=True).start()

    def _pool(self, name: str) -> "_Pool":
        """Return the function of a name, an ARN, a partial ARN (ACCOUNT:function:NAME), each with $LATEST or without."""
        plain = name.removesuffix(":$LATEST").rpartition(":")[2]
        if plain not in self._pools:
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{plain}"
            raise Refused(404, "ResourceNotFoundException", f"Function not found: {arn}")
        return self._pools[plain]

    def _attempts(self, pool: "_Pool", payload: bytes, request_id: str) -> None:
        """Invoke until it works, with the same request id each time; throttling is waited out."""
        answers: list[Answer] = []
        for delay_s in (0.0, *self._retry_delays_s):
            self._stopped.wait(delay_s)
            while not self._stopped.is_set():
                with suppress(Refused):
                    answers.append(pool.invoke(payload, request_id))
                    break
                self._stopped.wait(THROTTLED_DELAY_S)
            if self._stopped.is_set() or not answers[-1].is_error:
                return
        self.dead.append(AsyncInvocation(function=pool.function.name, payload=payload, answers=tuple(answers)))


class _Pool:
    """The environments of a function: an idle one is used again, a new one is made up to the function's concurrency."""

    def __init__(self, function: Function, logs: Path) -> None:
        self.function = function
        self._logs = logs
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        self._busy = 0

    def invoke(self, payload: bytes, request_id: str) -> Answer:
        environment = self._taken()
        try:
            return environment.invoke(payload, request_id)
        finally:
            self._given_back(environment)

    def close(self) -> None:
        with self._lock:
            for environment in self._idle:
                environment.close()
            self._idle.clear()

    def _taken(self) -> Environment:
        with self._lock:
            while self._idle:
                environment = self._idle.pop()
                if environment.is_usable:
                    self._busy += 1
                    return environment
                environment.close()
            if self._busy >= self.function.concurrency:
                reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
                raise Refused(429, "TooManyRequestsException", "Rate Exceeded.", Reason=reason)
            self._busy += 1
            return Environment(self.function, self._logs / f"{self.function.name}-{next(self._numbers)}.log")

    def _given_back(self, environment: Environment) -> None:
        with self._lock:
            self._busy -= 1
            if environment.is_usable:
                self._idle.append(environment)
                return
        environment.close()


def _event(payload: bytes) -> bytes:
    if not payload:
        return b"{}"
    try:
        json.loads(payload)
    except (ValueError, RecursionError) as error:
        message = f"Could not parse request body into json: {error}"
        raise Refused(400, "InvalidRequestContentException", message) from None
    return payload


def _too_large(size_bytes: int, limit_bytes: int) -> Refused:
    message = f"{size_bytes} byte payload is too large for the invocation (limit {limit_bytes} bytes)"
    return Refused(413, "RequestTooLargeException", message)


def _server(service: LambdaService, port: int) -> LoopbackServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request_id = str(uuid.uuid4())
            try:
                found = _INVOKE.fullmatch(urlsplit(self.path).path)
                if found is None:
                    raise Refused(404, "UnknownOperationException", "only functions/NAME/invocations is served here")
                self._invoke(unquote(found[1]), payload, request_id)
            except Refused as refusal:
                self._answer(
                    refusal.status, json.dumps(refusal.body).encode(), request_id, {"X-Amzn-ErrorType": refusal.kind}
                )

        def _invoke(self, name: str, payload: bytes, request_id: str) -> None:
            kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
            if kind == "DryRun":
                service._pool(name)
                self._answer(204, b"", request_id)
            elif kind == "Event":
                service.invoke_later(name, payload, request_id=request_id)
                self._answer(202, b"", request_id)
            else:
                answer = service.invoke(name, payload, request_id=request_id)
                headers = {"X-Amz-Executed-Version": "$LATEST"}
                if answer.is_error:
                    headers["X-Amz-Function-Error"] = "Unhandled"
                if self.headers.get("X-Amz-Log-Type") == "Tail":
                    tail = answer.log.encode()[-LOG_TAIL_BYTES:]
                    headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
                self._answer(200, answer.payload, request_id, headers)

        def _answer(self, status: int, body: bytes, request_id: str, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"X-Amzn-RequestId": request_id, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: what functions log is in the answers."""

    return LoopbackServer(Handler, port)
