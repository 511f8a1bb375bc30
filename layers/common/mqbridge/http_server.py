"""A server of its own for one handler: `python -m mqbridge.http_server MODULE:HANDLER`. Nothing but the standard library.

It is Function Compute's custom runtime and custom container (`--fc`), and serves a plain container where no framework is wanted. Sending
is waiting, so threads do; each request under way has a bridge of its own (mqbridge.handler).

Function Compute posts events to /invoke, and to /initialize and /pre-stop when an instance begins and ends; all else is what an HTTP
trigger passes on. It writes its headers `x-fc-...` itself, and takes no request that has some; without `--fc` they mean nothing.
"""

import argparse
import importlib
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mqbridge.http_access import NoAccess, admit, check_access
from mqbridge.http_entry import Context, Handler
from mqbridge.telemetry import logger, writes_metrics
from mqbridge.triggers import HttpRequest, HttpResponse, UnreadableEvent

__all__ = ["HandlerServer", "main"]

FC_PORT, PORT = 9000, 8080
MAX_PORT = 65_535
# Function Compute's limit for a synchronous invocation.
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_DIGITS = 12  # of a number in a header or a setting
# Function Compute keeps its connections, and asks for a quarter of an hour at least. Proxies in front keep theirs for a minute or less.
FC_IDLE_S, IDLE_S = 900.0, 75.0
# Requests beyond this wait for their turn: each that is under way has connections of its own to the brokers.
MAX_AT_ONCE = 16
# Each has a thread, and may be idle for as long as above.
MAX_CONNECTIONS = 256
TIMEOUT_S = 30.0
DRAIN_S = 15.0
_FC_REQUEST_ID, _FC_CONTROL_PATH = "x-fc-request-id", "x-fc-control-path"
_FC_LIFE = frozenset({"/initialize", "/pre-stop", "/pre-freeze"})


class HandlerServer(ThreadingHTTPServer):
    """Serves one handler; `serve_forever` it.

    Args:
        handler: takes an HttpRequest and a context, and returns an HttpResponse; for several threads at a time.
        address: host and port.
        is_fc: whether Function Compute calls, and nobody else can.
        timeout_s: how long a request may take.
        admit: asked before a request's body is read; raises UnreadableEvent, with the answer, for a sender that may not send.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        handler: Handler,
        address: tuple[str, int],
        *,
        is_fc: bool = False,
        timeout_s: float = TIMEOUT_S,
        admit: Callable[[HttpRequest], None] | None = None,
    ) -> None:
        super().__init__(address, _Connection)
        self.is_fc = is_fc
        self.admit = admit
        self._handler = handler
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(MAX_AT_ONCE)
        self._connections: set[Any] = set()
        self._under_way = 0
        self._changed = threading.Condition()

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Have the handler answer, when it is the request's turn."""
        context = Context(request.header(_FC_REQUEST_ID) if self.is_fc else "", self._timeout_s)
        with self._turns:
            response: HttpResponse = self._handler(request, context)
            return response

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have the end wait while a request is read, handled and answered."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def drain(self) -> None:
        """Accept no more, and wait a while for what is under way."""
        self.shutdown()
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, DRAIN_S)
        self.server_close()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn a connection away that is one too many."""
        del client_address  # any
        if len(self._connections) >= MAX_CONNECTIONS:
            with suppress(OSError):
                request.sendall(_TOO_MANY % (b"x-fc-status: 404\r\n" if self.is_fc else b""))
            return False
        self._connections.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        """End a connection, of whatever kind."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def _count(self, change: int) -> None:
        with self._changed:
            self._under_way += change
            self._changed.notify_all()


