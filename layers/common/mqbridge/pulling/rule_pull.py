"""One inbound rule's part of a pull: read its topic in steps, hand each batch on, settle what became of it."""

import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from mqbridge.inbound_source import TO_DEAD_LETTERS, InboundSource
from mqbridge.messages import ATTEMPT, FIRST_ATTEMPT
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled
from mqbridge.pulling.memory import QueueMemory
from mqbridge.rules import BatchWindow, InboundRule
from rocketmq_remoting import Client, Drain, MessageQueue, RocketMQError, StoredMessage, queue_of

__all__ = ["Carry", "RulePull", "Totals"]

# Takes the events of a batch and the time (time.monotonic seconds) by which to be done; returns what became of each.
Carry = Callable[[Sequence[Mapping[str, Any]], float], Sequence[Settled]]
Memories = MutableMapping[MessageQueue, QueueMemory]

# A broker that does not answer within this is left for the next pull.
REQUEST_TIMEOUT_S = 3.0
_NOT_TRIED = frozenset({"no_time_left", "held_back"})


@dataclass(slots=True)
class Totals:
    """Messages by what became of them. `failed` stay in RocketMQ; `refused` could never be delivered and are in %DLQ%group."""

    pulled: int = 0
    delivered: int = 0
    dropped: int = 0
    dead_lettered: int = 0
    discarded: int = 0
    refused: int = 0
    failed: int = 0


_WORDS: Mapping[type, str] = {
    Delivered: "delivered",
    Drop: "dropped",
    DeadLettered: "dead_lettered",
    Discarded: "discarded",
    Failed: "failed",
}


class RulePull:
    """Reads one rule's source until nothing is left, or the first of a queue fails.

    `problem` is what went wrong last, for people; "" if nothing did.
    """

    def __init__(self, rule: InboundRule, source: InboundSource, client: Client, memories: Memories) -> None:
        self.rule = rule
        self.totals = Totals()
        self.problem = ""
        self.waiting = 0
        self._source = source
        self._memories = memories
        self._window = rule.run_options.batch_window or BatchWindow()
        self._drain = Drain(client, group=source.group, topic=source.topic, start_from=source.start_from)
        self._buffered: dict[MessageQueue, deque[StoredMessage]] = {}

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to do now."""
        return self._drain.is_done and not any(self._buffered.values())

    @property
    def left(self) -> int:
        """Messages that this pull leaves in the queues that it held."""
        return self._drain.left

    @property
    def taken(self) -> int:
        """Queues that another pull holds."""
        return self._drain.taken

    @property
    def is_consumed(self) -> bool:
        """Whether the group has members, who read it."""
        return bool(self._drain.members)

    def open(self, deadline: float) -> None:
        """Take the rule's queues; `deadline` is time.monotonic seconds.

        Raises:
            RocketMQError: there is nothing that could be read.
        """
        now = time.time()
        waiting = [queue for queue, memory in self._memories.items() if memory.not_before > now]
        self.waiting = len(waiting)
        self._drain.open(deadline, but=waiting)
        for queue, start in self._drain.positions().items():
            self._memories.setdefault(queue, QueueMemory()).begin(start)

    def step(self, carry: Carry, done_by: float, deadline: float) -> None:
        """Read once, hand one batch on and settle it.

        Args:
            carry: what delivers.
            done_by: when it has to be done.
            deadline: when everything has to be; both are time.monotonic seconds.
        """
        self._keep_locks(_soon(done_by))
        if not any(self._buffered.values()):
            self._read(_soon(done_by))
        batch = self._next_batch()
        readable = [message for message in batch if not message.fault]
        outcomes = iter(carry([self._event(message) for message in readable], done_by) if readable else ())
        for message in batch:
            if message.fault:
                self._source.tell_unreadable(message)
                self._refuse(message, deadline)
            else:
                self._settle(message, next(outcomes), deadline)
        self._drain.commit(_soon(deadline))
        self._note_problem()

    def close(self, deadline: float) -> None:
        """Commit, and let others have the queues."""
        self._drain.close(_soon(deadline))
        self._note_problem()
        for queue, start in self._drain.positions().items():
            self._memories[queue].end(start)

    def _keep_locks(self, deadline: float) -> None:
        """Hand on nothing of a queue that another pull has meanwhile, since the other rules took long."""
        self._drain.renew(deadline)
        held = self._drain.positions()
        self._buffered = {queue: waiting for queue, waiting in self._buffered.items() if queue in held}

    def _read(self, deadline: float) -> None:
        for message in self._drain.pull(deadline):
            queue = queue_of(message)
            if self._memories[queue].is_settled(message.queue_offset, message.message_id):
                self._drain.settle([message])
            else:
                self._buffered.setdefault(queue, deque()).append(message)

    def _next_batch(self) -> list[StoredMessage]:
        """Return some of each queue, in order: one of a queue that goes one at a time, else its share of a window."""
        ready = {queue: waiting for queue, waiting in self._buffered.items() if waiting}
        share = max(1, self._window.count // max(1, len(ready)))
        batch: list[StoredMessage] = []
        for queue, waiting in ready.items():
            limit = 1 if self._memories[queue].is_cautious else share
            batch += (waiting.popleft() for _ in range(min(limit, len(waiting))))
        self.totals.pulled += len(batch)
        return batch

    def _event(self, message: StoredMessage) -> dict[str, Any]:
        event = self._source.event(message)
        attempt, first_ms = self._memories[queue_of(message)].attempt(message.queue_offset)
        event[ATTEMPT] = attempt
        if first_ms:
            event[FIRST_ATTEMPT] = first_ms
        return event

    def _settle(self, message: StoredMessage, outcome: Settled, deadline: float) -> None:
        queue = queue_of(message)
        memory = self._memories[queue]
        if isinstance(outcome, Failed):
            self._leave(queue)
            if outcome.reason in _NOT_TRIED:
                self.totals.pulled -= 1
                return
            memory.failed(message.queue_offset, time.time(), outcome.retry_after_s)
            self.problem = f"{outcome.reason}: {outcome.detail}"
        elif isinstance(outcome, Reject):
            self._refuse(message, deadline)
            return
        else:
            note = memory.delivered if isinstance(outcome, Delivered) else memory.settle
            note(message.queue_offset, message.message_id)
            self._drain.settle([message])
        word = _WORDS[type(outcome)]
        setattr(self.totals, word, getattr(self.totals, word) + 1)

    def _refuse(self, message: StoredMessage, deadline: float) -> None:
        """Put into the group's own dead-letter topic what can never be delivered and no dead-letter queue has."""
        queue = queue_of(message)
        try:
            self._drain.send_back(message, delay_level=TO_DEAD_LETTERS, deadline=_soon(deadline))
        except RocketMQError as error:
            self.totals.failed += 1
            self.problem = self._source.plain(error)
            self._leave(queue)
            return
        self.totals.refused += 1
        self._memories[queue].settle(message.queue_offset, message.message_id)
        self._drain.settle([message])

    def _leave(self, queue: MessageQueue) -> None:
        """Leave the rest of a queue to the next pull: nothing overtakes what failed."""
        self._drain.stop(queue)
        self._buffered.pop(queue, None)

    def _note_problem(self) -> None:
        if self._drain.problem is not None:
            self.problem = self._source.plain(self._drain.problem)


def _soon(deadline: float) -> float:
    return min(deadline, time.monotonic() + REQUEST_TIMEOUT_S)
