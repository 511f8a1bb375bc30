"""/livez, /readyz, /metrics: is the process alive, are its rules connected, what has it done. No broker is asked."""

import json
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from mqbridge.rules import Rules
from mqbridge_cli.runner.rule_runner import RuleRunner
from mqbridge_cli.runner.state import State

__all__ = ["HealthServer", "readiness"]


def readiness(rules: Rules, runners: Sequence[RuleRunner]) -> tuple[bool, dict[str, Any]]:
    """Return whether every rule is running and has everything delivered that it could, and the details for people."""
    entries = []
    is_ready = True
    for runner in runners:
        snapshot, parked = runner.state.snapshot, runner.worker.parked
        entry = {
            "rule": runner.rule_id,
            "flow": runner.flow,
            "state": snapshot.state.value,
            "since_s": round(time.time() - snapshot.since, 1),
            "detail": snapshot.detail,
            "last_ok_s": None if snapshot.last_ok is None else round(time.time() - snapshot.last_ok, 1),
            "unsettled": runner.inbox.unsettled,
        }
        if parked:
            entry["parked"] = parked
            entry["help"] = (
                "records that can never be delivered wait at the MQTT broker: give the rule a DeadLetterQueue"
            )
        entries.append(entry)
        is_ready = is_ready and snapshot.state is State.RUNNING and not parked
    return is_ready, {"status": "ready" if is_ready else "not ready", "config_hash": rules.digest, "rules": entries}


class HealthServer:
    """Serves in a thread of its own, on one address."""

    def __init__(
        self, host: str, port: int, readiness: Callable[[], tuple[bool, dict[str, Any]]], metrics: Callable[[], bytes]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/livez":
                    self._answer(200, "application/json", b'{"status": "alive"}\n')
                elif self.path == "/readyz":
                    is_ready, details = readiness()
                    self._answer(
                        200 if is_ready else 503, "application/json", json.dumps(details, indent=2).encode() + b"\n"
                    )
                elif self.path == "/metrics":
                    self._answer(200, CONTENT_TYPE_PLAIN_0_0_4, metrics())
                else:
                    self._answer(404, "text/plain", b"/livez, /readyz or /metrics\n")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Scrapes are not worth a log line."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
        )

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
