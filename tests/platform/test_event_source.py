"""The stand-in for the event source mapping treats batches and answers as the service does: SQS is moto's, functions misbehave."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from devstack.lambda_service import EventSourceMapping, Function, HostBuild, LambdaService, QueueSource, failed_of
from devstack.processes import wait_until
from tests.integration.aws_server import Aws, pretended

MODULE = """
import json, os, pathlib, time

def noted(event):
    name = event["Records"][0]["eventSourceARN"].split(":")[-1]
    with open(pathlib.Path(__file__).with_name(name), "a") as notes:
        notes.write(json.dumps({"at": time.time(), "records": event["Records"]}) + chr(10))

def fails_some(event, context):
    noted(event)
    failed = [each["messageId"] for each in event["Records"] if each["body"] == "bad"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

def hides(event, context):
    import boto3
    sqs = boto3.client("sqs", region_name=event["Records"][0]["awsRegion"])
    for each in event["Records"]:
        account, name = each["eventSourceARN"].split(":")[4:]
        url = f"{sqs.meta.endpoint_url}/{account}/{name}"
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=each["receiptHandle"], VisibilityTimeout=1)
    return fails_some(event, context)

def raises(event, context):
    noted(event)
    raise ValueError("as told")

def slow(event, context):
    noted(event)
    time.sleep(0.3)
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as monkeypatch, pretended(monkeypatch) as account:
        yield account


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The functions' code, and beside it what they note."""
    folder = tmp_path_factory.mktemp("task")
    (folder / "app.py").write_text(MODULE)
    return folder


@pytest.fixture(scope="module")
def service(aws: Aws, host_build: HostBuild, task: Path) -> Iterator[LambdaService]:
    def function(name: str, concurrency: int = 10) -> Function:
        options: Any = {"task": task, "runtime": host_build.runtime(), "environment": {"AWS_ENDPOINT_URL": aws.url}}
        return Function(name=name, handler=f"app.{name}", timeout_s=10.0, concurrency=concurrency, **options)

    functions = [function("fails_some"), function("hides"), function("raises"), function("slow", concurrency=1)]
    with LambdaService(functions) as running:
        yield running


class Mapped:
    """A queue that a function is invoked for."""

    def __init__(self, aws: Aws, arn: str, notes: Path) -> None:
        self.url = aws.queue_url(arn)
        self._aws = aws
        self._notes = notes

    def send(self, *bodies: str, **more: Any) -> None:
        for body in bodies:
            self._aws.sqs.send_message(QueueUrl=self.url, MessageBody=body, **more)

    @property
    def invocations(self) -> list[dict[str, Any]]:
        text = self._notes.read_text() if self._notes.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    @property
    def bodies(self) -> list[str]:
        return [record["body"] for each in self.invocations for record in each["records"]]

    @property
    def sizes(self) -> list[int]:
        return [len(each["records"]) for each in self.invocations]

    @property
    def left(self) -> int:
        """How many messages the queue has, hidden ones included."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        said = self._aws.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in said.values())


@pytest.fixture(scope="module")
def mapped(aws: Aws, service: LambdaService, task: Path) -> Any:
    """Make a queue that a function is mapped to."""
    numbers = count()

    @contextmanager
    def make(function: str, *, visibility_timeout_s: int = 60, ending: str = "", **options: Any) -> Iterator[Mapped]:
        name = f"queue-{next(numbers)}{ending}"
        queue = Mapped(aws, aws.queue(name, visibility_timeout_s), task / name)
        source = QueueSource(queue=name, **{"reports_item_failures": True, **options})
        with EventSourceMapping(service, function, aws.sqs, queue.url, source):
            yield queue

    return make


def test_a_batch_is_what_comes_within_the_window_in_the_service_s_form(mapped: Any) -> None:
    attribute = {
        "n": {"DataType": "Number", "StringValue": "7"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    with mapped("fails_some", batch_size=100, window_s=1.0) as queue:
        queue.send("first", MessageAttributes=attribute)
        queue.send(*(f"body {number}" for number in range(24)))
        assert wait_until(lambda: queue.left == 0, timeout_s=10)
        (batch,) = queue.invocations
    assert len(batch["records"]) == 25
    first = next(record for record in batch["records"] if record["body"] == "first")
    assert first["messageAttributes"] == {
        "n": {"stringValue": "7", "stringListValues": [], "binaryListValues": [], "dataType": "Number"},
        "b": {"binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
    }
    assert first["eventSource"] == "aws:sqs"
    assert first["eventSourceARN"] == f"arn:aws:sqs:eu-west-1:123456789012:{queue.url.rpartition('/')[2]}"
    assert first["attributes"]["ApproximateReceiveCount"] == "1"
    assert int(first["attributes"]["SentTimestamp"]) <= int(first["attributes"]["ApproximateFirstReceiveTimestamp"])


def test_a_batch_ends_at_its_size(mapped: Any) -> None:
    with mapped("fails_some", batch_size=15, window_s=0.3) as queue:
        queue.send(*"x" * 35)
        assert wait_until(lambda: queue.left == 0, timeout_s=10)
        assert max(queue.sizes) == 15
        assert sum(queue.sizes) == 35


def test_a_batch_ends_at_six_megabytes_and_nothing_is_lost(mapped: Any) -> None:
    with mapped("fails_some", batch_size=100, window_s=0.5) as queue:
        queue.send(*(str(number) * 1_000_000 for number in range(8)))
        assert wait_until(lambda: queue.left == 0, timeout_s=20)
        assert sorted(body[0] for body in queue.bodies) == list("01234567")
        assert max(queue.sizes) <= 6


def test_only_what_failed_stays_and_comes_again_after_the_visibility_timeout(mapped: Any) -> None:
    with mapped("fails_some", visibility_timeout_s=2, batch_size=10) as queue:
        queue.send("good", "bad")
        assert wait_until(lambda: queue.bodies.count("bad") == 2, timeout_s=10)
        assert queue.bodies.count("good") == 1
        first, second = (each["at"] for each in queue.invocations if each["records"][-1]["body"] == "bad")
        assert 1.5 < second - first < 4
        assert queue.left == 1


def test_a_visibility_that_the_function_changed_is_kept(mapped: Any) -> None:
    """The queue's own would have it wait for a minute."""
    with mapped("hides", visibility_timeout_s=60) as queue:
        queue.send("bad")
        assert wait_until(lambda: len(queue.invocations) == 2, timeout_s=15)


