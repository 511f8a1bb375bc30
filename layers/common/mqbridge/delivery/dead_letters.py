"""Dead letters: the event as it was received, and beside it why it is here."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from mqbridge.messages import DELIVERY_EXTENSIONS, Record, RocketMQMessage
from mqbridge.outcomes import Failed, Planned, Reject, Send
from mqbridge.rules import Rule, rule_name
from rocketmq_remoting import derived_message_id

__all__ = ["ENVELOPE", "DeadLetter", "dead_letter", "stage_of"]

# The one property (attribute, on SQS) that holds the envelope.
ENVELOPE = "mqbridge-dead-letter"
MAX_BODY_BYTES = 4 * 1024 * 1024 - 64 * 1024
_INDEX_KEY = re.compile(r"[!-~]{1,200}")
# In characters; escaped as JSON each may take twelve bytes, and the property block holds 31 KB in all.
MAX_DETAIL_LENGTH = 1_000
MAX_COORDINATE_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter, for whichever queue."""

    id: str
    rule: str | None
    time_ms: int
    event: bytes
    envelope: str

    def for_topic(self, instance_id: str, topic: str) -> RocketMQMessage:
        """Return the letter as a RocketMQ message."""
        return RocketMQMessage(
            instance_id=instance_id,
            topic=topic,
            body=self.event,
            message_id=derived_message_id(f"dead-letter\0{self.rule}\0{self.id}", self.time_ms),
            keys=self.id if _INDEX_KEY.fullmatch(self.id) else "",
            properties={ENVELOPE: self.envelope},
        )


def stage_of(planned: Planned) -> str:
    """Return where a record got to: a task's stage; else it could not be read, it could not be mapped, or it could not be sent."""
    if isinstance(planned.outcome, Reject | Failed) and planned.outcome.stage:
        return planned.outcome.stage
    if isinstance(planned.outcome, Send):
        return "sending"
    return "receiving" if planned.rule is None else "processing"


def dead_letter(record: Record, rule: Rule | None, reject: Reject, stage: str, now_s: float) -> DeadLetter:
    """Return the dead letter of a record that `rule` could not deliver; `now_s` is Unix time in seconds.

    An event that is too large for the queue leaves its head there, and its length and SHA-256 in the envelope.

    Raises:
        ValueError, RecursionError: the event cannot be written as JSON.
    """
    received = {key: value for key, value in record.event.items() if key not in DELIVERY_EXTENSIONS}
    event = json.dumps(received, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    name, message = None if rule is None else rule_name(rule), record.message
    source = {"id": record.id}
    if not isinstance(message, Reject):
        source |= {"instance": message.instance_id, "topic": message.topic}
    envelope: dict[str, Any] = {
        "rule": name,
        "stage": stage,
        "reason": reject.reason,
        "detail": reject.detail[:MAX_DETAIL_LENGTH],
        "attempts": record.attempt,
        "lastFailure": _rfc3339(now_s),
        "source": {key: value[:MAX_COORDINATE_LENGTH] for key, value in source.items()},
    }
    if record.attempt == 1 or 0 < record.first_attempt_ms <= now_s * 1000:
        envelope["firstFailure"] = _rfc3339(now_s if record.attempt == 1 else record.first_attempt_ms / 1000)
    if len(event) > MAX_BODY_BYTES:
        envelope["truncated"] = {"length": len(event), "sha256": sha256(event).hexdigest()}
        event = event[:MAX_BODY_BYTES]
    return DeadLetter(
        id=record.id,
        rule=name,
        time_ms=0 if isinstance(message, Reject) else message.time_ms,
        event=event,
        envelope=json.dumps(envelope, separators=(",", ":")),
    )


def _rfc3339(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
