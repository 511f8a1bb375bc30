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
        "is_from_fc": request.is_from_fc,
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


def all_of(peer: socket.socket) -> bytes:
    """Return what comes until the server ends the connection."""
    answer = b""
    while more := peer.recv(4096):
        answer += more
    return answer


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
        (b"Content-Length: 2\r\nContent-Length: 3", 400),
        (b"Content-Length: 0\r\nno header at all", 400),
        (b"Content-Length : 0", 400),
    ],
)
@pytest.mark.parametrize("is_fc", [False, True])
def test_what_is_not_read_is_refused_and_the_connection_ends(head: bytes, status: int, is_fc: bool) -> None:
    with (
        serving(is_fc=is_fc) as server,
        socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer,
    ):
        peer.sendall(b"POST /invoke HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        answer = all_of(peer)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"x-fc-status: 404" in answer) == is_fc


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"no request", 400),
        (b"POST / HTTP/9.9", 505),
        (b"BREW / HTTP/1.1", 501),
        (b"POST /" + b"x" * 70_000 + b" HTTP/1.1", 414),
    ],
)
@pytest.mark.parametrize("is_fc", [False, True])
def test_what_no_handler_could_take_is_refused_in_the_same_way(line: bytes, status: int, is_fc: bool) -> None:
    with (
        serving(is_fc=is_fc) as server,
        socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer,
    ):
        peer.sendall(line + b"\r\n\r\n"[: 4 if status != 414 else 0])
        answer = all_of(peer)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: text/plain" in answer
    assert (b"x-fc-status: 404" in answer) == is_fc


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_the_handler_s_to_answer(method: str) -> None:
    def answer(request: HttpRequest, _context: Any) -> HttpResponse:
        return HttpResponse(status=405, headers={"allow": "POST"}, body=f"got {request.method}")

    with serving(answer) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        for _ in range(2):  # the connection stays in step
            connection.request(method, "/")
            response = connection.getresponse()
            content = response.read()
            assert (response.status, response.headers["allow"]) == (405, "POST")
            assert response.headers["content-length"] == str(len(f"got {method}"))
            assert content == (b"" if method == "HEAD" else f"got {method}".encode())
        connection.close()


def test_the_same_length_said_twice_is_a_length() -> None:
    with serving() as server, socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer:
        lengths = b"Content-Length: 2\r\nContent-Length: 2\r\n"
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lengths + b"\r\nab")
        assert all_of(peer).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_breaks_off_reaches_no_handler() -> None:
    with serving() as server, socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_the_headers_of_function_compute_mean_something_only_where_it_calls() -> None:
    for is_fc in (False, True):
        with serving(is_fc=is_fc) as server:
            _, content = post(server, "/invoke", x_fc_request_id="1-65a1")
        got = json.loads(content)
        assert got["is_from_fc"] == is_fc
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


@pytest.mark.parametrize("is_fc", [False, True])
def test_connections_beyond_a_number_are_turned_away(monkeypatch: pytest.MonkeyPatch, is_fc: bool) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 2)
    with serving(is_fc=is_fc) as server:
        address = ("127.0.0.1", server.server_address[1])
        idle = [socket.create_connection(address, timeout=10) for _ in range(2)]
        with socket.create_connection(address, timeout=10) as peer:
            answer = all_of(peer)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert (b"x-fc-status: 404" in answer) == is_fc
        idle.pop().close()
        assert wait_until(lambda: served(server), timeout_s=10)
        server.drain()  # the other one does not keep it
        idle.pop().close()


def served(server: HandlerServer) -> bool:
    try:
        return post(server)[0].status == 200
    except OSError:
        return False


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
        (["functions.outbound.app:__name__", "--fc"], "expected a handler that can be called, got str"),
    ],
)
def test_it_says_why_it_does_not_start(arguments: list[str], said: str) -> None:
    with command(*arguments) as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said in error


# Should it start all the same: an address for documentation (RFC 5737), at which nothing can listen.
NOWHERE = "--host=192.0.2.1"


@pytest.mark.parametrize("named", ["functions.outbound.app", "functions.outbound.app:", ":handler", ".app:handler"])
def test_what_names_no_handler_is_refused(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert http_server.main([named, "--fc", NOWHERE]) == 2
    assert (
        f"expected MODULE:HANDLER, functions.outbound.app:handler for example, got '{named}'" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "argument --port: expected a port, 1 to 65535, got '70000'"),
        (["--port", "0"], "argument --port: expected a port, 1 to 65535, got '0'"),
        (["--port", "http"], "argument --port: expected a port, 1 to 65535, got 'http'"),
        *(
            (["--timeout", given], f"argument --timeout: expected seconds, more than 0, got '{given}'")
            for given in ("nan", "inf", "0", "-1", "soon")
        ),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        http_server.main(["functions.outbound.app:handler", *(f"{arguments[0]}={each}" for each in arguments[1:])])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["PORT", "FC_SERVER_PORT"])
@pytest.mark.parametrize("given", ["abc", "70000"])
def test_a_wrong_port_of_the_platform_is_named(
    setting: str, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(setting, given)
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "platform")
    options = ["--fc"] if setting == "FC_SERVER_PORT" else []
    assert http_server.main(["functions.outbound.app:handler", *options]) == 2
    assert f"{setting}: expected a port, 1 to 65535, got '{given}'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--fc"]])
def test_it_does_not_start_with_metrics_that_it_could_not_write(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MQBRIDGE_METRICS", "statsd")
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "platform")
    assert http_server.main(["functions.outbound.app:handler", NOWHERE, *options]) == 2
    assert "MQBRIDGE_METRICS: expected emf or off, got 'statsd'" in capsys.readouterr().err


def test_who_may_not_send_is_told_before_the_body_is_read() -> None:
    def admit(request: HttpRequest) -> None:
        raise refused(request, "expected a valid bearer token", 401)

    with (
        serving(admit=admit) as server,
        socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer,
    ):
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")  # and nothing of it comes
        answer = all_of(peer)
    assert answer.startswith(b"HTTP/1.1 401 ")
