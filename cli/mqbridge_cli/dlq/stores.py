"""Where dead letters are read from, and what every such place offers."""

import sys
from collections.abc import Iterator
from typing import Protocol

from mqbridge.rules import DeadLetterQueue, Rule, Rules
from mqbridge_cli.dlq.letters import StoredLetter
from mqbridge_cli.dlq.state import Redriven

__all__ = ["Store", "StoreError", "open_store", "queues_of"]


class StoreError(Exception):
    """A queue cannot be read, or a letter cannot be removed; says which and why, without a secret."""


class Store(Protocol):
    """A dead-letter queue to read."""

    def read(self) -> Iterator[StoredLetter]:
        """Yield the letters that lie there now, each once; nothing is removed by it.

        Raises:
            StoreError: the queue cannot be read, or not to the end.
        """
        ...

    def remove(self, letter: StoredLetter) -> None:
        """See to it that the letter is not read again.

        Raises:
            StoreError: it may be.
        """
        ...

    def close(self) -> None:
        """Leave what was read to others; raises nothing."""
        ...


def queues_of(rules: Rules) -> list[DeadLetterQueue]:
    """Return the dead-letter queues that a document names, each once."""
    every: list[Rule] = [*rules.outbound, *rules.inbound, *rules.status, *rules.streamings]
    options = [rules.run_options, *(rule.run_options for rule in every)]
    found = {
        each.dead_letter_queue.arn: each.dead_letter_queue for each in options if each.dead_letter_queue is not None
    }
    return list(found.values())


def open_store(queue: DeadLetterQueue, rules: Rules, state: Redriven) -> Store:
    """Return the store of a queue; nothing is asked of it yet.

    Raises:
        StoreError: it is one that cannot be read.
    """
    if queue.kind == "sqs":
        from mqbridge_cli.dlq.queue_store import QueueStore

        return QueueStore(queue)
    if queue.kind == "event_bus":
        raise StoreError(f"{queue.arn}: a bus keeps nothing; name the SQS queue that its rule fills with --queue")
    from mqbridge_cli.dlq.topic_store import TopicStore

    instance_id, topic = queue.instance_and_topic
    if instance_id not in rules.rocketmq:
        known = ", ".join(rules.rocketmq) or "there is none"
        raise StoreError(f"{queue.arn}: expected an instance of Instances.RocketMQ ({known}), got {instance_id!r}")
    return TopicStore(queue.arn, rules.rocketmq[instance_id], topic, state)


def say(text: str) -> None:
    """Talk, where data does not go."""
    print(text, file=sys.stderr)
