"""Dead letters: the event as it was received, and beside it why it is here. Pure; each kind of queue has its own form of one."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from mqbridge.messages import DELIVERY_EXTENSIONS, MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Reject, stage_of
from mqbridge.rules import Rule
from rocketmq_remoting import derived_message_id

__all__ = ["ENVELOPE", "DeadLetter", "QueueMessage", "Redrive", "dead_letter"]

# The one property (attribute, on SQS) that holds the envelope.
ENVELOPE = "mqbridge-dead-letter"
MAX_BODY_BYTES = 4 * 1024 * 1024 - 64 * 1024
# SendMessage, body and attributes together. AWS allows 1 MiB since August 2025, emulators and older regions this.
MAX_QUEUE_MESSAGE_BYTES = 262_144
# PutEvents, a whole entry; what is not the detail (source, detail-type, bus, their keys) has the rest.
MAX_BUS_DETAIL_BYTES = 262_144 - 2_048
# What `truncated` adds to an envelope: two numbers' worth of digits, the digest, names and quotes.
_TRUNCATED_BYTES = 150
# In characters; escaped as JSON each may take twelve bytes, and the property block holds 31 KB in all.
MAX_DETAIL_LENGTH = 1_000
MAX_COORDINATE_LENGTH = 200

# As text: compiling them takes a cold start 5 ms, and few have a dead letter.
_INDEX_KEY = r"[!-~]{1,200}"
_GROUP_ID = r"[!-~]{1,128}"  # MessageGroupId: letters, digits and ASCII punctuation
# SendMessage: what a body may hold is #x9 #xA #xD #x20-#xD7FF #xE000-#xFFFD #x10000-#x10FFFF.
_NOT_IN_QUEUES = r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """That an event is on its way again: `of` is the id of the letter it lay in, `count` says how often it was sent again, this time
    included, `first_failure` is the first letter's ("" if unknown)."""

    of: str
    count: int
    first_failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMessage:
    """A dead letter as SQS takes it; `group_id` and `deduplication_id` are for FIFO queues."""

    body: str
    envelope: str
    group_id: str
    deduplication_id: str

    @property
    def size_bytes(self) -> int:
        """What counts for SQS's limits: the body, and the attribute's name, type and value."""
        return len(self.body.encode()) + len(ENVELOPE) + len("String") + len(self.envelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter, for whichever queue: the event as JSON, and the envelope.

    What was received at one place in order is of one `lane`. `digest` is of what the sender wrote: some number their events from 1 again.
    """

    id: str
    digest: str
    rule: str | None
    time_ms: int
    lane: str
    redrive_count: int
    event: bytes
    envelope: Mapping[str, Any]

    def for_topic(self, instance_id: str, topic: str) -> RocketMQMessage:
        """Return the letter as a RocketMQ message."""
        body, envelope = self._within(MAX_BODY_BYTES)
        return RocketMQMessage(
            instance_id=instance_id,
            topic=topic,
            body=body,
            message_id=derived_message_id(f"dead-letter\0{self._identity}", self.time_ms),
            keys=self.id if re.fullmatch(_INDEX_KEY, self.id) else "",
            properties={ENVELOPE: _json(envelope)},
        )

    def for_queue(self) -> QueueMessage:
        """Return the letter as an SQS message."""
        room = MAX_QUEUE_MESSAGE_BYTES - len(ENVELOPE) - len("String") - len(_json(self.envelope)) - _TRUNCATED_BYTES
        text = re.sub(_NOT_IN_QUEUES, lambda match: f"\\u{ord(match[0]):04x}", self.event.decode())
        body, envelope = text.encode(), self.envelope
        if len(body) > room:
            body, envelope = body[:room], self._truncated()
        return QueueMessage(
            body=body.decode(errors="ignore"),  # the cut may go through a character
            envelope=_json(envelope),
            group_id=self.lane if re.fullmatch(_GROUP_ID, self.lane) else _digest(self.lane),
            deduplication_id=_digest(self._identity),
        )

    def for_bus(self) -> str:
        """Return the letter as the detail of an EventBridge event: {"event": ..., "deadLetter": ...}, as JSON.

        An event too large, or one that only Python calls JSON (NaN), stands there as text.
        """
        text, envelope = self.event.decode(), self.envelope
        if not _is_strict_json(text):
            text = json.dumps(text, ensure_ascii=False)
        if len(text.encode()) + len(_json(envelope)) + len('{"event":,"deadLetter":}') > MAX_BUS_DETAIL_BYTES:
            # As text within JSON each of its bytes may take two.
            room = (MAX_BUS_DETAIL_BYTES - len(_json(envelope)) - _TRUNCATED_BYTES) // 2
            text = json.dumps(self.event[:room].decode(errors="ignore"), ensure_ascii=False)
            envelope = self._truncated()
        return f'{{"event":{text},"deadLetter":{_json(envelope)}}}'

    @property
    def _identity(self) -> str:
        """The same for a letter that is written again, another for another rule's, and for an event that failed after a redrive: its
        first letter is removed, so its second must not be taken for a duplicate."""
        redriven = f"\0{self.redrive_count}" if self.redrive_count else ""
        return f"{self.rule}\0{self.id}\0{self.digest}{redriven}"

    def _within(self, limit_bytes: int) -> tuple[bytes, Mapping[str, Any]]:
        if len(self.event) <= limit_bytes:
            return self.event, self.envelope
        return self.event[:limit_bytes], self._truncated()

    def _truncated(self) -> Mapping[str, Any]:
        digest = sha256(self.event).hexdigest()
        return {**self.envelope, "truncated": {"length": len(self.event), "sha256": digest}}


def dead_letter(
    record: Record, rule: Rule | None, reject: Reject, now_s: float, redrive: Redrive | None = None
) -> DeadLetter:
    """Return the dead letter of a record that `rule` could not deliver; `now_s` is Unix time in seconds.

    An event that is too large for its queue leaves its head there, and its length and SHA-256 in the envelope.

    Raises:
        ValueError, RecursionError: the event cannot be written as JSON.
    """
    received = {key: value for key, value in record.event.items() if key not in DELIVERY_EXTENSIONS}
    event = json.dumps(received, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    name, message = None if rule is None else rule.rule_id, record.message
    source = {"id": record.id}
    if not isinstance(message, Reject):
        source |= {"instance": message.instance_id, "topic": message.topic}
    envelope: dict[str, Any] = {
        "rule": name,
        "stage": stage_of(name or "", reject),
        "reason": reject.reason,
        "detail": reject.detail[:MAX_DETAIL_LENGTH],
        "attempts": record.attempt,
        "lastFailure": _rfc3339(now_s),
        "source": {key: value[:MAX_COORDINATE_LENGTH] for key, value in source.items()},
    }
    if redrive is not None and redrive.first_failure:
        envelope["firstFailure"] = redrive.first_failure
    elif record.attempt == 1 or 0 < record.first_attempt_ms <= now_s * 1000:
        envelope["firstFailure"] = _rfc3339(now_s if record.attempt == 1 else record.first_attempt_ms / 1000)
    if redrive is not None:
        envelope |= {"redriveOf": redrive.of[:MAX_COORDINATE_LENGTH], "redriveCount": redrive.count}
    return DeadLetter(
        id=record.id,
        digest=_digest_of(record, event),
        rule=name,
        time_ms=0 if isinstance(message, Reject) else message.time_ms,
        lane=_lane(record),
        redrive_count=0 if redrive is None else redrive.count,
        event=event,
        envelope=envelope,
    )


def _lane(record: Record) -> str:
    """Return what the record shares with others that have to stay in order, else its own id."""
    message = record.message
    if isinstance(message, MqttMessage):
        return message.client_id or message.topic
    if isinstance(message, RocketMQMessage):
        return message.sharding_key or message.properties.get("mqttSecondTopic", "") or record.id
    return record.id


def _digest_of(record: Record, event: bytes) -> str:
    message = record.message
    if isinstance(message, MqttMessage):
        written = message.payload
    elif isinstance(message, RocketMQMessage):
        written = message.body
    else:  # a queue says of the same message something else each time, but for its body
        body = record.event.get("body")
        written = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else event
    return sha256(written).hexdigest()


def _json(envelope: Mapping[str, Any]) -> str:
    return json.dumps(envelope, separators=(",", ":"))


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _is_strict_json(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _rfc3339(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
