"""Dead letters into SQS and EventBridge as moto has them in memory, and what AWS would say when it takes some or none."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mqbridge.delivery import ENVELOPE, DeadLetter, Delivery, Sent, aws, event_bus, sqs_queue
from mqbridge.delivery.dead_letters import dead_letter
from mqbridge.delivery.queues import OpenQueues
from mqbridge.outcomes import DeadLettered, Delivered, Failed, Planned, Reject
from mqbridge.rules import DeadLetterQueue, load
from tests.unit.mqbridge.support import FakeSinks, command, document, record

REGION = "eu-west-1"
QUEUE = DeadLetterQueue(arn=f"arn:aws:sqs:{REGION}:123456789012:dead")
FIFO = DeadLetterQueue(arn=f"arn:aws:sqs:{REGION}:123456789012:dead.fifo")
BUS = DeadLetterQueue(arn=f"arn:aws:events:{REGION}:123456789012:event-bus/dead")
PLANTED = "planted-s3cr3t"
UNREADABLE = Reject("unreadable_record", "why")


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account of this test's own, in memory, and no client of another test's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    aws._clients.clear()
    with mock_aws():
        yield
    aws._clients.clear()


def letters(*bodies: str) -> list[DeadLetter]:
    return [
        dead_letter(record(command(), f"r-{at}", event={"body": body}), None, UNREADABLE, 1_767_225_700.0)
        for at, body in enumerate(bodies)
    ]


def put(queue: DeadLetterQueue, written: Sequence[DeadLetter], deadline: float | None = None) -> list[Sent]:
    until = time.monotonic() + 10 if deadline is None else deadline
    return OpenQueues(FakeSinks()).dead_letter(queue, written, until)


def made(name: str, *, is_fifo: bool = False) -> str:
    client = boto3.client("sqs", region_name=REGION)
    return client.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if is_fifo else {})["QueueUrl"]


def lying_in(url: str) -> list[dict[str, Any]]:
    client = boto3.client("sqs", region_name=REGION)
    found: list[dict[str, Any]] = []
    while True:
        answer = client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
        )
        if not answer.get("Messages"):
            return found
        found += [dict(each) for each in answer["Messages"]]


def bus_with_queue() -> str:
    """Make the bus, and a queue that gets whatever it takes."""
    events, url = boto3.client("events", region_name=REGION), made("behind-the-bus")
    events.create_event_bus(Name="dead")
    events.put_rule(Name="all", EventBusName="dead", EventPattern='{"source":["mqbridge"]}')
    arn = f"arn:aws:sqs:{REGION}:123456789012:behind-the-bus"
    events.put_targets(Rule="all", EventBusName="dead", Targets=[{"Id": "queue", "Arn": arn}])
    return url


class Scripted:
    """An AWS client that notes the calls, and answers them as told."""

    meta = type("Meta", (), {"endpoint_url": "https://sqs.example"})

    def __init__(self, *answers: Any) -> None:
        self.calls: list[Any] = []
        self._answers = list(answers)

    def send_message_batch(self, **arguments: Any) -> Any:
        return self._called(arguments)

    def put_events(self, **arguments: Any) -> Any:
        return self._called(arguments)

    def _called(self, arguments: Any) -> Any:
        self.calls.append(arguments)
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def scripted(*answers: Any) -> Scripted:
    client = Scripted(*answers)
    aws._clients["sqs", REGION] = aws._clients["events", REGION] = client
    return client


# What lies there.


def test_a_queue_holds_the_event_and_one_attribute() -> None:
    url = made("dead")
    assert put(QUEUE, letters("ä\uffff")) == [Delivered()]
    (message,) = lying_in(url)
    assert json.loads(message["Body"]) == {"body": "ä\uffff"}
    assert set(message["MessageAttributes"]) == {ENVELOPE}
    envelope = json.loads(message["MessageAttributes"][ENVELOPE]["StringValue"])
    assert (envelope["reason"], envelope["source"]["id"]) == ("unreadable_record", "r-0")


def test_many_letters_go_in_calls_of_ten_and_of_256_kib() -> None:
    url = made("dead")
    bodies = [*(str(at) for at in range(23)), *("x" * 100_000 for _ in range(5)), "y" * 400_000]
    assert put(QUEUE, letters(*bodies)) == [Delivered()] * len(bodies)
    found = lying_in(url)
    assert len(found) == len(bodies)
    assert sum("truncated" in message["MessageAttributes"][ENVELOPE]["StringValue"] for message in found) == 1


def test_a_fifo_queue_gets_a_letter_once() -> None:
    url = made("dead.fifo", is_fifo=True)
    assert put(FIFO, letters("a", "b")) == put(FIFO, letters("a", "b")) == [Delivered()] * 2
    found = lying_in(url)
    assert len(found) == 2
    assert all(message["Attributes"]["MessageGroupId"] for message in found)


def test_a_bus_passes_event_and_envelope_on() -> None:
    url = bus_with_queue()
    assert put(BUS, letters("ä", "b")) == [Delivered()] * 2
    first, second = sorted((json.loads(message["Body"]) for message in lying_in(url)), key=str)
    assert {first["source"], second["source"]} == {"mqbridge"}
    assert first["detail-type"] == "mqbridge dead letter"
    assert sorted(each["detail"]["event"]["body"] for each in (first, second)) == ["b", "ä"]
    assert first["detail"]["deadLetter"]["reason"] == "unreadable_record"


# Limits of a call.


@pytest.mark.parametrize("queue", [QUEUE, BUS], ids=["sqs", "bus"])
def test_no_call_is_larger_than_aws_takes(queue: DeadLetterQueue) -> None:
    client = scripted()
    bodies = ["x" * size for size in (1, 90_000, 90_000, 90_000, 500_000, 1, 260_000, *range(25))]
    put(queue, letters(*bodies))
    entries = [call["Entries"] for call in client.calls]
    assert sum(map(len, entries)) == len(bodies)
    for batch in entries:
        assert len(batch) <= 10
        text = [each.get("MessageBody", "") + each.get("Detail", "") for each in batch]
        assert sum(len(each.encode()) for each in text) <= 262_144


# What is not taken.


def test_each_entry_that_a_queue_does_not_take_is_its_record_s_own_failure() -> None:
    scripted({"Failed": [{"Id": "1", "SenderFault": False, "Code": "InternalError", "Message": "try again"}]})
    first, second, third = put(QUEUE, letters("a", "b", "c"))
    assert first == third == Delivered()
    assert second == Failed("queue_failed", "InternalError: try again")


def test_each_entry_that_a_bus_does_not_take_is_its_record_s_own_failure() -> None:
    entries = [{"EventId": "x"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]
    scripted({"FailedEntryCount": 1, "Entries": entries})
    assert put(BUS, letters("a", "b")) == [Delivered(), Failed("queue_failed", "ThrottlingException: slow down")]


@pytest.mark.parametrize("queue", [QUEUE, BUS], ids=["sqs", "bus"])
def test_a_queue_that_is_not_there_takes_none_and_is_asked_once(queue: DeadLetterQueue) -> None:
    sent = put(queue, letters(*map(str, range(25))))
    assert {type(each) for each in sent} == {Failed}
    assert "AWS answered " in str(sent[0])
    assert "NonExistentQueue" in str(sent[0]) or "ResourceNotFound" in str(sent[0])


@pytest.mark.parametrize("queue", [QUEUE, BUS], ids=["sqs", "bus"])
def test_what_aws_says_of_a_wrong_signature_is_not_repeated(queue: DeadLetterQueue) -> None:
    """Its text holds the request as it was signed, session token and all."""
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": "SignatureDoesNotMatch", "Message": f"x-amz-security-token:{PLANTED}"}}
    client = scripted(ClientError(answer, "SendMessageBatch"))  # type: ignore[arg-type]  # botocore's own shape of an answer
    sent = put(queue, letters(*map(str, range(12))))
    assert sent == [Failed("queue_failed", "AWS answered SignatureDoesNotMatch")] * 12
    assert len(client.calls) == 1, "what failed as a whole would fail again"


def test_a_network_that_is_down_fails_all_without_trying_each() -> None:
    client = scripted({}, OSError("unreachable"))
    sent = put(QUEUE, letters(*map(str, range(35))))
    assert sent[:10] == [Delivered()] * 10
    assert sent[10:] == [Failed("queue_failed", "AWS cannot be asked: OSError")] * 25
    assert len(client.calls) == 2


def test_after_the_deadline_nothing_is_put() -> None:
    client = scripted()
    assert put(QUEUE, letters("a"), time.monotonic() - 1) == [Failed("queue_failed", "no time left")]
    assert client.calls == []


def test_without_boto3_it_is_said_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert put(QUEUE, letters("a")) == [Failed("queue_failed", "needs boto3 (extra mqbridge[aws])")]
    assert put(BUS, letters("a")) == [Failed("queue_failed", "needs boto3 (extra mqbridge[aws])")]


def test_what_no_queue_can_be_put_into_is_a_failure_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    for queue in (QUEUE, BUS):
        (sent,) = put(queue, letters("a"))
        assert isinstance(sent, Failed)
        assert "ProfileNotFound" in sent.detail


def test_a_client_is_made_once_per_region_and_bounded() -> None:
    first, again, other = aws.sqs_client(REGION), aws.sqs_client(REGION), aws.sqs_client("us-east-1")
    assert first is again
    assert first is not other
    assert aws.events_client(REGION) is aws.events_client(REGION)
    for client in (first, aws.events_client(REGION)):
        config: Any = client.meta.config  # its stubs name no option
        assert (config.connect_timeout, config.read_timeout) == (1.0, 1.0)
        assert config.retries["total_max_attempts"] == 2
    assert aws.ATTEMPTS * 2 * aws.TIMEOUT_S + 1 <= 5, "of the 10 s that a handler has"


# Through delivery.


@pytest.mark.parametrize("queue", [QUEUE, BUS], ids=["sqs", "bus"])
def test_a_queue_of_aws_settles_records_as_any_dead_letter_queue(queue: DeadLetterQueue) -> None:
    rules = load(document(Defaults={"RunOptions": {"DeadLetterQueue": {"Arn": queue.arn}}}))
    plan = [Planned(record(UNREADABLE, f"r-{at}"), None, UNREADABLE) for at in range(3)]

    def settled() -> list[type]:
        delivery = Delivery(FakeSinks(), rules.run_options)
        return [type(each.outcome) for each in delivery.carry_out(plan, time.monotonic() + 10)]

    assert settled() == [Failed] * 3, "there is no such queue: the source keeps the records"
    made("dead")
    bus_with_queue()
    assert settled() == [DeadLettered] * 3


def test_put_functions_are_what_the_dispatch_calls() -> None:
    client = scripted()
    sqs_queue.put(QUEUE, letters("a"), time.monotonic() + 1)
    event_bus.put(BUS, letters("a"), time.monotonic() + 1)
    assert client.calls[0]["QueueUrl"] == "https://sqs.example/123456789012/dead"
    assert client.calls[1]["Entries"][0]["EventBusName"] == BUS.arn
