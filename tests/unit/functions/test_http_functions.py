"""functions/main.py under Flask: one target for each flow, and nothing that a caller can make up."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functions.outbound.app
from mqbridge.http_entry import http_function
from mqbridge.testing import capture
from tests.unit.mqbridge.support import EVENTS, any_text, document, inbound_rule, outbound_rule, quick, streaming

RULES = document(
    OutboundRules=[outbound_rule()],
    InboundRules=[inbound_rule()],
    StatusRules=[
        {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "client_status"}}
    ],
    EventStreamings=[streaming()],
)
REQUESTS = {
    "inbound": {"topic": "commands", "body": "on", "userProperties": {"mqttSecondTopic": "/d1"}},
    "outbound": {"props": {"firstTopic": "devices", "secondTopic": "/d1/up"}, "body": "21.5"},
    "status": json.loads((EVENTS / "status-apsaramq.json").read_text()),
    "outflow": {"props": {"firstTopic": "devices"}, "body": '{"temperature": 81}'},
}


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "platform")
    yield importlib.import_module("functions.main")
    sys.modules.pop("functions.main")


@dataclass(frozen=True)
class Request:
    """As much of a request as is asked for."""

    method: str
    headers: dict[str, str]
    body: bytes
    path: str = "/"

    def get_data(self) -> bytes:
        return self.body


def call(function: Callable[[flask.Request], Any], **request: Any) -> flask.Response:
    app = flask.Flask("test")
    with app.test_request_context(method=request.pop("method", "POST"), **request):
        return app.make_response(function(flask.request))


@pytest.mark.parametrize("target", REQUESTS)
def test_every_flow_is_a_target(target: str, main: ModuleType) -> None:
    with capture(RULES) as sent:
        answer = call(getattr(main, target), json=REQUESTS[target])
    assert answer.status_code == 200
    assert answer.get_json()["failed"] == []
    assert sent


def test_what_may_still_succeed_is_503_and_what_never_can_is_400(main: ModuleType) -> None:
    with capture(RULES) as sent:
        sent.fail()
        busy = call(main.outbound, json=REQUESTS["outbound"])
        sent.recover()
        sent.fail(permanently=True)
        refused = call(main.outbound, json=REQUESTS["outbound"])
        unreadable = call(main.outbound, data=b"\x00 not JSON")
        gotten = call(main.outbound, method="GET")
    assert (busy.status_code, refused.status_code, unreadable.status_code, gotten.status_code) == (503, 400, 400, 405)
    assert int(busy.headers["Retry-After"]) >= 1


def test_nobody_passes_for_function_compute(main: ModuleType) -> None:
    """With its headers a request would be an invocation, which needs no token, and its answer would not be HTTP's."""
    headers = {"x-fc-request-id": "1", "X-Fc-Control-Path": "/invoke"}
    with capture(RULES):
        answer = call(main.outbound, path="/invoke", headers=headers, data=b"not JSON")
    assert answer.status_code == 400
    assert "x-fc-status" not in answer.headers


def test_the_token_is_asked_for_before_the_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Request):
        def get_data(self) -> bytes:
            pytest.fail("the body was read")

    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "env:HTTP_TOKEN")
    monkeypatch.setenv("HTTP_TOKEN", "t")
    assert http_function(functions.outbound.app.handler, Endless("POST", {}, b""))[1] == 401


def test_every_request_has_an_id_of_its_own(main: ModuleType) -> None:
    """Two equal messages without ids are two messages."""
    with capture(RULES) as sent:
        for _ in range(2):
            call(main.outbound, json=REQUESTS["outbound"])
    assert len({message["id"] for message in sent}) == 2


def test_it_does_not_start_before_it_is_said_who_may_call() -> None:
    from mqbridge.http_access import NoAccess

    with pytest.raises(NoAccess, match="MQBRIDGE_HTTP_AUTH"):
        importlib.import_module("functions.main")


def test_it_does_not_start_with_metrics_that_it_could_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "platform")
    monkeypatch.setenv("MQBRIDGE_METRICS", "statsd")
    with pytest.raises(ValueError, match="MQBRIDGE_METRICS: expected emf or off, got 'statsd'"):
        importlib.import_module("functions.main")


KEYS = [
    "specversion",
    "id",
    "type",
    "subject",
    "data",
    "data_base64",
    "props",
    "firstTopic",
    "body",
    "topic",
    "payload",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
CONTENT_TYPES = [
    "",
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "a/b",
    "x",
]


@quick
@given(
    body=st.one_of(st.binary(max_size=200), json_values.map(lambda value: json.dumps(value).encode())),
    content_type=st.sampled_from(CONTENT_TYPES),
    attributes=st.dictionaries(
        st.sampled_from(["ce-specversion", "ce-id", "ce-type", "ce-subject", "ce-mqbridgerule"]), any_text, max_size=5
    ),
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]),
)
def test_whatever_is_posted_is_answered_with_what_senders_understand(
    body: bytes, content_type: str, attributes: dict[str, str], method: str
) -> None:
    request = Request(method, {"content-type": content_type, **attributes}, body)
    with capture(RULES), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MQBRIDGE_HTTP_AUTH", "platform")
        said, status, headers = http_function(functions.outbound.app.handler, request)
    assert status in (200, 400, 405, 503)
    assert isinstance(json.loads(said), dict)
    assert ("retry-after" in headers) == (status == 503)
