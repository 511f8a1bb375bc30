"""Redriving: the event of a letter takes the way it took first, by the rule that could not deliver it and by no other."""

import json
from typing import Any

import pytest

from mqbridge.delivery import ENVELOPE
from mqbridge.messages import RocketMQMessage
from mqbridge.outcomes import Delivered, Failed, Planned, Reject, Send
from mqbridge.rules import Rules, load
from mqbridge_cli.dlq.letters import StoredLetter
from mqbridge_cli.dlq.redriving import TRANSIENT, NotRedrivable, Result, plan, send, why_not_again
from tests.unit.mqbridge.support import (
    DLQ,
    EVENTS,
    FakeSinks,
    document,
    inbound_rule,
    mqtt_event,
    outbound_rule,
    rocketmq_event,
    sqs_event,
)

TASK = {
    "EventStreamingName": "hot",
    "Source": {"SourceMQTTParameters": {"Topic": "devices", "BodyDataType": "Text"}},
    "Sink": {
        "SinkRocketMQParameters": {
            "Topic": {"Form": "CONSTANT", "Value": "alarms"},
            "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
        }
    },
}
COLUMNS = {"payload_b64": "b24=", "topic": "devices/d1/up", "trace_id": "t-1"}


def rules_with(**parts: Any) -> Rules:
    return load(
        document(
            **{
                "OutboundRules": [outbound_rule("out", topic="telemetry")],
                "InboundRules": [inbound_rule("one"), inbound_rule("two", parent="screens")],
                "EventStreamings": [TASK],
                "Defaults": {"RunOptions": {"DeadLetterQueue": DLQ}},
                **parts,
            }
        )
    )


def letter(event: Any, rule: str | None = "out", reason: str = "broker_busy", **envelope: Any) -> StoredLetter:
    text = event if isinstance(event, str) else json.dumps(event)
    full = {"rule": rule, "stage": "sending", "reason": reason, **envelope}
    return StoredLetter(id="L1", queue=DLQ["Arn"], place="b/0/1", event=text, envelope=full, stored_ms=0)


def sqs_record(body: Any = COLUMNS, **more: Any) -> Any:
    return sqs_event(body, **more)["Records"][0]


def only(planned: list[Planned]) -> Planned:
    (one,) = planned
    return one


# The plan.


@pytest.mark.parametrize(
    ("event", "rule", "topic"),
    [
        (sqs_record(), "out", "telemetry"),
        (mqtt_event(), "out", "telemetry"),
        (mqtt_event(mqbridgerule="out"), "out", "telemetry"),
        (sqs_record(), "hot", "alarms"),
        (mqtt_event(mqbridgerule="hot"), "hot", "alarms"),
        (rocketmq_event(), "one", "devices"),
        (rocketmq_event(), "two", "screens"),
    ],
)
def test_an_event_is_planned_for_the_rule_of_its_letter_alone(event: Any, rule: str, topic: str) -> None:
    outcome = only(plan(letter(event, rule), rules_with())).outcome
    assert isinstance(outcome, Send)
    assert [message.topic for message in outcome.messages] == [topic]


def test_the_message_of_a_redriven_event_has_the_id_that_it_had() -> None:
    """So that whoever counts duplicates can tell."""
    event = sqs_record({**COLUMNS, "trace_id": "0A0B0C0D00002A139A5B00D5E1F30001"})
    outcome = only(plan(letter(event), rules_with())).outcome
    assert isinstance(outcome, Send)
    (message,) = outcome.messages
    assert isinstance(message, RocketMQMessage)
    assert message.message_id == "0A0B0C0D00002A139A5B00D5E1F30001"


def test_attempts_of_before_do_not_count() -> None:
    event = sqs_record(attributes={"ApproximateReceiveCount": "99", "ApproximateFirstReceiveTimestamp": "1"})
    record = only(plan(letter(event), rules_with())).record
    assert (record.attempt, record.first_attempt_ms) == (1, 0)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (letter(sqs_record(), None), "no rule had taken the event"),
        (letter(sqs_record(), "gone"), "expected one rule or task 'gone' in the rules, got none"),
        (letter(sqs_record(), truncated={"length": 1}), "only its head is here"),
        (letter('{"a": '), "the event is not JSON"),
        (letter("[" * 100_000), "the event is not JSON"),
        (letter([]), "expected an event as a JSON object, got a list"),
        (letter({"a": 1}), "none that is known"),
        (letter({"eventSource": "aws:sqs"}), "messageId"),
        (letter({"specversion": "1.0"}), "id: expected the CloudEvent's id"),
    ],
)
def test_what_cannot_be_redriven_says_why(one: StoredLetter, why: str) -> None:
    with pytest.raises(NotRedrivable) as raised:
        plan(one, rules_with())
    assert why in str(raised.value)


