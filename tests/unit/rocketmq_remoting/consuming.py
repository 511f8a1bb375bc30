"""What tests of the consumer have in common: names of their group, and ways to poll."""

import time
from collections.abc import Callable

from rocketmq_remoting import Consumer, StoredMessage

from .scripted_broker import Answer
from .scripted_group import ScriptedGroup

GROUP = "GID_test"
RETRY = f"%RETRY%{GROUP}"
BUSY = Answer(code=2, remark="busy")

MakeConsumer = Callable[..., Consumer]


def poll_until(consumer: Consumer, condition: Callable[[], bool], *, timeout_s: float = 5.0) -> list[StoredMessage]:
    """Poll until the condition holds and return what came."""
    deadline = time.monotonic() + timeout_s
    messages: list[StoredMessage] = []
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time; problem: {consumer.problem!r}"
        messages += consumer.poll(0.005)
    return messages


def receive(consumer: Consumer, count: int, *, timeout_s: float = 5.0) -> list[StoredMessage]:
    """Poll until `count` messages have come; more at once are a failure."""
    messages: list[StoredMessage] = []
    deadline = time.monotonic() + timeout_s
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} messages came; problem: {consumer.problem!r}"
        messages += consumer.poll(0.05)
    assert len(messages) == count, [message.body for message in messages]
    return messages


def bodies(messages: list[StoredMessage]) -> list[bytes]:
    return [message.body for message in messages]


def idle(consumer: Consumer, group: ScriptedGroup, queues: int = 3) -> list[StoredMessage]:
    """Poll until a pull is held for every queue."""
    return poll_until(consumer, lambda: len({(r.fields["topic"], r.fields["queueId"]) for r in group.held}) >= queues)
