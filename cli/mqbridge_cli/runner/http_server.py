"""The runner's HTTP listener: requests in, answers out; what they say is others' business."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

__all__ = ["Answer", "HttpServer", "Request", "json_answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked, and the address of who asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered."""

    status: int
    content_type: str
    body: bytes


def json_answer(status: int, document: Mapping[str, Any]) -> Answer:
    """Return a document as an answer."""
    return Answer(status=status, content_type="application/json", body=json.dumps(document, indent=2).encode() + b"\n")


class HttpServer:
    """Serves GET and POST in a thread of its own, on one address.

    Raises:
        OSError: the address is taken.
    """

    def __init__(self, listen: str, answer: Callable[[Request], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()  # no command has a body, and one that comes is not read

            def _serve(self) -> None:
                given = answer(
                    Request(
                        method=self.command,
                        path=self.path.partition("?")[0],
                        headers={name.lower(): value for name, value in self.headers.items()},
                        peer=str(self.client_address[0]),
                    )
                )
                self.send_response(given.status)
                self.send_header("Content-Type", given.content_type)
                self.send_header("Content-Length", str(len(given.body)))
                self.end_headers()
                self.wfile.write(given.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Scrapes are not worth a log line."""

        host, _, port = listen.rpartition(":")
        host = host or "127.0.0.1"
        self._server = ThreadingHTTPServer((host, int(port)), Handler)
        self._server.daemon_threads = True
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True
        )

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
