"""What each platform hears: when all is well, when something may still succeed, and when something never can."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import functions.inbound.app
import functions.outbound.app
from mqbridge.rules import UnreadableRules
from mqbridge.testing import capture
from mqbridge.triggers import HttpRequest, HttpResponse, Undelivered, UnreadableEvent
from tests.unit.mqbridge.support import DLQ, EVENTS, any_text, document, inbound_rule, mqtt_event, outbound_rule, quick

Handler = Callable[[Any, Any], Any]
outbound, inbound = functions.outbound.app.handler, functions.inbound.app.handler
PARTS = {"OutboundRules": [outbound_rule()], "InboundRules": [inbound_rule()]}
RULES, WITH_DLQ = document(**PARTS), document(Defaults={"RunOptions": {"DeadLetterQueue": DLQ}}, **PARTS)
ALL_WELL: dict[str, Any] = {"batchItemFailures": []}


def text(name: str) -> str:
    return (EVENTS / f"trigger-{name}.json").read_text()


def fixture(name: str) -> Any:
    return json.loads(text(name))


@dataclass(frozen=True)
class Function:
    timeout: int


@dataclass(frozen=True)
class FcContext:
    """The part of Function Compute's context that a handler may ask."""

    request_id: str = "1-65a1"
    function: Function = field(default_factory=lambda: Function(60))


# Platforms that understand an error only.

RAISING: list[tuple[str, Handler, Any, int]] = [
    ("iot", outbound, fixture("iot"), 1),
    ("eventbridge", outbound, fixture("eventbridge"), 1),
    ("pipes, transformed", outbound, fixture("pipes-transformed"), 2),
    ("fc mqtt", outbound, text("fc-mqtt").encode(), 2),
    ("fc rocketmq", inbound, text("fc-rocketmq").encode(), 2),
    ("fc rocketmq, event-driven", inbound, text("fc-rocketmq-single").encode(), 1),
    ("fc rocketmq, raw", inbound, text("fc-rocketmq-raw").encode(), 2),
    ("fc rocketmq, self-managed", inbound, text("fc-rocketmq-self-managed").encode(), 1),
    ("fc, CloudEvents without a mark", outbound, json.dumps([mqtt_event()]).encode(), 1),
    ("a CloudEvent", outbound, fixture("cloudevent"), 1),
    ("emqx, by hand", outbound, fixture("emqx"), 1),
    ("a command", inbound, fixture("command"), 1),
]
raising = pytest.mark.parametrize(
    ("handler", "event", "count"), [row[1:] for row in RAISING], ids=[row[0] for row in RAISING]
)


@raising
def test_all_well_is_a_result(handler: Handler, event: Any, count: int) -> None:
    with capture(RULES) as sent:
        assert handler(event, FcContext()) == ALL_WELL
    assert len(sent) == count


@raising
def test_what_may_still_succeed_is_an_error_so_that_the_platform_tries_again(
    handler: Handler, event: Any, count: int
) -> None:
    for rules in (RULES, WITH_DLQ):
        with capture(rules) as sent:
            sent.fail(lambda message: message["topic"] != "mqbridge_dlq")
            with pytest.raises(Undelivered, match=f"{count} of {count} records .* broker_busy"):
                handler(event, FcContext())
            assert sent == [], "nothing is dead-lettered that may still succeed"


@raising
def test_what_can_never_succeed_is_dead_lettered_or_an_error(handler: Handler, event: Any, count: int) -> None:
    with capture(WITH_DLQ) as sent:
        sent.fail(lambda message: message["topic"] != "mqbridge_dlq", reason="broker_forbids", permanently=True)
        assert handler(event, FcContext()) == ALL_WELL
        assert [each["topic"] for each in sent] == ["mqbridge_dlq"] * count
    with capture(RULES) as sent:
        sent.fail(reason="broker_forbids", permanently=True)
        with pytest.raises(Undelivered, match="broker_forbids"):
            handler(event, FcContext())


def test_of_a_mixed_array_the_good_is_sent_and_the_bad_dead_lettered() -> None:
    event = [None, *fixture("fc-mqtt"), {"props": {}, "body": ""}]
    with capture(WITH_DLQ) as sent:
        assert outbound(event, None) == ALL_WELL
    assert [each["topic"] for each in sent] == ["telemetry", "telemetry", "mqbridge_dlq", "mqbridge_dlq"]
    assert [json.loads(each["body"]) for each in sent[2:]] == [{"received": None}, {"props": {}, "body": ""}]


def test_a_redelivered_array_has_the_same_message_ids() -> None:
    with capture(RULES) as sent:
        for request in ("one", "another"):
            outbound(text("fc-mqtt").encode(), FcContext(request))
    assert [each["id"] for each in sent[:2]] == [each["id"] for each in sent[2:]]
    assert sent[0]["id"] != sent[1]["id"]


def test_the_error_names_the_first_of_many_and_no_payload() -> None:
    event = [{"props": {"firstTopic": "devices"}, "body": f"secret-{at}"} for at in range(40)]
    with capture(RULES) as sent:
        sent.fail()
        with pytest.raises(Undelivered) as raised:
            outbound(event, None)
    said = str(raised.value)
    assert said.startswith("40 of 40 records")
    assert said.endswith("and 35 more")
    assert "secret" not in said
    assert len(said) < 2_000


