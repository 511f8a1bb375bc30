"""The server of one handler, on loopback: what it hands over, what it refuses, and what Function Compute wants to hear."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from devstack.processes import wait_until
from mqbridge import http_server
from mqbridge.http_server import HandlerServer
from mqbridge.triggers import HttpRequest, HttpResponse, refused
from tests.unit.mqbridge.support import ROOT, document, outbound_rule

Handler = Callable[[Any, Any], Any]


def told(request: HttpRequest, context: Any) -> HttpResponse:
    """Answer with what came."""
    body = {
        "method": request.method,
        "path": request.path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": request.body.decode("latin-1"),
        "id": context.request_id,
        "left": context.get_remaining_time_in_millis(),
    }
    return HttpResponse(status=200, headers={"x-own": "1"}, body=json.dumps(body))


@contextmanager
def serving(handler: Handler = told, **options: Any) -> Iterator[HandlerServer]:
    server = HandlerServer(handler, ("127.0.0.1", 0), **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.drain()
        thread.join()


def post(
    server: HandlerServer, path: str = "/", body: bytes = b"", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_a_request_is_handed_over_and_its_answer_back() -> None:
    with serving(timeout_s=7) as server:
        response, content = post(server, "/events?x=1", b"\x00\xff", Ce_Id="1", Content_Type="a/b")
    got = json.loads(content)
    assert (response.status, response.headers["x-own"]) == (200, "1")
    assert (got["method"], got["path"], got["body"]) == ("POST", "/events", "\x00\xff")
    assert got["headers"]["ce-id"] == "1"
    assert len(got["id"]) == 32
    assert 6000 < got["left"] <= 7000


def test_a_connection_takes_several_requests() -> None:
    with serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        bodies = []
        for at in range(3):
            connection.request("POST", "/", f"{at}")
            bodies.append(json.loads(connection.getresponse().read())["body"])
        connection.close()
    assert bodies == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Transfer-Encoding: chunked", 411),
        (b"Content-Length: -1", 400),
        (b"Content-Length: x", 400),
        (b"Content-Length: 99999999999", 413),
        (b"Content-Length: " + b"9" * 5_000, 400),
    ],
)
@pytest.mark.parametrize("is_fc", [False, True])
def test_what_is_not_read_is_refused_and_the_connection_ends(head: bytes, status: int, is_fc: bool) -> None:
    with (
        serving(is_fc=is_fc) as server,
        socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer,
    ):
        peer.sendall(b"POST /invoke HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        answer = b""
        while more := peer.recv(4096):
            answer += more
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"x-fc-status: 404" in answer) == is_fc


def test_a_body_that_breaks_off_reaches_no_handler() -> None:
    with serving() as server, socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_the_headers_of_function_compute_pass_only_where_it_calls() -> None:
    for is_fc in (False, True):
        with serving(is_fc=is_fc) as server:
            _, content = post(server, "/invoke", x_fc_request_id="1-65a1")
        got = json.loads(content)
        assert ("x-fc-request-id" in got["headers"]) == is_fc
        assert (got["id"] == "1-65a1") == is_fc


def test_function_compute_s_questions_about_the_instance_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(is_fc=True) as server:
        questions: list[tuple[str, dict[str, Any]]] = [
            ("/initialize", {}),
            ("/", {"x_fc_control_path": "/initialize"}),
            ("/pre-stop", {}),
        ]
        for path, headers in questions:
            response, content = post(server, path, **headers)
            assert (response.status, response.headers["x-fc-status"], content) == (200, "200", b"")
        assert capsys.readouterr().out == ""
        post(server, "/invoke", x_fc_request_id="1-65a1")
        assert capsys.readouterr().out.splitlines() == [
            "FC Invoke Start RequestId: 1-65a1",
            "FC Invoke End RequestId: 1-65a1",
        ]


def test_requests_are_answered_at_once_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_AT_ONCE", 3)
    entered, go_on = [], threading.Event()

    def slow(request: HttpRequest, context: Any) -> HttpResponse:
        entered.append(1)
        go_on.wait(10)
        return told(request, context)

    with serving(slow) as server:
        threads = [threading.Thread(target=post, args=(server,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: len(entered) == 3 and server._under_way == 5, timeout_s=10)
        go_on.set()
        for thread in threads:
            thread.join(10)
    assert len(entered) == 5


def test_the_end_waits_for_what_is_under_way() -> None:
    entered, go_on, answers = threading.Event(), threading.Event(), []

    def slow(request: HttpRequest, context: Any) -> HttpResponse:
        entered.set()
        go_on.wait(10)
        return told(request, context)

    with serving(slow) as server:
        asking = threading.Thread(target=lambda: answers.append(post(server)[0].status))
        asking.start()
        entered.wait(10)
        ending = threading.Thread(target=server.drain)
        ending.start()
        go_on.set()
        asking.join(10)
        ending.join(10)
    assert answers == [200]


# As a process.


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    path = f"{ROOT / 'layers/common'}{os.pathsep}{ROOT}"
    return subprocess.Popen(
        [sys.executable, "-m", "mqbridge.http_server", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def test_it_serves_a_handler_until_sigterm(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(document(OutboundRules=[outbound_rule(Status="Disabled")])))
    port = free_port()
    with command(
        "functions.outbound.app:handler",
        *("--host", "127.0.0.1"),
        PORT=str(port),
        MQBRIDGE_RULES=str(tmp_path / "rules.json"),
        MQBRIDGE_HTTP_AUTH="env:TOKEN",
        TOKEN="t",
    ) as process:
        assert wait_until(lambda: answers(port), timeout_s=20)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        statuses = []
        for token in ("Bearer t", "Bearer x"):
            connection.request("POST", "/", '{"topic": "devices/d1", "payload": "x"}', {"Authorization": token})
            response = connection.getresponse()
            statuses.append(response.status)
            response.read()
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert statuses == [200, 401]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["functions.outbound.app:handler"], "MQBRIDGE_HTTP_AUTH: expected the reference to a bearer token"),
        (["nowhere:handler", "--fc"], "No module named 'nowhere'"),
        (["functions.outbound.app:nothing", "--fc"], "has no attribute 'nothing'"),
    ],
)
def test_it_says_why_it_does_not_start(arguments: list[str], said: str) -> None:
    with command(*arguments) as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said in error


def test_who_may_not_send_is_told_before_the_body_is_read() -> None:
    def admit(request: HttpRequest) -> None:
        raise refused(request, "expected a valid bearer token", 401)

    with (
        serving(admit=admit) as server,
        socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer,
    ):
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")  # and nothing of it comes
        answer = b""
        while more := peer.recv(4096):
            answer += more
    assert answer.startswith(b"HTTP/1.1 401 ")