def test_without_partial_responses_whatever_returns_is_a_success(mapped: Any) -> None:
    with mapped("fails_some", reports_item_failures=False) as queue:
        queue.send("bad")
        assert wait_until(lambda: bool(queue.invocations) and queue.left == 0, timeout_s=10)


def test_an_error_of_the_function_fails_the_batch_until_the_queue_gives_it_up(aws: Aws, mapped: Any) -> None:
    dead = aws.queue("dead")
    with mapped("raises", visibility_timeout_s=1, batch_size=10) as queue:
        redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2})
        aws.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": redrive})
        queue.send("one", "two")
        assert wait_until(lambda: len(aws.lying_in(dead)) == 2, timeout_s=15)
        assert sorted(queue.bodies) == ["one", "one", "two", "two"]
        assert queue.left == 0


def test_throttled_batches_wait_and_come_once(mapped: Any) -> None:
    with mapped("slow", batch_size=1, maximum_concurrency=2) as queue:
        queue.send("one", "two")
        assert wait_until(lambda: len(queue.invocations) == 2 and queue.left == 0, timeout_s=15)
    assert sorted(queue.bodies) == ["one", "two"]


def test_a_fifo_queue_gives_out_one_batch_of_a_group_at_a_time(mapped: Any) -> None:
    with mapped("slow", ending=".fifo", batch_size=2) as queue:
        for number in range(4):
            queue.send(str(number), MessageGroupId="g", MessageDeduplicationId=str(number))
        assert wait_until(lambda: queue.left == 0, timeout_s=20)
    assert queue.bodies == list("0123")
    times = [each["at"] for each in queue.invocations]
    assert all(later - earlier > 0.25 for earlier, later in pairwise(times))


@pytest.mark.parametrize("response", [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}, {"other": 1}])
def test_a_complete_success(response: Any) -> None:
    assert failed_of(json.dumps(response).encode(), ["a", "b"]) == set()


@pytest.mark.parametrize(
    "failures",
    [
        [{"itemIdentifier": ""}],
        [{"itemIdentifier": None}],
        [{"itemIdentifier": ["a"]}],
        [{"itemidentifier": "a"}],
        [{"itemIdentifier": "a"}, {"itemIdentifier": "not of the batch"}],
        ["a"],
        "a",
    ],
)
def test_a_malformed_response_fails_the_whole_batch(failures: Any) -> None:
    assert failed_of(json.dumps({"batchItemFailures": failures}).encode(), ["a", "b"]) == {"a", "b"}


@pytest.mark.parametrize("response", [b"", b"not JSON", b'"ok"', b"[" * 100_000, b"9" * 10_000])
def test_what_is_no_response_fails_the_whole_batch(response: bytes) -> None:
    assert failed_of(response, ["a", "b"]) == {"a", "b"}


def test_a_partial_failure() -> None:
    assert failed_of(b'{"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}', ["a", "b"]) == {"b"}


def test_leaving_is_quick_and_takes_nothing_along(mapped: Any) -> None:
    with mapped("fails_some") as queue:
        left_at = time.monotonic()
    assert time.monotonic() - left_at < 2
    queue.send("later")
    assert queue.left == 1
