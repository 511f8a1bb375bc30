"""What users test their handlers with: the real handler, the real rules, and sinks that only remember.

with capture("rules.yaml") as sent:
    handler(event, context)
assert sent[0]["topic"] == "telemetry"
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mqbridge.delivery import ENVELOPE, DeadLetter, Outgoing, Sent
from mqbridge.handler import Bridge, using
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rendering import render_message
from mqbridge.rules import DeadLetterQueue, Rules, load
from mqbridge.triggers import hiding_by

__all__ = ["Captured", "capture"]

Rendered = dict[str, Any]


class Captured(list[Rendered]):
    """The messages sent so far, as `mqbridge dry-run` shows them; can be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self._failures: list[tuple[Callable[[Rendered], bool], Sent]] = []

    def fail(
        self,
        when: Callable[[Rendered], bool] = lambda _message: True,
        *,
        reason: str = "broker_busy",
        permanently: bool = False,
    ) -> None:
        """From now on, fail the messages for which `when` is true: as a broker that is busy, or, `permanently`, that refuses."""
        self._failures.append((when, Reject(reason, "told to") if permanently else Failed(reason, "told to")))

    def recover(self) -> None:
        """Fail no more."""
        self._failures.clear()

    def send(self, kind: str, instance_id: str, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Remember the messages instead of sending them."""
        del kind, instance_id, deadline
        return [self._take(render_message(message)) for message in messages]

    def dead_letter(self, queue: DeadLetterQueue, letters: Sequence[DeadLetter], deadline: float) -> list[Sent]:
        """Remember dead letters as messages to their queue: RocketMQ's as any, SQS's with "to": "sqs", a bus's with "event_bus"."""
        del deadline
        return [self._take(_rendered(queue, letter)) for letter in letters]

    def _take(self, message: Rendered) -> Sent:
        for when, outcome in self._failures:
            if when(message):
                return outcome
        self.append(message)
        return Delivered()


def _rendered(queue: DeadLetterQueue, letter: DeadLetter) -> Rendered:
    if queue.kind == "rocketmq":
        return render_message(letter.for_topic(*queue.instance_and_topic))
    if queue.kind == "event_bus":
        return {"to": "event_bus", "bus": queue.arn, "detail": json.loads(letter.for_bus())}
    message = letter.for_queue()
    rendered = {
        "to": "sqs",
        "queue": queue.arn,
        "body": message.body,
        "attributes": {ENVELOPE: message.envelope},
    }
    return {**rendered, "group": message.group_id} if queue.is_fifo else rendered


@contextmanager
def capture(rules: Rules | str | Path | Mapping[str, Any]) -> Iterator[Captured]:
    """Have handlers run by `rules` (or what `rules.load` takes) with captured sinks; no broker and no network is needed.

    Raises:
        InvalidRules: the rules have faults; it carries them all.
    """
    captured = Captured()
    loaded = rules if isinstance(rules, Rules) else load(rules)
    with using(Bridge(loaded, captured)), hiding_by(lambda _queue, _messages: None):
        yield captured
