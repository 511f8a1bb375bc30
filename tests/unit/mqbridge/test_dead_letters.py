"""Dead letters by the limits of each kind of queue, and that capture() sees them wherever they go."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.outbound.app import handler
from mqbridge.delivery import Delivery, Redrive
from mqbridge.delivery.dead_letters import (
    ENVELOPE,
    MAX_BUS_DETAIL_BYTES,
    MAX_QUEUE_MESSAGE_BYTES,
    DeadLetter,
    dead_letter,
)
from mqbridge.outcomes import DeadLettered, Planned, Reject
from mqbridge.rules import load
from mqbridge.testing import capture
from tests.unit.mqbridge.support import (
    DLQ,
    FakeSinks,
    any_text,
    command,
    document,
    outbound_rule,
    publish,
    quick,
    record,
    sqs_event,
)

NOW_S = 1_767_225_700.0
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:dead"
FIFO = "arn:aws:sqs:eu-west-1:123456789012:dead.fifo"
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/dead"
UNREADABLE = Reject("unreadable_record", "why")


def letter(event: Any = None, *, redrive: Redrive | None = None, message: Any = None, **changes: Any) -> DeadLetter:
    one = record(command(**changes) if message is None else message, event=event)
    return dead_letter(one, None, Reject("broker_forbids", "code 16"), NOW_S, redrive)


def as_received(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


# SQS.


def test_a_queue_gets_the_event_as_body_and_the_envelope_beside_it() -> None:
    message = letter({"messageId": "m", "body": "ä\U0001f600\n"}).for_queue()
    assert json.loads(message.body) == {"messageId": "m", "body": "ä\U0001f600\n"}
    assert "ä\U0001f600" in message.body, "what a queue may hold is not escaped"
    assert json.loads(message.envelope)["reason"] == "broker_forbids"


@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "\x00", "\x1f", "\ud800"], ids=ascii)
def test_what_sqs_does_not_allow_in_a_body_is_escaped(character: str) -> None:
    message = letter({"body": f"a{character}b"}).for_queue()
    assert character not in message.body
    assert json.loads(message.body) == {"body": f"a{character}b"}


@quick
@given(st.dictionaries(any_text, any_text, max_size=3))
def test_any_event_comes_back_out_of_a_queue_and_off_a_bus(event: dict[str, str]) -> None:
    one = letter(event)
    assert json.loads(one.for_queue().body) == event
    assert json.loads(one.for_bus())["event"] == event


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f600", "\ufffe", "\\", '"'], ids=ascii)
def test_an_event_too_large_for_a_queue_leaves_its_head_length_and_sha256(character: str) -> None:
    event = {"body": character * 300_000}
    message = letter(event).for_queue()
    whole = as_received(event)
    assert json.loads(message.envelope)["truncated"] == {"length": len(whole), "sha256": sha256(whole).hexdigest()}
    assert MAX_QUEUE_MESSAGE_BYTES - 1_000 < message.size_bytes <= MAX_QUEUE_MESSAGE_BYTES
    if character != "\ufffe":
        assert whole.decode().startswith(message.body)


def test_the_largest_event_that_fits_a_queue_is_whole() -> None:
    room = MAX_QUEUE_MESSAGE_BYTES - letter({"body": ""}).for_queue().size_bytes
    for spare, is_whole in ((300, True), (-1, False)):
        message = letter({"body": "x" * (room - spare)}).for_queue()
        assert ("truncated" not in json.loads(message.envelope)) is is_whole
        assert message.size_bytes <= MAX_QUEUE_MESSAGE_BYTES


def test_letters_of_one_device_are_one_group_of_a_fifo_queue() -> None:
    first, second = (letter(message=publish(client_id="d1", topic=topic)).for_queue() for topic in ("a/1", "a/2"))
    other = letter(message=publish(client_id="d2")).for_queue()
    assert first.group_id == second.group_id == "d1"
    assert other.group_id == "d2"
    assert letter(message=publish(client_id="", topic="devices/d1")).for_queue().group_id == "devices/d1"
    assert letter(properties={"mqttSecondTopic": "/d1"}).for_queue().group_id == "/d1"
    assert letter(message=UNREADABLE).for_queue().group_id == "r-1"


@quick
@given(any_text)
def test_a_group_id_is_one_that_sqs_takes(topic: str) -> None:
    group_id = letter(message=publish(topic=topic)).for_queue().group_id
    assert 1 <= len(group_id) <= 128
    assert all("!" <= character <= "~" for character in group_id)


def test_a_letter_written_again_is_a_duplicate_and_one_that_failed_after_a_redrive_is_none() -> None:
    def ids(redrive: Redrive | None) -> tuple[str, str]:
        one = letter(redrive=redrive)
        return one.for_queue().deduplication_id, one.for_topic("rmq-local", "t").message_id

    once, again, redriven = ids(None), ids(None), ids(Redrive(of="x", count=1))
    assert once == again
    assert not set(once) & set(redriven)
    assert not set(redriven) & set(ids(Redrive(of="x", count=2)))


def test_letters_of_senders_that_number_from_one_again_are_no_duplicates() -> None:
    def id_of(event: Any, message: Any = None) -> str:
        return letter(event, message=message).for_queue().deduplication_id

    one, again, other = (id_of({}, publish(payload=payload)) for payload in (b"a", b"a", b"b"))
    assert one == again != other
    # Of one that cannot be read a queue says something else each time.
    told = ({"body": body, "attributes": {"ApproximateReceiveCount": count}} for body, count in ("a1", "a2", "b1"))
    one, again, other = (id_of(event, UNREADABLE) for event in told)
    assert one == again != other


# EventBridge.


def test_a_bus_gets_event_and_envelope_as_detail() -> None:
    detail = json.loads(letter({"id": "e", "n": [1, 2.5, None]}).for_bus())
    assert detail["event"] == {"id": "e", "n": [1, 2.5, None]}
    assert detail["deadLetter"]["reason"] == "broker_forbids"


@pytest.mark.parametrize("character", ["x", "ä", '"', "\\"])
def test_an_event_too_large_for_a_bus_leaves_its_head_as_text(character: str) -> None:
    event = {"body": character * 300_000}
    text = letter(event).for_bus()
    detail = json.loads(text)
    assert MAX_BUS_DETAIL_BYTES // 2 - 1_000 < len(text.encode()) <= MAX_BUS_DETAIL_BYTES
    assert as_received(event).decode().startswith(detail["event"])
    assert detail["deadLetter"]["truncated"]["length"] == len(as_received(event))


def test_an_event_that_only_python_calls_json_is_text_on_a_bus() -> None:
    """EventBridge would refuse NaN, and the source would keep the record for ever."""
    detail = letter({"n": float("nan")}).for_bus()
    assert json.loads(detail, parse_constant=pytest.fail)["event"] == '{"n":NaN}'


# After a redrive.


def test_the_letter_of_what_failed_again_says_so() -> None:
    first = letter().envelope
    again = letter(redrive=Redrive(of="0A0B", count=2, first_failure="2025-12-31T00:00:00.000+00:00")).envelope
    assert "redriveOf" not in first
    assert (again["redriveOf"], again["redriveCount"]) == ("0A0B", 2)
    assert again["firstFailure"] == "2025-12-31T00:00:00.000+00:00", "the first letter's"


def test_delivery_writes_the_letters_of_a_redrive() -> None:
    rules, sinks = load(document(Defaults={"RunOptions": {"DeadLetterQueue": DLQ}})), FakeSinks()
    delivery = Delivery(sinks, rules.run_options, clock=lambda: NOW_S, redrive=Redrive(of="a", count=3))
    (settlement,) = delivery.carry_out([Planned(record(UNREADABLE), None, UNREADABLE)], 1.0)
    assert isinstance(settlement.outcome, DeadLettered)
    (written,) = sinks.to_topic("mqbridge_dlq")
    assert json.loads(written.properties[ENVELOPE])["redriveCount"] == 3


def test_a_redrive_of_a_record_with_a_long_id_can_be_stored() -> None:
    sinks = FakeSinks()
    one = replace(letter(redrive=Redrive(of="\ud800" * 40_000, count=1)), id="x" * 40_000)
    assert sinks.send("rocketmq", "rmq-local", [one.for_topic("rmq-local", "t")], 0.0)[0] is not None
    assert sinks._refusal(one.for_topic("rmq-local", "t")) is None


# capture().


@pytest.mark.parametrize("arn", [DLQ["Arn"], QUEUE, FIFO, BUS])
def test_capture_sees_dead_letters_wherever_they_go(arn: str) -> None:
    rules = document(OutboundRules=[outbound_rule()], Defaults={"RunOptions": {"DeadLetterQueue": {"Arn": arn}}})
    event = sqs_event({"payload_b64": "%", "topic": "devices/d1"})
    with capture(rules) as sent:
        assert handler(event, None) == {"batchItemFailures": []}
    (line,) = sent
    if arn == BUS:
        assert (line["to"], line["bus"]) == ("event_bus", BUS)
        assert line["detail"]["event"] == event["Records"][0]
        assert line["detail"]["deadLetter"]["reason"] == "unreadable_record"
        return
    assert json.loads(line["body"]) == event["Records"][0]
    if arn == DLQ["Arn"]:
        assert (line["to"], line["topic"]) == ("rocketmq", "mqbridge_dlq")
    else:
        assert (line["to"], line["queue"]) == ("sqs", arn)
        assert json.loads(line["attributes"][ENVELOPE])["reason"] == "unreadable_record"
        assert line.get("group") == ("id-0" if arn == FIFO else None)


def test_captured_queues_can_be_told_to_fail() -> None:
    rules = document(OutboundRules=[outbound_rule()], Defaults={"RunOptions": {"DeadLetterQueue": {"Arn": QUEUE}}})
    with capture(rules) as sent:
        sent.fail(lambda message: message["to"] == "sqs")
        response = handler(sqs_event({"payload_b64": "%", "topic": "devices/d1"}), None)
    assert response == {"batchItemFailures": [{"itemIdentifier": "id-0"}]}
    assert sent == []
