"""A failed SQS message comes back after its rule's delay; what cannot be arranged is said, and harmless."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.outbound.app import handler
from mqbridge.messages import Record
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled
from mqbridge.testing import capture
from mqbridge.triggers import hiding_by, read, visibility
from mqbridge.triggers.visibility import MAX_HELD_S, MAX_HIDDEN_S, Hidden
from tests.unit.mqbridge.support import command, document, outbound_rule, record, sqs_event

REGION = "eu-west-1"
ARN = f"arn:aws:sqs:{REGION}:123456789012:telemetry"
PLANTED = "planted-s3cr3t"
BUSY = Failed("broker_busy", "code 2", 12.3)


@pytest.fixture
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account of this test's own, in memory, and no client of another test's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    visibility._clients.clear()
    with mock_aws():
        yield
    visibility._clients.clear()


def received(id: str, arn: str = ARN, attempt: int = 1, first_attempt_ms: int = 0) -> Record:
    event = {"messageId": id, "receiptHandle": f"handle-{id}", "eventSourceARN": arn, "eventSource": "aws:sqs"}
    return replace(record(command(), id, attempt, event), first_attempt_ms=first_attempt_ms)


def hidden_by(settled: Sequence[tuple[Record, Settled]]) -> dict[str, list[Hidden]]:
    """Return what is hidden in each queue by the response to `settled`."""
    calls: dict[str, list[Hidden]] = {}
    with hiding_by(lambda arn, messages: calls.setdefault(arn, []).extend(messages)):
        read(sqs_event({})).trigger.respond(settled)
    return calls


# What is hidden, and for how long.


def test_what_is_to_be_tried_again_is_hidden_for_its_delay_in_whole_seconds() -> None:
    settled = [(received("a"), BUSY), (received("b"), Failed("x", "", 0.2)), (received("c"), Failed("x", "", 512.0))]
    assert hidden_by(settled) == {ARN: [Hidden("handle-a", 13), Hidden("handle-b", 1), Hidden("handle-c", 512)]}


@pytest.mark.parametrize(
    "outcome",
    [Delivered(), Drop("loop"), Reject("x"), DeadLettered("x"), Discarded("x"), Failed("x", "", 0.0)],
    ids=lambda outcome: type(outcome).__name__,
)
def test_what_is_done_or_given_up_stays_as_it_is(outcome: Settled) -> None:
    assert hidden_by([(received("a"), outcome)]) == {}


def test_each_queue_is_asked_by_itself() -> None:
    other = ARN.replace("telemetry", "other")
    settled = [(received("a"), BUSY), (received("b", other), BUSY), (received("c"), BUSY)]
    assert {arn: [each.receipt_handle for each in of] for arn, of in hidden_by(settled).items()} == {
        ARN: ["handle-a", "handle-c"],
        other: ["handle-b"],
    }


@pytest.mark.parametrize("missing", ["receiptHandle", "eventSourceARN"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_a_record_that_does_not_say_where_it_lies_is_passed_over(missing: str, value: Any) -> None:
    one = received("a")
    assert hidden_by([(replace(one, event={**one.event, missing: value}), BUSY)]) == {}


def test_nothing_is_hidden_beyond_twelve_hours_from_its_receipt() -> None:
    endless, now_ms = Failed("x", "", 1e6), int(time.time() * 1000)
    cases = [
        (received("first", first_attempt_ms=now_ms - 100_000), MAX_HIDDEN_S - 101),
        (received("again", attempt=2, first_attempt_ms=now_ms - 100_000), MAX_HIDDEN_S - MAX_HELD_S),
        (received("unknown"), MAX_HIDDEN_S - MAX_HELD_S),
        (received("odd", first_attempt_ms=now_ms + 10**9), MAX_HIDDEN_S - MAX_HELD_S),
        (received("old", first_attempt_ms=1), 0),
    ]
    for one, seconds in cases:
        ((message,),) = hidden_by([(one, endless)]).values()
        assert seconds - 3 <= message.seconds <= max(0, seconds), one.id


def test_the_response_names_what_failed_as_ever() -> None:
    with hiding_by(lambda _arn, _messages: None):
        response = read(sqs_event({})).trigger.respond([(received("a"), BUSY), (received("b"), Delivered())])
    assert response == {"batchItemFailures": [{"itemIdentifier": "a"}]}


def test_a_handler_under_capture_asks_no_queue(caplog: pytest.LogCaptureFixture) -> None:
    event = sqs_event({"payload_b64": "", "topic": "devices/d1"}, receiptHandle="h", eventSourceARN=ARN)
    with capture(document(OutboundRules=[outbound_rule()])) as sent:
        sent.fail()
        assert handler(event, None) == {"batchItemFailures": [{"itemIdentifier": "id-0"}]}
    assert not [each for each in caplog.records if "visibility" in each.message]
    assert visibility._clients == {}


# On AWS.


def respond(*settled: tuple[Record, Settled]) -> None:
    read(sqs_event({})).trigger.respond(settled)


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    assert PLANTED not in str([vars(each) for each in caplog.records])
    return [vars(each) for each in caplog.records if each.levelno == logging.WARNING]


@pytest.mark.usefixtures("_aws")
def test_a_failed_message_is_seen_again_after_its_delay_and_not_before() -> None:
    client = boto3.client("sqs", region_name=REGION)
    url = client.create_queue(QueueName="telemetry", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    for body in ("again", "given up"):
        client.send_message(QueueUrl=url, MessageBody=body)
    messages = {each["Body"]: each for each in client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]}

    def one(body: str) -> Record:
        plain = received(messages[body]["MessageId"])
        return replace(plain, event={**plain.event, "receiptHandle": messages[body]["ReceiptHandle"]})

    began = time.monotonic()
    respond((one("again"), Failed("broker_busy", "", 0.6)), (one("given up"), Reject("broker_forbids")))
    assert "Messages" not in client.receive_message(QueueUrl=url), "too early"
    found = None
    while found is None and time.monotonic() - began < 10:
        found = client.receive_message(QueueUrl=url).get("Messages")
    assert found
    assert [each["Body"] for each in found] == ["again"], "the other keeps the queue's own timeout"
    assert 0.9 < time.monotonic() - began < 5


@pytest.mark.usefixtures("_aws")
def test_a_queue_that_is_not_there_is_said_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    respond((received("a"), BUSY), (received("b"), BUSY))
    (said,) = warnings(caplog)
    assert (said["queue"], said["messages"]) == (ARN, 2)
    assert "NonExistentQueue" in said["detail"]


@pytest.mark.usefixtures("_aws")
def test_a_handle_that_the_queue_does_not_know_is_said_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    boto3.client("sqs", region_name=REGION).create_queue(QueueName="telemetry")
    respond((received("a"), BUSY))
    (said,) = warnings(caplog)
    assert (said["messages"], said["detail"]) == (1, "ReceiptHandleIsInvalid")


def test_an_address_that_is_no_queue_s_is_said_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    respond((received("a", "arn:aws:kinesis:eu-west-1:123456789012:stream/s"), BUSY))
    assert "expected the ARN" in warnings(caplog)[0]["detail"]


def test_without_boto3_it_is_said_which_extra_is_missing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    respond((received("a"), BUSY))
    assert warnings(caplog)[0]["detail"] == "needs boto3 (extra mqbridge[aws])"


class Scripted:
    """An SQS client that notes the sizes of its calls and how long each takes it."""

    meta = type("Meta", (), {"endpoint_url": "https://sqs.example/"})

    def __init__(self, takes_s: float = 0.0, error: Exception | None = None) -> None:
        self.calls: list[Any] = []
        self._takes_s, self._error = takes_s, error

    def change_message_visibility_batch(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        time.sleep(self._takes_s)
        if self._error is not None:
            raise self._error
        return {}


@pytest.mark.usefixtures("_aws")
def test_many_messages_are_hidden_ten_at_a_time() -> None:
    client = visibility._clients[REGION] = Scripted()
    respond(*((received(str(at)), BUSY) for at in range(25)))
    assert [len(call["Entries"]) for call in client.calls] == [10, 10, 5]
    assert client.calls[0]["QueueUrl"] == "https://sqs.example/123456789012/telemetry"
    assert client.calls[2]["Entries"][4] == {"Id": "4", "ReceiptHandle": "handle-24", "VisibilityTimeout": 13}


@pytest.mark.usefixtures("_aws")
def test_what_time_does_not_allow_keeps_the_queue_s_own_timeout(caplog: pytest.LogCaptureFixture) -> None:
    client = visibility._clients[REGION] = Scripted(takes_s=0.6)
    respond(*((received(str(at)), BUSY) for at in range(45)))
    assert len(client.calls) == 2
    assert [(each["messages"], each["detail"]) for each in warnings(caplog)] == [(25, "no time left")]


@pytest.mark.usefixtures("_aws")
def test_after_a_call_that_failed_none_is_made(caplog: pytest.LogCaptureFixture) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": "SignatureDoesNotMatch", "Message": f"x-amz-security-token:{PLANTED}"}}
    client = visibility._clients[REGION] = Scripted(error=ClientError(answer, "ChangeMessageVisibilityBatch"))
    respond(*((received(str(at)), BUSY) for at in range(25)))
    assert len(client.calls) == 1
    assert [each["detail"] for each in warnings(caplog)] == ["AWS answered SignatureDoesNotMatch"]


@pytest.mark.usefixtures("_aws")
def test_a_client_is_made_once_per_region_and_bounded() -> None:
    client = visibility._client(REGION)
    assert visibility._client(REGION) is client
    config: Any = client.meta.config  # its stubs name no option
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (1.0, 1.0, 1)
