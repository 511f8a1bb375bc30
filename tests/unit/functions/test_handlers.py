"""The handlers as a platform calls them, with one rule each way and sinks that only remember."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import functions.inbound.app
import functions.outbound.app
from mqbridge.handler import Bridge, using
from mqbridge.mapping import is_echo
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Delivered, Failed
from mqbridge.rules import InvalidRules, UnreadableRules, load
from mqbridge.telemetry import Counters
from mqbridge.testing import Captured, capture
from mqbridge.triggers import UnreadableEvent
from tests.unit.mqbridge.support import (
    DLQ,
    EVENTS,
    FakeSinks,
    document,
    inbound_rule,
    mqtt_event,
    outbound_rule,
    quick,
    rocketmq_event,
    sqs_event,
)

RULES = load(document(OutboundRules=[outbound_rule()], InboundRules=[inbound_rule()]))
outbound_handler, inbound_handler = functions.outbound.app.handler, functions.inbound.app.handler
ALL_WELL: dict[str, Any] = {"batchItemFailures": []}


def sample(name: str) -> Any:
    return json.loads((EVENTS / name).read_text())


def failed(response: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


@pytest.fixture
def sent() -> Iterator[Captured]:
    with capture(RULES) as captured:
        yield captured


@dataclass(frozen=True)
class LambdaContext:
    """The part of a Lambda context that a handler may ask."""

    left_ms: int
    aws_request_id: str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


# Sample events, and what is sent because of them: DESIGN.md section 7's form, key by key.


def test_outbound_takes_cloud_events(sent: Captured) -> None:
    assert outbound_handler(sample("outbound-cloudevents.json"), None) == ALL_WELL
    ids = [message.pop("id") for message in sent]
    assert len(set(ids)) == 2
    assert all(len(each) == 32 for each in ids)
    assert sent == [
        {
            "to": "rocketmq",
            "instance": "rmq-local",
            "topic": "telemetry",
            "sharding_key": "GID_a@@@d1",
            "properties": {
                "qoslevel": "1",
                "topic": "devices/d1/up",
                "mqbridge-origin": "mqtt:mqtt-local/devices",
                "mqttSecondTopic": "/d1/up",
                "clientId": "GID_a@@@d1",
                "mqtt5UserProperty": '[{"key":"k","value":"v"}]',
                "mqtt5MsgExpireInterval": "60",
                "mqtt5ContentType": "UTF-8",
            },
            "body": "AAEC/w==",
            "body_encoding": "base64",
        },
        {
            "to": "rocketmq",
            "instance": "rmq-local",
            "topic": "telemetry",
            "sharding_key": "devices",
            "properties": {"qoslevel": "1", "topic": "devices", "mqbridge-origin": "mqtt:mqtt-local/devices"},
            "body": '{"t": 21.5}',
            "body_encoding": "utf-8",
        },
    ]


def test_outbound_takes_sqs_and_reports_what_it_could_not_read(sent: Captured) -> None:
    response = outbound_handler(sample("outbound-sqs.json"), LambdaContext(30_000))
    assert response == {"batchItemFailures": [{"itemIdentifier": "2e1424d4-f796-459a-8184-9c92662be6da"}]}
    (message,) = sent
    assert (message["topic"], message["body"], message["sharding_key"]) == ("telemetry", '{"t": 21.5}', "GID_a@@@d1")


def test_outbound_takes_every_shape_of_an_sqs_body(sent: Captured) -> None:
    assert outbound_handler(sample("outbound-sqs-shapes.json"), None) == ALL_WELL
    assert [(each["properties"]["topic"], each["body"], each["body_encoding"]) for each in sent] == [
        ("devices/d1/up", "AAEC/w==", "base64"),
        ("devices/d2/", '{"t": 21.5}', "utf-8"),
        ("devices", '{"t":21.5}', "utf-8"),
    ]
    assert sent[2]["id"] == "0A0B0C0D00002A139A5B00D5E1F30001"
    assert sent[1]["sharding_key"] == "devices/d2/", "n/a is no client id"


def test_inbound_takes_cloud_events(sent: Captured) -> None:
    assert inbound_handler(sample("inbound-cloudevents.json"), None) == ALL_WELL
    ((name, mark),) = sent[0].pop("user_properties")
    assert sent == [
        {
            "to": "mqtt",
            "instance": "mqtt-local",
            "topic": "devices/d1/set",
            "qos": 1,
            "retain": False,
            "payload": "on",
            "payload_encoding": "utf-8",
        }
    ]
    assert name == "mqbridge-origin"
    assert is_echo(MqttMessage(instance_id="", topic="devices/d1/set", payload=b"on", user_properties=((name, mark),)))


def test_inbound_takes_sqs(sent: Captured) -> None:
    assert inbound_handler(sample("inbound-sqs.json"), None) == ALL_WELL
    assert [(each["topic"], each["payload"]) for each in sent] == [("devices/p2p/GID_a@@@d1", "reboot")]


def test_inbound_publishes_the_good_and_reports_the_rest(sent: Captured) -> None:
    response = inbound_handler(sample("inbound-sqs-mixed.json"), None)
    assert failed(response) == ["wildcard", "unreadable", "device-data-by-mistake"]
    assert [(each["topic"], each["qos"], each["payload"]) for each in sent] == [
        ("devices/d1/set", 1, "on"),
        ("devices", 0, "AAEC/w=="),
    ]
    assert (sent[0]["message_expiry_interval"], sent[0]["content_type"]) == (60, "UTF-8")
    assert sent[0]["user_properties"][0] == ["k", "v"]
    assert not {"message_expiry_interval", "content_type"} & set(sent[1]), "absent means absent"


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (outbound_handler, "outbound-cloudevents.json"),
        (outbound_handler, "outbound-sqs.json"),
        (outbound_handler, "outbound-sqs-shapes.json"),
        (inbound_handler, "inbound-cloudevents.json"),
        (inbound_handler, "inbound-sqs.json"),
        (inbound_handler, "inbound-sqs-mixed.json"),
    ],
)
def test_function_compute_s_bytes_do_what_lambda_s_object_does(handler: Callable[[Any, Any], Any], name: str) -> None:
    with capture(RULES) as by_object:
        expected = handler(sample(name), LambdaContext(30_000))
    with capture(RULES) as by_bytes:
        assert handler((EVENTS / name).read_bytes(), object()) == expected
    assert by_bytes == by_object
    json.dumps(expected)  # what a platform can be told


def test_every_sample_event_is_handled_here() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in EVENTS.glob("*bound-*.json") if path.name not in text] == []


# Failures.


def three(**more: Any) -> list[dict[str, Any]]:
    return [rocketmq_event(f"e-{at}", {"mqttSecondTopic": f"/d{at}"}, **more) for at in range(3)]


def test_a_busy_broker_s_messages_are_reported_with_when_to_try_again(sent: Captured) -> None:
    sent.fail(lambda message: message["topic"] == "devices/d1")
    response = inbound_handler(three(), None)
    (failure,) = response["batchItemFailures"]
    assert (failure["itemIdentifier"], failure["reason"]) == ("e-1", "broker_busy")
    assert 0 < failure["retryAfter"] <= 5
    assert [each["topic"] for each in sent] == ["devices/d0", "devices/d2"]


def test_what_a_broker_refuses_for_ever_is_reported_without_a_next_time(sent: Captured) -> None:
    sent.fail(lambda message: message["topic"] == "devices/d2", reason="broker_forbids", permanently=True)
    (failure,) = inbound_handler(three(), None)["batchItemFailures"]
    assert failure == {"itemIdentifier": "e-2", "reason": "broker_forbids", "detail": failure["detail"]}


def test_sqs_hears_exactly_the_ids_that_failed(sent: Captured) -> None:
    sent.fail(lambda message: message["topic"] in ("devices/d0", "devices/d2"))
    response = inbound_handler(sqs_event(*three()), None)
    assert response == {"batchItemFailures": [{"itemIdentifier": "id-0"}, {"itemIdentifier": "id-2"}]}


def test_all_can_fail_and_recover(sent: Captured) -> None:
    sent.fail()
    assert failed(inbound_handler(three(), None)) == ["e-0", "e-1", "e-2"]
    assert sent == []
    sent.recover()
    assert inbound_handler(three(), None) == ALL_WELL
    assert len(sent) == 3


def test_a_redelivery_has_the_same_message_ids(sent: Captured) -> None:
    for attempt in (1, 2):
        outbound_handler([mqtt_event(mqbridgeattempt=attempt)], None)
    assert sent[0] == sent[1]


def test_a_record_that_one_rule_delivered_and_another_did_not_is_reported_once() -> None:
    rules = document(InboundRules=[inbound_rule("one-1", parent="aaa"), inbound_rule("two-2", parent="bbb")])
    with capture(rules) as sent:
        sent.fail(lambda message: message["topic"] == "bbb")
        assert failed(inbound_handler([rocketmq_event()], None)) == ["e-1"]
    assert [each["topic"] for each in sent] == ["aaa"]


WITH_DLQ = document(
    Defaults={"RunOptions": {"DeadLetterQueue": DLQ}}, OutboundRules=[outbound_rule()], InboundRules=[inbound_rule()]
)


def test_with_a_dead_letter_queue_nothing_that_cannot_succeed_is_reported() -> None:
    event = sample("inbound-sqs-mixed.json")
    with capture(WITH_DLQ) as sent:
        assert inbound_handler(event, None) == ALL_WELL
    letters = [each for each in sent if each["topic"] == "mqbridge_dlq"]
    envelopes = [json.loads(each["properties"]["mqbridge-dead-letter"]) for each in letters]
    assert {each["source"]["id"]: (each["rule"], each["reason"]) for each in envelopes} == {
        "wildcard": ("commands", "illegal_topic"),
        "unreadable": (None, "unreadable_record"),
        "device-data-by-mistake": (None, "wrong_kind"),
    }
    received = {each["messageId"]: each for each in event["Records"]}
    for letter, envelope in zip(letters, envelopes, strict=True):
        assert json.loads(letter["body"]) == received[envelope["source"]["id"]]


def test_a_dead_letter_queue_that_fails_reports_the_record() -> None:
    with capture(WITH_DLQ) as sent:
        sent.fail(lambda message: message["topic"] == "mqbridge_dlq")
        assert failed(inbound_handler(sample("inbound-sqs-mixed.json"), None)) == [
            "wildcard",
            "unreadable",
            "device-data-by-mistake",
        ]


@pytest.mark.parametrize("handler", [outbound_handler, inbound_handler])
@pytest.mark.parametrize("event", [None, {}, [1], "hello", b"\xff", 5, {"Records": [{"eventSource": "aws:s3"}]}])
def test_an_event_that_is_none_raises_so_that_the_platform_keeps_it(
    handler: Callable[[Any, Any], Any], event: Any, sent: Captured
) -> None:
    with pytest.raises(UnreadableEvent):
        handler(event, None)
    assert sent == []


@pytest.mark.parametrize("handler", [outbound_handler, inbound_handler])
@pytest.mark.parametrize("event", [[], {"Records": []}, b"[]"])
def test_an_empty_envelope_is_no_success(handler: Callable[[Any, Any], Any], event: Any, sent: Captured) -> None:
    """No platform sends one: something on the way has lost what was in it."""
    with pytest.raises(UnreadableEvent, match="expected an SQS batch"):
        handler(event, None)
    assert sent == []


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
@pytest.mark.parametrize("handler", [outbound_handler, inbound_handler])
def test_one_record_s_impossible_time_does_not_take_the_batch_down(
    handler: Callable[[Any, Any], Any], time: str
) -> None:
    both = [mqtt_event, rocketmq_event][handler is inbound_handler]
    bad = both("bad", time=time)
    bad["data"] = {**bad["data"], "userProperties": {"qoslevel": "9"}}
    with capture(WITH_DLQ) as sent:
        response = handler([both("good"), bad], None)
    assert "good" not in failed(response)
    assert len(sent) + len(failed(response)) == 2


# Time.


def deadlines(context: Any) -> list[float]:
    sinks = FakeSinks()
    with using(Bridge(RULES, sinks)):
        inbound_handler([rocketmq_event()], context)
    return [call.deadline for call in sinks.calls]


def test_the_deadline_keeps_to_what_the_platform_leaves() -> None:
    """Two invocations a moment apart; their deadlines differ by what the contexts say, so no clock is needed."""
    (plenty,), (some,), (little,), (none,) = map(deadlines, map(LambdaContext, (900_000, 6_000, 3_000, 0)))
    assert plenty - some == pytest.approx(10.0 - 5.0, abs=0.5)
    assert some - little == pytest.approx(3.0, abs=0.5)
    assert little - none == pytest.approx(2.0, abs=0.5)


def test_without_a_platform_s_word_there_is_a_deadline_all_the_same() -> None:
    (own,), (plenty,) = deadlines(None), deadlines(LambdaContext(900_000))
    assert own == pytest.approx(plenty, abs=0.5)


def test_with_hardly_any_time_left_what_is_not_sent_is_reported() -> None:
    late = Failed("connection_lost", "not published")
    with using(Bridge(RULES, FakeSinks(lambda _message: late))):
        response = inbound_handler([rocketmq_event()], LambdaContext(50))
    assert failed(response) == ["e-1"]


# The environment.


def test_capture_takes_what_load_takes(tmp_path: Path) -> None:
    whole = document(OutboundRules=[outbound_rule()])
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(whole))
    sources: list[Any] = [whole, json.dumps(whole), path, str(path), load(whole)]
    for source in sources:
        with capture(source) as sent:
            outbound_handler([mqtt_event()], None)
        assert len(sent) == 1


def test_capture_tells_the_faults_of_the_rules() -> None:
    with pytest.raises(InvalidRules), capture(document(OutboundRules=[outbound_rule(parent="a/b")])):
        pass


def test_captures_nest_and_end() -> None:
    with capture(RULES) as outer:
        with capture(RULES) as inner:
            outbound_handler([mqtt_event()], None)
        outbound_handler([mqtt_event()], None)
    assert (len(outer), len(inner)) == (1, 1)


def test_without_capture_the_rules_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", "/nowhere/rules.json")
    with pytest.raises(UnreadableRules, match="/nowhere/rules"):
        outbound_handler([mqtt_event()], None)


def test_each_handler_carries_out_its_own_flow(sent: Captured) -> None:
    """Several files are called app.py; they must not be mistaken for one another."""
    assert failed(outbound_handler([rocketmq_event()], None)) == ["e-1"]
    assert failed(inbound_handler([mqtt_event()], None)) == ["e-1"]
    assert sent == []


def test_received_records_are_counted_by_function_and_trigger() -> None:
    counters = Counters()
    with using(Bridge(RULES, FakeSinks(), counters)):
        outbound_handler(sample("outbound-sqs-shapes.json"), None)
        inbound_handler(three(), None)
    received = {
        dict(labels)["function"] + " " + dict(labels)["trigger"]: value
        for (name, labels), value in counters.snapshot().items()
        if name == "mqbridge_events_received_total"
    }
    assert received == {"outbound sqs": 4, "inbound cloudevents_batch": 3}


def test_a_batch_for_one_rule_is_planned_for_that_rule_alone() -> None:
    rules = document(InboundRules=[inbound_rule("one-1", parent="aaa"), inbound_rule("two-2", parent="bbb")])
    with capture(rules) as sent:
        inbound_handler([rocketmq_event(mqbridgerule="two-2")], None)
    assert [each["topic"] for each in sent] == ["bbb"]


def test_a_batch_for_a_rule_that_is_not_there_is_an_error_and_not_dropped() -> None:
    """A runner that invokes a deployed function has a document of its own: what the function's lacks must not be acknowledged."""
    rules = document(InboundRules=[inbound_rule("one-1", parent="aaa")])
    with (
        capture(rules) as sent,
        pytest.raises(UnreadableEvent, match="mqbridgerule: expected one of the inbound rules"),
    ):
        inbound_handler([rocketmq_event(mqbridgerule="two-2")], None)
    assert sent == []


