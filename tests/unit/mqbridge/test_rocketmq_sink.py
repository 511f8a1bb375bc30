"""The RocketMQ sink: what it tells of a broker's answer. Keys that change are in test_key_rotation.py."""

from collections.abc import Sequence

import pytest

from mqbridge.delivery.rocketmq_sink import RocketMQSink
from mqbridge.outcomes import Answer, Delivered, Failed, Reject
from mqbridge.rules import load
from rocketmq_remoting import (
    BrokerBusy,
    BrokerForbids,
    HeldBack,
    Message,
    MessageQueue,
    OutcomeUnknown,
    RocketMQError,
    SendOutcome,
)
from tests.unit.mqbridge.support import command, document

QUEUE = MessageQueue("telemetry", "broker-a", 3)


class Producer:
    def __init__(self, outcome: SendOutcome) -> None:
        self.outcome = outcome

    def send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        del deadline
        return [self.outcome] * len(messages)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "queue", "kind", "answer"),
    [
        (BrokerBusy(2, "busy"), QUEUE, Failed, Answer(2, "broker-a", 3)),
        (BrokerBusy(14, "no writable queue"), None, Failed, Answer(14)),
        (BrokerForbids(1, "no"), QUEUE, Reject, Answer(1, "broker-a", 3)),
        (OutcomeUnknown("in time"), QUEUE, Failed, Answer(None, "broker-a", 3)),
        (HeldBack("behind"), None, Failed, None),
    ],
)
def test_what_failed_tells_who_answered_what(
    error: RocketMQError, queue: MessageQueue | None, kind: type, answer: Answer | None
) -> None:
    producer = Producer(SendOutcome(queue, error=error))
    sink = RocketMQSink(load(document()).rocketmq["rmq-local"], lambda _instance, _credentials: producer)
    (sent,) = sink.send([command()], 123.0)
    assert isinstance(sent, Failed | Reject)
    assert (type(sent), sent.answer) == (kind, answer)


def test_what_is_stored_is_delivered() -> None:
    producer = Producer(SendOutcome(QUEUE, 7))
    sink = RocketMQSink(load(document()).rocketmq["rmq-local"], lambda _instance, _credentials: producer)
    assert sink.send([command(), command()], 123.0) == [Delivered(), Delivered()]