def test_a_message_without_envelope_is_nobody_s() -> None:
    one = StoredLetter(id="a", queue="q", place="p", event="{}", envelope={}, stored_ms=0)
    with pytest.raises(NotRedrivable, match="no envelope"):
        plan(one, rules_with())


@pytest.mark.parametrize("shape", ["alone", "sqs", "cloudevent"])
def test_an_event_of_a_client_goes_by_its_status_rule(shape: str) -> None:
    status = {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "t"}}
    event = json.loads((EVENTS / "status-aws-connected.json").read_text())
    shaped = {
        "alone": event,
        "sqs": sqs_record(event),
        "cloudevent": {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "data": event},
    }[shape]
    outcome = only(plan(letter(shaped, "presence"), rules_with(StatusRules=[status]))).outcome
    assert isinstance(outcome, Send)
    (message,) = outcome.messages
    assert (message.topic, isinstance(message, RocketMQMessage) and message.tags) == ("t", "connect")


def test_a_name_that_a_rule_and_a_task_have_is_no_rule_s() -> None:
    task = {**TASK, "EventStreamingName": "out"}
    with pytest.raises(NotRedrivable, match="got 2"):
        plan(letter(sqs_record()), rules_with(EventStreamings=[task]))


# Sending.


def sent(one: StoredLetter, sinks: FakeSinks, rules: Rules | None = None) -> Result:
    rules = rules or rules_with()
    return send(one, plan(one, rules), rules, sinks)


def test_what_is_delivered_is_done() -> None:
    sinks = FakeSinks()
    assert sent(letter(sqs_record()), sinks) == Result("delivered", "", True)
    assert [message.topic for message in sinks.messages] == ["telemetry"]


def test_what_may_succeed_later_stays_and_is_not_written_anew() -> None:
    sinks = FakeSinks(lambda _message: Failed("broker_busy", "code 2"))
    assert sent(letter(sqs_record()), sinks) == Result("failed", "broker_busy: code 2", False)
    assert len(sinks.messages) == 1


def test_what_fails_for_good_is_written_anew_and_says_where_it_comes_from() -> None:
    one = letter(sqs_record(), redriveCount=2, firstFailure="2025-12-31T00:00:00.000+00:00")

    def refuse(message: Any) -> Any:
        return Delivered() if message.topic == "mqbridge_dlq" else Reject("broker_forbids", "code 16")

    sinks = FakeSinks(refuse)
    assert sent(one, sinks) == Result("dead_lettered", "broker_forbids: code 16", True)
    (written,) = sinks.to_topic("mqbridge_dlq")
    envelope = json.loads(written.properties[ENVELOPE])
    assert (envelope["redriveOf"], envelope["redriveCount"]) == ("L1", 3)
    assert (envelope["firstFailure"], envelope["attempts"]) == ("2025-12-31T00:00:00.000+00:00", 1)
    assert json.loads(written.body) == json.loads(one.event)


@pytest.mark.parametrize(
    ("options", "outcome"),
    [({}, "rejected"), ({"ErrorsTolerance": "ALL"}, "discarded")],
)
def test_what_no_queue_takes_stays(options: dict[str, Any], outcome: str) -> None:
    rules = rules_with(Defaults={"RunOptions": options})
    sinks = FakeSinks(lambda _message: Reject("broker_forbids", "code 16"))
    assert sent(letter(sqs_record()), sinks, rules) == Result(outcome, "broker_forbids: code 16", False)


def test_what_the_rule_drops_now_stays() -> None:
    rules = rules_with(OutboundRules=[outbound_rule("out", Status="Disabled")])
    assert sent(letter(sqs_record()), FakeSinks(), rules) == Result("dropped", "rule_disabled", False)


def test_a_dead_letter_queue_that_fails_keeps_the_letter() -> None:
    sinks = FakeSinks(lambda message: Failed("x") if message.topic == "mqbridge_dlq" else Reject("y"))
    result = sent(letter(sqs_record()), sinks)
    assert (result.outcome, result.is_done) == ("failed", False)


# Not for ever.


@pytest.mark.parametrize(
    ("count", "reason", "force", "is_left"),
    [
        (0, "illegal_topic", False, False),
        (1, "illegal_topic", False, True),
        (1, "illegal_topic", True, False),
        (1, "broker_busy", False, False),
        (9, "route_not_found", False, False),
        (1, "what_a_later_version_calls_it", False, True),
    ],
)
def test_what_failed_for_good_after_a_redrive_is_left_alone(
    count: int, reason: str, force: bool, is_left: bool
) -> None:
    one = letter(sqs_record(), reason=reason, redriveCount=count)
    assert bool(why_not_again(one, force=force)) is is_left


def test_transient_reasons_are_those_that_delivery_retries() -> None:
    assert {"broker_busy", "connect_failed", "outcome_unknown", "route_not_found", "cannot_connect"} <= TRANSIENT
    assert not {"broker_forbids", "illegal_message", "illegal_topic", "unreadable_record"} & TRANSIENT