@quick
@given(
    payloads=st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    failing=st.sets(st.integers(0, 3)),
    permanently=st.booleans(),
    is_sqs=st.booleans(),
)
def test_every_record_is_either_sent_or_reported(
    payloads: list[bytes], failing: set[int], permanently: bool, is_sqs: bool
) -> None:
    events = [
        rocketmq_event(f"id-{at}", {"mqttSecondTopic": f"/d{at}"}) | {"time": "2026-01-01T00:00:00Z"}
        for at, _ in enumerate(payloads)
    ]
    for event, payload in zip(events, payloads, strict=True):
        event["data"] |= {"body": payload.hex(), "bodyEncoding": "utf-8"}
    refused = {f"devices/d{at}" for at in failing}
    with capture(RULES) as sent:
        sent.fail(lambda message: message["topic"] in refused, permanently=permanently)
        response = inbound_handler(sqs_event(*events) if is_sqs else events, None)
    expected = [f"id-{at}" for at in range(len(payloads)) if at in failing]
    assert failed(response) == expected
    assert [each["payload"] for each in sent] == [each.hex() for at, each in enumerate(payloads) if at not in failing]


def test_a_sink_s_unknown_outcome_is_reported_and_counted_apart() -> None:
    counters = Counters()
    unknown = Failed("outcome_unknown", "no acknowledgement in time", is_unknown=True)
    sinks = FakeSinks(lambda message: unknown if message.topic == "devices/d1" else Delivered())
    with using(Bridge(RULES, sinks, counters)):
        assert failed(inbound_handler(three(), None)) == ["e-1"]
    counted = {series: value for series, value in counters.snapshot().items() if "unknown" in series[0]}
    assert counted == {("mqbridge_unknown_outcome_total", (("rule", "commands"), ("sink", "mqtt:mqtt-local"))): 1}
