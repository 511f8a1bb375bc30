"""Dead letters: the event as it was received, and beside it why it is here."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from mqbridge.messages import Record, RocketMQMessage
from mqbridge.outcomes import Reject
from mqbridge.rules import Rule, rule_name
from rocketmq_remoting import derived_message_id

__all__ = ["ENVELOPE", "DeadLetter", "dead_letter"]

# The one property (attribute, on SQS) that holds the envelope.
ENVELOPE = "mqbridge-dead-letter"
MAX_BODY_BYTES = 4 * 1024 * 1024 - 64 * 1024
MAX_DETAIL_LENGTH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter, for whichever queue."""

    id: str
    time_ms: int
    event: bytes
    envelope: str

    def for_topic(self, instance_id: str, topic: str) -> RocketMQMessage:
        """Return the letter as a RocketMQ message."""
        return RocketMQMessage(
            instance_id=instance_id,
            topic=topic,
            body=self.event,
            message_id=derived_message_id(f"dead-letter\0{self.id}", self.time_ms),
            keys=self.id if self.id.isascii() and self.id.isprintable() and " " not in self.id else "",
            properties={ENVELOPE: self.envelope},
        )


def dead_letter(record: Record, rule: Rule | None, reject: Reject, now_s: float) -> DeadLetter:
    """Return the dead letter of a record that `rule` could not deliver; `now_s` is Unix time in seconds.

    An event that is too large for the queue leaves its head there, and its length and SHA-256 in the envelope.
    """
    event = json.dumps(record.event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    message = record.message
    envelope: dict[str, Any] = {
        "rule": None if rule is None else rule_name(rule),
        "stage": "receiving" if rule is None else "processing" if record.attempt == 1 else "sending",
        "reason": reject.reason,
        "detail": reject.detail[:MAX_DETAIL_LENGTH],
        "attempts": record.attempt,
        "lastFailure": datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds"),
        "source": {"id": record.id},
    }
    if not isinstance(message, Reject):
        envelope["source"] |= {"instance": message.instance_id, "topic": message.topic[:MAX_DETAIL_LENGTH]}
    if len(event) > MAX_BODY_BYTES:
        envelope["truncated"] = {"length": len(event), "sha256": sha256(event).hexdigest()}
        event = event[:MAX_BODY_BYTES]
    return DeadLetter(
        id=record.id,
        time_ms=0 if isinstance(message, Reject) else message.time_ms,
        event=event,
        envelope=json.dumps(envelope, separators=(",", ":")),
    )
