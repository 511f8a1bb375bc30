"""Dead letters as they lie in a queue: what their envelopes say, which are wanted, and how many there are of a kind. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Group", "Groups", "Selection", "StoredLetter", "read_envelope", "rfc3339"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLetter:
    """One dead letter.

    `id` is the queue's name for it: the message id. `place` is where it lies in the queue `queue` (an ARN). `event` is the event as it was
    received, as JSON text; `envelope` says why it is here, and is empty where something else than the bridge wrote the message.
    `token` is what its store removes it by.
    """

    id: str
    queue: str
    place: str
    event: str
    envelope: Mapping[str, Any]
    stored_ms: int
    token: str = ""

    @property
    def rule(self) -> str | None:
        """The rule that could not deliver the event; None where none was known."""
        return self._text("rule") or None

    @property
    def stage(self) -> str:
        """Where the event got to."""
        return self._text("stage")

    @property
    def reason(self) -> str:
        """Why it got no further, in a word."""
        return self._text("reason") or "(no envelope)"

    @property
    def first_failure(self) -> str:
        """When it first failed, as the envelope says it."""
        return self._text("firstFailure")

    @property
    def failed_s(self) -> float:
        """When it last failed, in Unix time; when it was stored, where the envelope does not say."""
        try:
            return datetime.fromisoformat(self._text("lastFailure")).timestamp()
        except (ValueError, OverflowError):
            return self.stored_ms / 1000

    @property
    def redrive_of(self) -> str:
        """The letter that it came out of when it failed again, "" if it is the first."""
        return self._text("redriveOf")

    @property
    def redrive_count(self) -> int:
        """How often its event was sent on its way again."""
        count = self.envelope.get("redriveCount")
        return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0

    @property
    def is_truncated(self) -> bool:
        """Whether only the head of the event is here."""
        return "truncated" in self.envelope

    def _text(self, key: str) -> str:
        value = self.envelope.get(key)
        return value if isinstance(value, str) else ""

    def as_document(self) -> dict[str, Any]:
        """Return the whole letter as JSON; the event as text where it is none."""
        try:
            event = json.loads(self.event)
        except (ValueError, RecursionError):
            event = self.event
        return {
            "id": self.id,
            "queue": self.queue,
            "place": self.place,
            "storedAt": rfc3339(self.stored_ms / 1000),
            "deadLetter": dict(self.envelope),
            "event": event,
        }


def read_envelope(text: str) -> Mapping[str, Any]:
    """Return an envelope, empty where the text is none."""
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}


def rfc3339(time_s: float) -> str:
    """Return a time as people and programs read it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters are wanted: of several words of one kind, any; of several kinds, all."""

    rules: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since_s: float | None = None
    until_s: float | None = None

    def wants(self, letter: StoredLetter) -> bool:
        """Tell whether a letter is wanted."""
        asked = (
            (self.rules, letter.rule or ""),
            (self.stages, letter.stage),
            (self.reasons, letter.reason),
            (self.ids, letter.id),
        )
        return (
            all(value in words for words, value in asked if words)
            and (self.since_s is None or letter.failed_s >= self.since_s)
            and (self.until_s is None or letter.failed_s < self.until_s)
        )


@dataclass(slots=True, kw_only=True)
class Group:
    """Letters of one queue, rule, stage and reason; the example is the newest."""

    queue: str
    rule: str | None
    stage: str
    reason: str
    count: int
    oldest_s: float
    newest_s: float
    example: str


@dataclass(slots=True)
class Groups:
    """Letters, counted as they come by."""

    _by_kind: dict[tuple[str, str, str, str], Group] = field(default_factory=dict)

    def add(self, letter: StoredLetter) -> None:
        """Count a letter."""
        kind = (letter.queue, letter.rule or "", letter.stage, letter.reason)
        failed_s = letter.failed_s
        group = self._by_kind.get(kind)
        if group is None:
            self._by_kind[kind] = Group(
                queue=letter.queue,
                rule=letter.rule,
                stage=letter.stage,
                reason=letter.reason,
                count=1,
                oldest_s=failed_s,
                newest_s=failed_s,
                example=letter.id,
            )
            return
        group.count += 1
        group.oldest_s = min(group.oldest_s, failed_s)
        if failed_s >= group.newest_s:
            group.newest_s, group.example = failed_s, letter.id

    def all(self) -> list[Group]:
        """Return the groups by queue, and the largest first."""
        return sorted(self._by_kind.values(), key=lambda group: (group.queue, -group.count, group.reason))
