"""SQS event source mapping: a batch of queue messages, partial batch response.

Shape: the Lambda Developer Guide's "Using Lambda with Amazon SQS". All `attributes` are text, `messageId` is what a failure is reported
by. Of a FIFO queue a batch may hold several message groups; after the first failure in one, the rest of it must fail too, else it
would be deleted, or overtake. A standard queue's MessageGroupId (fair queues) asks for no order.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Reject, Settled
from mqbridge.triggers.batch import Batch, Invocation, UnreadableEvent, UnreadableRecord
from mqbridge.triggers.records import record_of

__all__ = ["Sqs", "is_queue_message", "read_queue_messages", "respond_to_queue"]


class Sqs:
    """{"Records": [{"messageId", "body", "attributes", "eventSource": "aws:sqs", ...}]}.

    A body is one message in any of the shapes, as JSON, or that JSON in Base64 (an AWS IoT rule's SQS action with useBase64).
    """

    name = "sqs"

    def matches(self, event: Any) -> bool:
        """Tell whether this is an SQS batch."""
        records = event.get("Records") if isinstance(event, dict) else None
        return isinstance(records, list) and bool(records) and all(is_queue_message(record) for record in records)

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per queue message; its id is the messageId."""
        messages = invocation.event["Records"]
        return Batch(trigger=self, records=read_queue_messages(messages), groups=groups_of(messages))

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Mapping[str, Any]:
        """Return a partial batch response: what is listed becomes visible again, the rest is deleted.

        What is to be tried again is hidden for its rule's delay first.
        """
        return respond_to_queue(settled, deadline)


def is_queue_message(element: Any) -> bool:
    """Tell whether this is an SQS message, as an event source mapping and a pipe hand it over."""
    return isinstance(element, dict) and element.get("eventSource") == "aws:sqs"


def read_queue_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[Record, ...]:
    """Return one record per queue message.

    Raises:
        UnreadableEvent: one has no id, by which its failure could be reported.
    """
    return tuple(map(_record, messages))


def groups_of(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the message group of each queue message, () if no order has to be kept."""
    groups = tuple(map(_group, messages))
    return groups if any(groups) else ()


def respond_to_queue(settled: Sequence[tuple[Record, Settled]], deadline: float | None) -> Mapping[str, Any]:
    """Return a partial batch response, after hiding what is to be tried again for its rule's delay."""
    failed = [record.id for record, outcome in settled if isinstance(outcome, Failed | Reject)]
    if failed:
        from mqbridge.triggers.visibility import hide_failed  # here, because most batches have no use for it

        hide_failed(settled, deadline)
    return {"batchItemFailures": [{"itemIdentifier": record_id} for record_id in failed]}


def _record(message: Mapping[str, Any]) -> Record:
    message_id = message.get("messageId")
    if not isinstance(message_id, str) or not message_id:
        # Without it a failure could not be reported, and the message would be deleted unread.
        raise UnreadableEvent("Records[].messageId: expected the queue message's id, got nothing")
    attributes = message.get("attributes")
    return record_of(
        message,
        id=message_id,
        time_ms=_number(attributes, "SentTimestamp", 0),
        attempt=max(1, _number(attributes, "ApproximateReceiveCount", 1)),
        first_attempt_ms=_number(attributes, "ApproximateFirstReceiveTimestamp", 0),
        parse=_parse,
    )


def _group(message: Mapping[str, Any]) -> str:
    attributes, queue = message.get("attributes"), message.get("eventSourceARN")
    group = attributes.get("MessageGroupId") if isinstance(attributes, dict) else None
    is_standard = isinstance(queue, str) and not queue.endswith(".fifo")
    return "" if is_standard or not isinstance(group, str) else group


def _number(attributes: Any, name: str, default: int) -> int:
    value = attributes.get(name) if isinstance(attributes, dict) else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 17 else default


def _parse(message: Mapping[str, Any]) -> Any:
    body = message.get("body")
    if not isinstance(body, str):
        raise UnreadableRecord("body: expected text")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(base64.b64decode(body, validate=True))
    except (ValueError, RecursionError) as error:
        raise UnreadableRecord("body: expected JSON, or JSON in Base64") from error
