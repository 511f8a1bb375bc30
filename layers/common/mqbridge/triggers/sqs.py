"""SQS event source mapping: a batch of queue messages, partial batch response."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Reject, Settled
from mqbridge.triggers.batch import Batch, UnreadableEvent, UnreadableRecord
from mqbridge.triggers.shapes import read_message
from mqbridge.triggers.visibility import hide_failed

__all__ = ["Sqs"]


class Sqs:
    """{"Records": [{"messageId", "body", "attributes", "eventSource": "aws:sqs", ...}]}.

    A body is one message in any of the shapes, as JSON, or that JSON in Base64 (an AWS IoT rule's SQS action with useBase64).
    """

    name = "sqs"

    def matches(self, event: Any) -> bool:
        """Tell whether this is an SQS batch."""
        records = event.get("Records") if isinstance(event, Mapping) else None
        return isinstance(records, list) and all(
            isinstance(record, Mapping) and record.get("eventSource") == "aws:sqs" for record in records
        )

    def read(self, event: Any) -> Batch:
        """Return one record per queue message; its id is the messageId."""
        return Batch(trigger=self, records=tuple(_record(record) for record in event["Records"]))

    def respond(self, settled: Sequence[tuple[Record, Settled]]) -> Mapping[str, Any]:
        """Return a partial batch response: what is listed becomes visible again, the rest is deleted.

        What is to be tried again is hidden for its rule's delay first.
        """
        hide_failed(settled)
        failed = [record.id for record, outcome in settled if isinstance(outcome, Failed | Reject)]
        return {"batchItemFailures": [{"itemIdentifier": record_id} for record_id in failed]}


def _record(record: Mapping[str, Any]) -> Record:
    message_id = record.get("messageId")
    if not isinstance(message_id, str) or not message_id:
        # Without it a failure could not be reported, and the message would be deleted unread.
        raise UnreadableEvent("Records[].messageId: expected the queue message's id, got nothing")
    attributes = record.get("attributes")
    try:
        message: Any = read_message(
            _parse(record.get("body")), id=message_id, time_ms=_number(attributes, "SentTimestamp", 0)
        )
    except UnreadableRecord as error:
        message = Reject("unreadable_record", str(error))
    return Record(
        id=message_id,
        attempt=max(1, _number(attributes, "ApproximateReceiveCount", 1)),
        first_attempt_ms=_number(attributes, "ApproximateFirstReceiveTimestamp", 0),
        message=message,
        event=record,
    )


def _number(attributes: Any, name: str, default: int) -> int:
    value = attributes.get(name) if isinstance(attributes, Mapping) else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 17 else default


def _parse(body: Any) -> Any:
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