_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n%bcontent-length: 0\r\n\r\n"


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay
    default_request_version = "HTTP/1.0"  # answers to 0.9 would have no status
    server_version, sys_version = "mqbridge", ""
    server: HandlerServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(FC_IDLE_S if self.server.is_fc else IDLE_S)
        # An answer goes out in two writes: with Nagle's algorithm the second would wait for the peer's delayed acknowledgement.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        with self.server.under_way():
            try:
                if self.headers.defects:
                    raise _Refused(400, "the headers: expected NAME: VALUE in each line")
                if self.server.admit is not None:
                    self.server.admit(self._request(b""))  # before the body: who may not send must not fill our memory
                response = self._answer(self._body())
            except UnreadableEvent as error:
                logger().error("event refused", extra={"detail": str(error)})
                self.close_connection = True  # what is still to come would be read as the next request
                answer = error.answer
                headers = {**answer.headers, "connection": "close"}
                response = HttpResponse(status=answer.status, headers=headers, body=answer.body)
            except _Refused as refused:
                response = self._refusal(refused)
            self._send(response)

    # The library's way to name methods. Function Compute's /pre-stop is a GET; of all else the handler says what it takes.
    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what the library cannot read as we refuse the rest."""
        del explain  # for people
        self._send(self._refusal(_Refused(code, message or HTTPStatus(code).phrase)))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests; the handler says what is to be said."""

    def _answer(self, body: bytes) -> HttpResponse:
        request = self._request(body)
        if not self.server.is_fc:
            return self.server.answer(request)
        if (request.header(_FC_CONTROL_PATH) or request.path) in _FC_LIFE:
            return HttpResponse(status=200, headers={}, body="").for_fc()
        # By these lines Function Compute's log service finds what belongs to a request.
        request_id = request.header(_FC_REQUEST_ID)
        _say(f"FC Invoke Start RequestId: {request_id}")
        response = self.server.answer(request)
        _say(f"FC Invoke End RequestId: {request_id}")
        return response

    def _request(self, body: bytes) -> HttpRequest:
        return HttpRequest(
            method=self.command,
            path=self.path.partition("?")[0],
            headers={name: ",".join(self.headers.get_all(name, [])) for name in self.headers},
            body=body,
            is_from_fc=self.server.is_fc,
        )

    def _refusal(self, refused: "_Refused") -> HttpResponse:
        self.close_connection = True  # what of the request is still to come would be read as the next
        headers = {"connection": "close", "content-type": "text/plain"}
        response = HttpResponse(status=refused.status, headers=headers, body=str(refused))
        return response.for_fc() if self.server.is_fc else response

    def _body(self) -> bytes:
        said, *others = set(self.headers.get_all("content-length", ["0"]))
        if others:
            raise _Refused(400, "content-length: expected one number of bytes")
        if "transfer-encoding" in self.headers:
            raise _Refused(411, "expected a content-length")
        if not (said.isascii() and said.isdigit() and len(said) <= MAX_DIGITS):
            raise _Refused(400, "content-length: expected a number of bytes")
        if int(said) > MAX_BODY_BYTES:
            raise _Refused(413, f"the body: expected at most {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(said))
        if len(body) < int(said):
            raise _Refused(400, "the body: expected as many bytes as content-length says")
        return body

    def _send(self, response: HttpResponse) -> None:
        content = response.body.encode()
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _say(line: str) -> None:
    """Write a line in one piece: other threads write theirs."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Refused(Exception):
    """A request that is not read; the message says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0, or 2 if it could not start."""
    options = _parser().parse_args(arguments)
    try:
        # The events of Function Compute need no token: who may invoke is RAM's to say. Its HTTP triggers do, and say so when they come.
        if not options.fc:
            check_access()
        handler = _handler(options.handler)
        writes_metrics()
        server = HandlerServer(
            handler,
            (options.host, options.port or _port_of_platform(options.fc)),
            is_fc=options.fc,
            timeout_s=options.timeout,
            admit=None if options.fc else admit,
        )
    except (NoAccess, ImportError, AttributeError, ValueError, OSError) as error:
        print(f"mqbridge.http_server: {error}", file=sys.stderr)
        return 2
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
    stopped.wait()
    server.drain()
    return 0


def _handler(named: str) -> Handler:
    module, _, name = named.partition(":")
    if not module or not name or module.startswith("."):
        raise ValueError(f"expected MODULE:HANDLER, functions.outbound.app:handler for example, got {named!r}")
    handler: Handler = getattr(importlib.import_module(module), name)
    if not callable(handler):
        raise ValueError(f"{named}: expected a handler that can be called, got {type(handler).__name__}")
    return handler


def _port_of_platform(is_fc: bool) -> int:
    setting, default = ("FC_SERVER_PORT", FC_PORT) if is_fc else ("PORT", PORT)
    try:
        return _port(os.environ.get(setting) or str(default))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{setting}: {error}") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and 0 < int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"expected a port, 1 to {MAX_PORT}, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, got {text!r}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mqbridge.http_server", description="Serve a handler over HTTP.")
    parser.add_argument("handler", metavar="MODULE:HANDLER", help="functions.outbound.app:handler, for example")
    parser.add_argument(
        "--fc", action="store_true", help="as Function Compute's custom runtime: port 9000, its headers"
    )
    parser.add_argument("--host", default="0.0.0.0", help="default: all")  # noqa: S104 - a container's only way
    parser.add_argument("--port", type=_port, help="default: FC_SERVER_PORT or 9000 with --fc, else PORT or 8080")
    parser.add_argument(
        "--timeout", type=_seconds, default=TIMEOUT_S, metavar="SECONDS", help=f"for a request; default {TIMEOUT_S:g}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
