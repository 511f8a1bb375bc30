"""A stand-in for Lambda's event source mapping of an SQS queue: it polls, makes batches, invokes, and deletes what succeeded.

As the service: the batch's size and window, a batch of 6 MB at most, partial batch responses and what counts as a malformed one, an
error of the function that fails the batch, throttled batches tried again until their visibility ends, no more invocations at once than
MaximumConcurrency. What failed is not touched: it becomes visible again by the queue's visibility timeout, or when the function itself
said so, and the queue alone moves it to its dead-letter queue (maxReceiveCount).
Not imitated: how pollers are scaled, filter criteria, provisioned mode, what the service checks when a mapping is made.

Sources: the Lambda Developer Guide's "Using Lambda with Amazon SQS", "Handling errors for an SQS event source".
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .environment import Answer
from .service import MAX_SYNC_BYTES, LambdaService, Refused
from .template import QueueSource

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef

__all__ = ["EventSourceMapping", "failed_of"]

# What one request of SQS brings or takes at most.
MAX_REQUEST_MESSAGES = 10
# How often an empty queue is looked at. The service waits in SQS (20 s); emulators do not all know how.
POLL_S = 0.5
# Before a throttled batch is tried again, and SQS after an error.
AGAIN_S = 0.5
# Around the records of an event, and between two of them.
ENVELOPE_BYTES = len(b'{"Records": []}')
SEPARATOR_BYTES = len(b", ")

_log = logging.getLogger("devstack")


class EventSourceMapping:
    """A queue that a function is invoked for, as long as the context lasts. On leaving, what is under way is finished.

    Args:
        service: has the function.
        function: the function's name.
        sqs: a client, for SQS or what stands in for it.
        queue_url: the queue.
        source: how batches are made; its own name for the queue does not matter.
    """

    def __init__(
        self, service: LambdaService, function: str, sqs: "SQSClient", queue_url: str, source: QueueSource
    ) -> None:
        self._service = service
        self._function = function
        self._sqs = sqs
        self._url = queue_url
        self._source = source
        self._left_over: list[dict[str, Any]] = []  # received, and too much for the batch before
        self._stopped = threading.Event()
        self._slots = threading.Semaphore(source.maximum_concurrency)
        self._invocations = ThreadPoolExecutor(source.maximum_concurrency, thread_name_prefix=f"mapping-{function}")
        self._poller = threading.Thread(target=self._poll, name=f"poller-{function}", daemon=True)

    def __enter__(self) -> Self:
        said = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn", "VisibilityTimeout"])
        self._arn = said["Attributes"]["QueueArn"]
        self._visibility_s = float(said["Attributes"]["VisibilityTimeout"])
        self._poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._poller.join()
        self._invocations.shutdown()

    def _poll(self) -> None:
        while not self._stopped.is_set():
            if not self._slots.acquire(timeout=POLL_S):
                continue  # nothing is received that could not be invoked for
            received_at = time.monotonic()
            records: list[dict[str, Any]] = []
            try:
                records, received_at = self._batch()
            except Exception:
                _log.exception("%s cannot be polled; it is tried again", self._url)
                self._stopped.wait(AGAIN_S)
            if records:
                self._invocations.submit(self._carry, records, received_at)
            else:
                self._slots.release()

    def _batch(self) -> tuple[list[dict[str, Any]], float]:
        """Return a batch, empty if the queue is, and when its first message was received (time.monotonic)."""
        records: list[dict[str, Any]] = []
        size_bytes = ENVELOPE_BYTES
        received_at = time.monotonic()
        while len(records) < self._source.batch_size and not self._stopped.is_set():
            asked_at = time.monotonic()
            fresh = self._left_over or self._received(min(MAX_REQUEST_MESSAGES, self._source.batch_size - len(records)))
            self._left_over = []
            if not records:
                received_at = asked_at
            for at, record in enumerate(fresh):
                size_bytes += len(json.dumps(record)) + SEPARATOR_BYTES
                if records and size_bytes > MAX_SYNC_BYTES:
                    self._left_over = fresh[at:]
                    return records, received_at
                records.append(record)
            left_s = received_at + self._source.window_s - time.monotonic() if records else 0.0
            if not fresh:
                self._stopped.wait(min(POLL_S, max(0.0, left_s)) if records else POLL_S)
            if left_s <= 0:
                break
        return records, received_at

    def _received(self, count: int) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=count,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [self._record(message) for message in answer.get("Messages", ())]

    def _record(self, message: "MessageTypeDef") -> dict[str, Any]:
        attributes = message.get("MessageAttributes", {})
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": dict(message.get("Attributes", {})),
            "messageAttributes": {name: _attribute(value) for name, value in attributes.items()},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._arn,
            "awsRegion": self._arn.split(":")[3],
        }

    def _carry(self, records: Sequence[dict[str, Any]], received_at: float) -> None:
        try:
            answer = self._invoked(json.dumps({"Records": records}).encode(), received_at + self._visibility_s)
            ids = [record["messageId"] for record in records]
            if answer is None or answer.is_error:
                return
            failed = failed_of(answer.payload, ids) if self._source.reports_item_failures else set()
            self._delete([record for record in records if record["messageId"] not in failed])
        except Exception:
            _log.exception("a batch of %s is left to its visibility timeout", self._url)
        finally:
            self._slots.release()

    def _invoked(self, event: bytes, until: float) -> Answer | None:
        """Return the function's answer, None if it was throttled for as long as the messages are hidden."""
        while not self._stopped.is_set() and time.monotonic() < until:
            try:
                return self._service.invoke(self._function, event)
            except Refused as refusal:
                if refusal.kind != "TooManyRequestsException":
                    raise
                self._stopped.wait(AGAIN_S)
        return None

    def _delete(self, records: Sequence[dict[str, Any]]) -> None:
        for at in range(0, len(records), MAX_REQUEST_MESSAGES):
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(place), "ReceiptHandle": record["receiptHandle"]}
                    for place, record in enumerate(records[at : at + MAX_REQUEST_MESSAGES])
                ],
            )


def failed_of(response: bytes, ids: Sequence[str]) -> set[str]:
    """Return which messages of a batch a partial batch response says have failed: all of them, if it is malformed."""
    everything = set(ids)
    try:
        answer = json.loads(response)
    except (ValueError, RecursionError):
        return everything
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        return everything
    listed = answer.get("batchItemFailures")
    if listed is None:
        return set()
    if not isinstance(listed, list):
        return everything
    named = [each.get("itemIdentifier") if isinstance(each, dict) else None for each in listed]
    failed = {each for each in named if isinstance(each, str)}
    is_good = failed <= everything and all(isinstance(each, str) for each in named)
    return failed if is_good else everything


def _attribute(value: "MessageAttributeValueOutputTypeDef") -> dict[str, Any]:
    """Return a message attribute as an event has it."""
    own: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        own["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        own["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return own
