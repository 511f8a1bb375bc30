"""An SQS queue as a store: each letter once, held while it is read, released afterwards, deleted only when asked."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mqbridge.delivery import ENVELOPE
from mqbridge.rules import DeadLetterQueue
from mqbridge_cli.dlq.queue_store import QueueStore
from mqbridge_cli.dlq.stores import StoreError

REGION = "eu-west-1"
QUEUE = DeadLetterQueue(arn=f"arn:aws:sqs:{REGION}:123456789012:dead")
PLANTED = "planted-s3cr3t"
ENTRY = {"rule": "out", "stage": "sending", "reason": "broker_busy", "lastFailure": "2026-01-01T00:01:40.000+00:00"}


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    with mock_aws():
        yield


def client() -> Any:
    return boto3.client("sqs", region_name=REGION)


@pytest.fixture
def url() -> str:
    made: str = client().create_queue(QueueName="dead", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    return made


def lay(url: str, body: str, envelope: str | None = None) -> None:
    attributes = {} if envelope is None else {ENVELOPE: {"DataType": "String", "StringValue": envelope}}
    client().send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)


def visible(url: str) -> int:
    answer = client().get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def test_letters_are_read_once_and_left(url: str) -> None:
    for at in range(25):
        lay(url, f'{{"n": {at}}}', json.dumps(ENTRY))
    store = QueueStore(QUEUE, wait_s=0)
    letters = list(store.read())
    assert sorted(json.loads(letter.event)["n"] for letter in letters) == list(range(25))
    assert {letter.reason for letter in letters} == {"broker_busy"}
    assert all(letter.stored_ms > 1_700_000_000_000 for letter in letters)
    assert visible(url) == 0, "held while the command runs"
    store.close()
    assert visible(url) == 25


def test_a_removed_letter_is_gone_and_the_others_are_released(url: str) -> None:
    for at in range(3):
        lay(url, str(at), json.dumps(ENTRY))
    store = QueueStore(QUEUE, wait_s=0)
    for letter in store.read():
        if letter.event == "1":
            store.remove(letter)
    store.close()
    assert sorted(letter.event for letter in QueueStore(QUEUE, wait_s=0).read()) == ["0", "2"]


def test_a_reader_that_stops_early_releases_what_it_holds(url: str) -> None:
    for at in range(15):
        lay(url, str(at))
    store = QueueStore(QUEUE, wait_s=0)
    next(store.read())
    store.close()
    assert visible(url) == 15


def test_what_others_wrote_and_what_a_bus_brought_is_told_apart(url: str) -> None:
    detail = {"event": {"a": 1}, "deadLetter": ENTRY}
    lay(url, "plain text")
    lay(url, "{}", "no JSON")
    lay(url, json.dumps({"detail-type": "mqbridge dead letter", "source": "mqbridge", "detail": detail}))
    lay(url, json.dumps({"detail": {**detail, "event": '{"cut": '}}))
    lay(url, json.dumps({"detail": {"event": {}, "deadLetter": []}}))
    letters = {(letter.event, letter.reason) for letter in QueueStore(QUEUE, wait_s=0).read()}
    assert letters == {
        ("plain text", "(no envelope)"),
        ("{}", "(no envelope)"),
        ('{"a": 1}', "broker_busy"),
        ('{"cut": ', "broker_busy"),
        ('{"detail": {"event": {}, "deadLetter": []}}', "(no envelope)"),
    }


class Scripted:
    """An SQS client that answers as told, and notes what it was asked."""

    meta = type("Meta", (), {"endpoint_url": "https://sqs.example"})

    def __init__(self, *answers: Any, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self._answers, self._error = list(answers), error

    def receive_message(self, **_: Any) -> Any:
        self.calls.append("receive")
        return {"Messages": self._answers.pop(0)} if self._answers else {}

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> None:  # noqa: N803  # botocore's own names
        self._refuse(f"delete {ReceiptHandle}")

    def change_message_visibility_batch(self, *, Entries: Any, **_: Any) -> Any:  # noqa: N803
        self._refuse("release " + " ".join(entry["ReceiptHandle"] for entry in Entries))
        return {}

    def close(self) -> None:
        """Leave the connections; no call of AWS's."""

    def _refuse(self, call: str) -> None:
        self.calls.append(call)
        if self._error is not None:
            raise self._error


def message(id: str, handle: str) -> dict[str, Any]:
    return {"MessageId": id, "ReceiptHandle": handle, "Body": "{}", "Attributes": {"SentTimestamp": "1"}}


def store_on(scripted: Scripted) -> QueueStore:
    store = QueueStore(QUEUE, wait_s=0)
    store._made = scripted  # type: ignore[assignment]  # it is asked for no more than these methods
    return store


def test_a_letter_that_comes_twice_is_one_and_its_newer_handle_counts() -> None:
    """Standard queues may give a message out twice, and a slow redrive may outlast the time that letters are held."""
    scripted = Scripted([message("a", "1")], [message("a", "2")], [message("b", "3"), message("a", "4")])
    store = store_on(scripted)
    letters = list(store.read())
    assert [letter.id for letter in letters] == ["a", "b"]
    store.remove(letters[0])
    store.close()
    assert scripted.calls[-2:] == ["delete 4", "release 3"]


def test_a_queue_that_only_repeats_itself_has_an_end() -> None:
    scripted = Scripted(*([message("a", str(at))] for at in range(100)))
    assert len(list(store_on(scripted).read())) == 1
    assert scripted.calls.count("receive") == 4


def test_what_aws_refuses_is_said_without_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": "SignatureDoesNotMatch", "Message": PLANTED}}
    scripted = Scripted([message("a", "1")], [message("b", "2")], error=ClientError(answer, "x"))
    store = store_on(scripted)
    one, _ = store.read()
    with pytest.raises(StoreError, match="letter a: it cannot be deleted: AWS answered SignatureDoesNotMatch"):
        store.remove(one)
    store.close()
    talk = capsys.readouterr().err
    assert "stay hidden for up to 600 s" in talk
    assert PLANTED not in talk


def test_a_missing_queue_and_a_missing_library_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="NonExistentQueue"):
        list(QueueStore(QUEUE, wait_s=0).read())
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StoreError, match=r"needs boto3 \(extra mqbridge\[aws\]\)"):
        list(QueueStore(QUEUE, wait_s=0).read())
