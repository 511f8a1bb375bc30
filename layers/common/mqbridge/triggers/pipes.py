"""EventBridge Pipes: an array of the source's records, even of one; from SQS they are those of an event source mapping, without `Records`.

Shape and answer: the EventBridge User Guide's "batching and concurrency" of pipes. A target may return a partial batch response, by the
same ids. What a pipe's input transformer makes of each record is no queue message any more: `Direct` reads that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Settled
from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.sqs import groups_of, is_queue_message, read_queue_messages, respond_to_queue

__all__ = ["Pipes"]


class Pipes:
    """[{"messageId", "body", "attributes", "eventSource": "aws:sqs", ...}]."""

    name = "pipes"

    def matches(self, event: Any) -> bool:
        """Tell whether this is what a pipe from SQS sends."""
        return isinstance(event, list) and bool(event) and all(map(is_queue_message, event))

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per queue message; its id is the messageId."""
        messages = invocation.event
        return Batch(trigger=self, records=read_queue_messages(messages), groups=groups_of(messages))

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Mapping[str, Any]:
        """Return a partial batch response: what is listed becomes visible again, the rest is deleted."""
        return respond_to_queue(settled, deadline)
