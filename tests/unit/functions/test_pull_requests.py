"""Who may ask the inbound function for a pull, in which form, and what they hear: the same on every platform as for messages."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import functions.outbound.app
from functions.inbound.app import handler as inbound
from mqbridge.http_entry import Context
from mqbridge.pulling import Pulled
from mqbridge.pulling.rule_pull import Totals
from mqbridge.testing import capture
from mqbridge.triggers import HttpRequest, HttpResponse, Undelivered, UnreadableEvent
from tests.unit.mqbridge.support import EVENTS, document, inbound_rule, outbound_rule

RULES = document(OutboundRules=[outbound_rule()], InboundRules=[inbound_rule()])
ASKED = {"mqbridge": "pull"}
TOKEN = {"Authorization": "Bearer t"}
PING = json.loads((EVENTS / "schedule-cloudevent.json").read_text())


def schedule(name: str) -> Any:
    return json.loads((EVENTS / f"schedule-{name}.json").read_text())


def post(body: Any, **headers: str) -> HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(headers=TOKEN | named, body=json.dumps(body).encode())


def ping_in_binary_mode() -> HttpRequest:
    attributes = {f"ce-{name}": PING[name] for name in ("specversion", "id", "source", "type", "time")}
    return post(PING["data"], content_type="application/json", **attributes)


def gateway(version: int) -> dict[str, Any]:
    request = {"headers": TOKEN, "body": json.dumps(ASKED), "isBase64Encoded": False}
    if version == 1:
        return {"httpMethod": "POST", "path": "/", "requestContext": {}, **request}
    return {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "POST"}}, **request}


# What comes back, as a status and what is said with it.

BARE: dict[str, Any] = {
    "by hand": ASKED,
    "as bytes": json.dumps(ASKED).encode(),
    "EventBridge": schedule("eventbridge"),
    "EventBridge Scheduler": {**schedule("eventbridge"), "source": "aws.scheduler"},
    "Function Compute's time trigger": json.dumps(schedule("fc-timer")).encode(),
    "a CloudEvent": PING,
    "a CloudEvent in Base64": {
        **{name: PING[name] for name in PING if name != "data"},
        "data_base64": base64.b64encode(json.dumps(ASKED).encode()).decode(),
    },
}
SERVED: dict[str, Any] = {
    "posted": post(ASKED),
    "a CloudEvent in binary mode": ping_in_binary_mode(),
    "a CloudEvent in structured mode": post(PING, content_type="application/cloudevents+json"),
    "API Gateway 1.0": gateway(1),
    "API Gateway 2.0": gateway(2),
    "an HTTP trigger of a custom runtime": replace(post(ASKED, x_fc_control_path="/http-invoke"), is_from_fc=True),
}
INVOKED = {
    name: HttpRequest(headers={"x-fc-control-path": "/invoke"}, body=json.dumps(event).encode(), is_from_fc=True)
    for name, event in (("by hand", ASKED), ("time trigger", schedule("fc-timer")))
}


def status_and_body(answer: Any) -> tuple[int, Any]:
    if isinstance(answer, HttpResponse):
        return answer.status, json.loads(answer.body)
    return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture
def pulls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """A puller that reads no broker; what is put into the list are problems of the pulls to come. Each pull leaves an entry."""
    problems: list[dict[str, str]] = []

    class ScriptedPuller:
        def __init__(self, rules: Any) -> None:
            del rules

        def pull(self, carry: Any, end: float | None) -> Pulled:
            del carry, end
            found = problems[-1] if problems else {}
            problems.append(found)
            return Pulled(
                totals=Totals(pulled=2, delivered=2),
                left=0,
                rules=1,
                rules_consumed=0,
                rules_unread=0,
                queues_taken=0,
                queues_waiting=0,
                problems=found,
            )

    monkeypatch.setattr("mqbridge.pulling.Puller", ScriptedPuller)
    monkeypatch.setattr("mqbridge.handler._own", {})  # it may have another test's puller
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "env:HTTP_TOKEN")
    monkeypatch.setenv("HTTP_TOKEN", "t")
    return problems


def call(handler: Callable[[Any, Any], Any], event: Any) -> Any:
    """As on a platform: with the process's own bridge, which asks for tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MQBRIDGE_RULES", json.dumps(RULES))
        return handler(event, Context())


@pytest.mark.parametrize("event", BARE.values(), ids=BARE)
def test_a_schedule_asks_and_hears_the_numbers_or_an_error(event: Any, pulls: list[dict[str, str]]) -> None:
    assert call(inbound, event)["delivered"] == 2
    pulls.append({"commands": "broker_busy"})
    with pytest.raises(Undelivered, match="commands: broker_busy"):
        call(inbound, event)


@pytest.mark.parametrize("event", SERVED.values(), ids=SERVED)
def test_over_http_it_hears_200_with_the_numbers_or_503(event: Any, pulls: list[dict[str, str]]) -> None:
    status, numbers = status_and_body(call(inbound, event))
    assert (status, numbers["delivered"], numbers["rules"]) == (200, 2, 1)
    pulls.append({"commands": "broker_busy"})
    assert status_and_body(call(inbound, event))[0] == 503


@pytest.mark.parametrize("event", INVOKED.values(), ids=INVOKED)
def test_an_event_of_a_custom_runtime_has_its_header(event: HttpRequest, pulls: list[dict[str, str]]) -> None:
    answer = call(inbound, event)
    assert (answer.status, answer.headers["x-fc-status"], json.loads(answer.body)["delivered"]) == (200, "200", 2)
    pulls.append({"commands": "broker_busy"})
    answer = call(inbound, event)
    assert (answer.status, answer.headers["x-fc-status"]) == (404, "404")


@pytest.mark.parametrize("event", SERVED.values(), ids=SERVED)
def test_nobody_asks_over_http_without_the_token(
    event: Any, pulls: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_TOKEN", "another")
    assert status_and_body(call(inbound, event))[0] == 401
    assert pulls == []


@pytest.mark.parametrize("event", [*BARE.values(), *SERVED.values(), *INVOKED.values()])
def test_no_other_function_pulls(event: Any, pulls: list[dict[str, str]]) -> None:
    outbound = functions.outbound.app.handler
    if event in BARE.values():
        with pytest.raises(UnreadableEvent, match="a pull, which is for the inbound function, not outbound"):
            call(outbound, event)
    else:
        status, body = status_and_body(call(outbound, event))
        assert status == (404 if event in INVOKED.values() else 400)
        assert "a pull, which is for the inbound function" in json.dumps(body)
    assert pulls == []


@pytest.mark.parametrize(
    "event",
    [
        {**ASKED, "more": 1},
        {"mqbridge": "push"},
        {**schedule("eventbridge"), "source": "me", "detail": 5},
        {**schedule("fc-timer"), "payload": "{"},
        {**schedule("fc-timer"), "payload": ASKED},
        {**PING, "data": "pull"},
        {**PING, "subject": "devices/d1"},  # a device said so
        {**PING, "data": None, "data_base64": "?"},
        [ASKED],
    ],
)
def test_what_asks_for_something_else_is_no_pull(event: Any, pulls: list[dict[str, str]]) -> None:
    with capture(RULES), pytest.raises((UnreadableEvent, Undelivered)):
        inbound(event, None)
    assert pulls == []
