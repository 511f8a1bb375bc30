"""Lambda's Runtime API (2018-06-01), as one execution environment's runtime sees it."""

import queue
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from .loopback import LoopbackServer

__all__ = [
    "MAX_RESPONSE_BYTES",
    "Exited",
    "Happened",
    "Invocation",
    "Raised",
    "Ready",
    "Returned",
    "RuntimeApi",
    "TooLarge",
]

# Lambda's quota of 6 MB, and 100 bytes that the service grants a response.
MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100
_PREFIX = "/2018-06-01/runtime/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What the runtime is given."""

    request_id: str
    payload: bytes
    deadline_ms: int
    function_arn: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The runtime asks for its next invocation: it is initialized, or has finished."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised, or the runtime could not load it."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class TooLarge:
    """What the handler returned is more than the service takes."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has ended; nothing follows."""

    status: int


Happened = Ready | Returned | Raised | TooLarge | Exited


class RuntimeApi:
    """A server on loopback for one runtime, which asks for invocations and posts results; `happened` has what it did, in order."""

    def __init__(self) -> None:
        self.happened: queue.SimpleQueue[Happened] = queue.SimpleQueue()
        self._offered: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits for the client's delayed acknowledgement

            def do_GET(self) -> None:
                api._next(self)

            def do_POST(self) -> None:
                api._posted(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the service logs."""

        self._server = LoopbackServer(Handler)
        self._server.start()

    @property
    def address(self) -> str:
        """What AWS_LAMBDA_RUNTIME_API says."""
        return self._server.address

    def offer(self, invocation: Invocation) -> None:
        """Hand the runtime its next invocation."""
        self._offered.put(invocation)

    def close(self) -> None:
        """Serve no more; the process must have ended."""
        self._offered.put(None)
        self._server.stop()

    def _next(self, request: BaseHTTPRequestHandler) -> None:
        self.happened.put(Ready())
        invocation = self._offered.get()
        if invocation is None:
            request.close_connection = True
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Content-Type": "application/json",
        }
        _answer(request, 200, invocation.payload, headers)

    def _posted(self, request: BaseHTTPRequestHandler) -> None:
        payload = _body(request)
        path = request.path.removeprefix(_PREFIX)
        if path.endswith("/response"):
            if len(payload) > MAX_RESPONSE_BYTES:
                self.happened.put(TooLarge())
                _answer(request, 413, b'{"errorType":"RequestEntityTooLarge"}')
                return
            happened: Happened = Returned(payload)
        else:  # invocation/ID/error, init/error
            happened = Raised(payload)
        self.happened.put(happened)  # first: after the answer the process may end, and that must come after this
        _answer(request, 202, b'{"status":"OK"}')


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    chunks = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        chunks.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(chunks)


def _answer(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    try:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
    except OSError:  # the process was ended meanwhile
        request.close_connection = True
