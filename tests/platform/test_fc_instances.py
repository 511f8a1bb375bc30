"""The stand-in for Function Compute: what it hands over, and what it makes of functions that raise, hang, end or say nothing."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.fc_service import Declared, FcService, read_services
from tests.platform.conftest import ROOT

CODE = """
import json, os, sys, time

def told(event, context):
    function = context.function
    return {"type": type(event).__name__, "event": event.decode(), "id": context.request_id, "region": context.region,
            "function": [function.name, function.handler, function.memory, function.timeout],
            "credentials": hasattr(context, "credentials"), "own": os.environ.get("OWN"), "home": "HTTP_TOKEN" in os.environ}

def text(event, context):
    return "as it is"

def raises(event, context):
    raise ValueError("of the function")

def ends(event, context):
    os._exit(7)

def hangs(event, context):
    time.sleep(60)
"""
SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        status, header = {status}
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(status if self.path == "/invoke" else 200)
        if header and self.path == "/invoke":
            self.send_header("x-fc-status", header)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")

http.server.HTTPServer(("127.0.0.1", int(os.environ["FC_SERVER_PORT"])), Handler).serve_forever()
"""


def built_in(name: str) -> Declared:
    return replace(
        read_services(ROOT / "s.yaml")["outbound"], handler=f"index.{name}", timeout_s=1, environment={"OWN": "1"}
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FcService]:
    (tmp_path / "index.py").write_text(CODE)
    names = ("told", "text", "raises", "ends", "hangs", "missing")
    with FcService({name: built_in(name) for name in names}, tmp_path) as running:
        yield running


def test_a_handler_gets_bytes_and_the_context_of_python_3_12(service: FcService) -> None:
    answer = service.invoke("told", b"{}", "1-65a1")
    assert not answer.is_error
    assert json.loads(answer.body) == {
        "type": "bytes",
        "event": "{}",
        "id": "1-65a1",
        "region": "cn-hangzhou",
        "function": ["mqbridge-outbound", "index.told", 512, 1],
        "credentials": False,
        "own": "1",
        "home": False,
    }
    assert service.invoke("text", b"").body == b"as it is"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("raises", "ValueError"), ("ends", "ProcessExited"), ("hangs", "FunctionTimeout"), ("missing", "AttributeError")],
)
def test_what_goes_wrong_is_an_error_with_status_200_and_the_next_invocation_goes_on(
    name: str, kind: str, service: FcService
) -> None:
    begun = time.monotonic()
    for _ in range(2):
        answer = service.invoke(name, b"{}")
        assert (answer.status, answer.headers["X-Fc-Error-Type"]) == (200, "UnhandledInvocationError")
        assert json.loads(answer.body)["errorType"] == kind
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("status", "header", "is_error"),
    [(200, "200", False), (404, "404", True), (200, "404", True), (500, "", False), (503, "", False)],
)
def test_a_custom_runtime_is_judged_by_its_header_alone(
    status: int, header: str, is_error: bool, tmp_path: Path
) -> None:
    """As the service is documented: without it, a 500 is a success, and the event is lost."""
    (tmp_path / "server.py").write_text(SERVER.format(status=(status, header)))
    declared = replace(
        read_services(ROOT / "s.custom.yaml")["outbound"], command=("python", "server.py"), environment={}
    )
    with FcService({"own": declared}, tmp_path) as service:
        assert service.invoke("own", b"[]").is_error is is_error


def test_a_stream_that_tolerates_no_error_stops_at_the_first(service: FcService) -> None:
    """And keeps what it did not deliver, and all behind it."""
    stream = service.stream("raises", "devices")
    strict = replace(stream._options, tolerates_errors=False, retry="BACKOFF_RETRY", count=1)
    stream._options = strict
    slept: list[float] = []
    service.sleep = slept.append
    assert stream.deliver([1, 2, 3]) == []
    assert stream.is_blocked
    assert slept == [15.0] * 3