# Queues.


def test_a_pipe_hears_of_the_records_that_failed() -> None:
    with capture(RULES) as sent:
        assert outbound(fixture("pipes-sqs"), None) == {"batchItemFailures": [{"itemIdentifier": "p-2"}]}
    assert len(sent) == 1


def test_an_aws_iot_rule_s_queue_messages_are_read_as_json_and_as_base64() -> None:
    with capture(RULES) as sent:
        assert outbound(fixture("sqs-iot"), None) == ALL_WELL
    assert [each["properties"]["topic"] for each in sent] == ["devices/d1/up", "devices/d2/up"]


# HTTP.

SERVED: list[tuple[str, Any]] = [
    (name, fixture(name))
    for name in (
        "function-url-emqx",
        "function-url-emqx-rule",
        "api-gateway-v1-cloudevents-structured",
        "api-gateway-v1-cloudevents-binary",
        "api-gateway-v2-cloudevents-batch",
    )
]
SERVED += [
    ("fc http trigger", text("fc-http").encode()),
    ("a server", HttpRequest(method="POST", headers={"content-type": "application/json"}, body=text("emqx").encode())),
]
served = pytest.mark.parametrize("event", [row[1] for row in SERVED], ids=[row[0] for row in SERVED])


def answer_of(response: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    if isinstance(response, HttpResponse):
        return response.status, dict(response.headers), json.loads(response.body)
    assert response["isBase64Encoded"] is False
    return response["statusCode"], response["headers"], json.loads(response["body"])


@served
def test_http_callers_hear_200_when_all_is_well(event: Any) -> None:
    with capture(RULES) as sent:
        status, headers, body = answer_of(outbound(event, None))
    assert (status, headers["content-type"], body["failed"]) == (200, "application/json", [])
    assert len(sent) == body["records"] > 0


@served
def test_http_callers_hear_503_and_when_to_try_again(event: Any) -> None:
    with capture(RULES) as sent:
        sent.fail()
        status, headers, body = answer_of(outbound(event, None))
    assert (status, {each["reason"] for each in body["failed"]}) == (503, {"broker_busy"})
    assert int(headers["retry-after"]) >= 1


@served
def test_http_callers_hear_400_of_what_never_succeeds_unless_it_is_dead_lettered(event: Any) -> None:
    with capture(RULES) as sent:
        sent.fail(reason="broker_forbids", permanently=True)
        assert answer_of(outbound(event, None))[0] == 400
    with capture(WITH_DLQ) as sent:
        sent.fail(lambda message: message["topic"] == "telemetry", reason="broker_forbids", permanently=True)
        assert answer_of(outbound(event, None))[0] == 200
        assert {each["topic"] for each in sent} == {"mqbridge_dlq"}


def test_a_retry_is_worth_it_while_anything_may_succeed() -> None:
    event = fixture("api-gateway-v2-cloudevents-batch")
    events = [*json.loads(event["body"]), {"specversion": "1.0", "id": "bad"}]
    with capture(RULES) as sent:
        sent.fail(lambda message: message["properties"]["topic"] == "devices/d2/up")
        status, headers, body = answer_of(outbound({**event, "body": json.dumps(events)}, None))
    assert (status, "retry-after" in headers) == (503, True)
    assert [(each["id"], each["reason"]) for each in body["failed"]] == [
        ("evt-2", "broker_busy"),
        ("bad", "unreadable_record"),
    ]
    assert len(sent) == 1


def test_retry_after_is_what_the_rule_s_strategy_says() -> None:
    rule = outbound_rule(RunOptions={"RetryStrategy": {"PushRetryStrategy": "BACKOFF_RETRY"}})
    with capture(document(OutboundRules=[rule])) as sent:
        sent.fail()
        _, headers, _ = answer_of(outbound(fixture("function-url-emqx"), None))
    assert 10 <= int(headers["retry-after"]) <= 20


def test_a_request_that_brings_no_event_is_refused_and_nothing_is_sent() -> None:
    event = {**fixture("function-url-emqx"), "body": "hello"}
    with capture(WITH_DLQ) as sent:
        status, _, body = answer_of(outbound(event, None))
        assert answer_of(outbound(HttpRequest(method="GET"), None))[:2] == (
            405,
            {"content-type": "application/json", "allow": "POST"},
        )
    assert (status, sent) == (400, [])
    assert "CloudEvents" in body["error"]


def test_without_rules_http_callers_are_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error is a reason for EMQX to drop the message."""
    monkeypatch.setenv("MQBRIDGE_RULES", "/nowhere/rules.json")
    for event in (fixture("function-url-emqx"), text("fc-http").encode(), HttpRequest(body=b"{}")):
        status, headers, _ = answer_of(outbound(event, None))
        assert (status, headers["retry-after"]) == (503, "10")
    with pytest.raises(UnreadableRules):
        outbound(fixture("iot"), None)
    with pytest.raises(UnreadableRules):
        outbound(b"not JSON", None)


# Function Compute's custom runtime.


def invoked(body: bytes, **headers: str) -> HttpRequest:
    given = {"X-Fc-Request-Id": "1-65a1", "X-Fc-Control-Path": "/invoke", **headers}
    return HttpRequest(method="POST", path="/invoke", headers=given, body=body, is_from_fc=True)


def test_a_custom_runtime_says_success_in_its_header() -> None:
    with capture(RULES) as sent:
        response = outbound(invoked(text("fc-mqtt").encode()), None)
    assert (response.status, response.headers["x-fc-status"], json.loads(response.body)) == (200, "200", ALL_WELL)
    assert len(sent) == 2


@pytest.mark.parametrize("permanently", [True, False])
def test_a_custom_runtime_says_failure_in_its_header(permanently: bool) -> None:
    """Without it Function Compute takes any answer for a success, and the messages would be lost."""
    with capture(RULES) as sent:
        sent.fail(permanently=permanently)
        response = outbound(invoked(text("fc-mqtt").encode()), None)
    assert (response.status, response.headers["x-fc-status"]) == (404, "404")
    assert "broker_busy" in json.loads(response.body)["errorMessage"]


@pytest.mark.parametrize("body", [b"", b"hello", b"{}", b"\xff"])
def test_a_custom_runtime_says_that_an_event_is_none(body: bytes) -> None:
    with capture(RULES):
        response = outbound(invoked(body), None)
    assert (response.status, response.headers["x-fc-status"]) == (404, "404")


def test_a_custom_runtime_says_that_nothing_could_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", "/nowhere/rules.json")
    response = outbound(invoked(text("fc-mqtt").encode()), None)
    assert (response.status, response.headers["x-fc-status"]) == (404, "404")


def test_an_http_trigger_of_a_custom_runtime_is_a_request_like_any_other_with_the_header() -> None:
    request = invoked(text("emqx").encode(), **{"X-Fc-Control-Path": "/http-invoke"})
    with capture(RULES) as sent:
        response = outbound(request, None)
        assert (response.status, response.headers["x-fc-status"]) == (200, "200")
        sent.fail()
        response = outbound(request, None)
    assert (response.status, response.headers["x-fc-status"]) == (503, "404")


# What is meant for a rule that is not there.

FOR_ANOTHER = mqtt_event(mqbridgerule="unheard-of")


@pytest.mark.parametrize(
    "event",
    [
        HttpRequest(headers={"content-type": "application/cloudevents+json"}, body=json.dumps(FOR_ANOTHER).encode()),
        {**fixture("api-gateway-v2-cloudevents-batch"), "body": json.dumps([FOR_ANOTHER]), "isBase64Encoded": False},
        {**fixture("api-gateway-v1-cloudevents-structured"), "body": json.dumps(FOR_ANOTHER)},
    ],
)
def test_http_callers_hear_400_of_a_rule_that_is_not_there(event: Any) -> None:
    with capture(RULES) as sent:
        status, headers, body = answer_of(outbound(event, None))
    assert (status, "retry-after" in headers, sent) == (400, False, [])
    assert body["error"] == "mqbridgerule: expected one of the outbound rules (telemetry), got 'unheard-of'"


def test_a_custom_runtime_fails_for_a_rule_that_is_not_there() -> None:
    with capture(RULES):
        response = outbound(invoked(json.dumps([FOR_ANOTHER]).encode()), None)
    assert (response.status, response.headers["x-fc-status"]) == (404, "404")
    assert "unheard-of" in response.body


# What is none of them.


@pytest.mark.parametrize("handler", [outbound, inbound])
@pytest.mark.parametrize("event", [None, {}, [1], b"hello", {"Records": [{}]}, [{"a": 1}], {"detail": {}}])
def test_what_no_trigger_sends_is_an_error(handler: Handler, event: Any) -> None:
    with capture(WITH_DLQ) as sent:
        with pytest.raises(UnreadableEvent):
            handler(event, FcContext())
        assert sent == []


NAMES = sorted(path.stem.removeprefix("trigger-") for path in EVENTS.glob("trigger-*.json"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | any_text
    | st.sampled_from(["devices/d1", "commands", "AAEC", "POST", "1.0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=6,
)


@quick
@given(handler=st.sampled_from([outbound, inbound]), name=st.sampled_from(NAMES), data=st.data())
def test_whatever_is_wrong_with_an_event_is_told_as_its_platform_understands_it(
    handler: Handler, name: str, data: st.DataObject
) -> None:
    """And no neighbour suffers: what is readable is sent or reported."""
    event = fixture(name)
    of = event if isinstance(event, dict) else data.draw(st.sampled_from(event))
    of[data.draw(st.sampled_from(sorted(of)))] = data.draw(values)
    with capture(RULES) as sent:
        try:
            response = handler(event, None)
        except (UnreadableEvent, Undelivered):
            return
        json.dumps(response)
        if "statusCode" not in response:
            failed = {each["itemIdentifier"] for each in response["batchItemFailures"]}
            count = len(event.get("Records", [event]) if isinstance(event, dict) else event)
            assert len(sent) + len(failed) <= count
