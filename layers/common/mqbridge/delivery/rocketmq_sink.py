"""RocketMQ as a sink, through the remoting client."""

from collections.abc import Sequence

from mqbridge.delivery.sinks import Outgoing, Sent
from mqbridge.messages import RocketMQMessage
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rocketmq import open_client
from mqbridge.rules import RocketMQInstance
from rocketmq_remoting import IllegalMessage, OutcomeUnknown, Producer, RocketMQError

__all__ = ["RocketMQSink", "outcome_of"]

_DELIVERED = Delivered()


class RocketMQSink:
    """A producer for one cluster."""

    def __init__(self, instance: RocketMQInstance) -> None:
        self._producer = Producer(open_client(instance))

    def send(self, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Send RocketMQ messages; see `Sink.send`."""
        ours = [message for message in messages if isinstance(message, RocketMQMessage)]
        return [outcome_of(outcome.error) for outcome in self._producer.send(ours, deadline)]

    def close(self) -> None:
        """Close the connections."""
        self._producer.close()


def outcome_of(error: RocketMQError | None) -> Sent:
    """Translate the client's errors, here and nowhere else."""
    if error is None:
        return _DELIVERED
    if isinstance(error, IllegalMessage) or not error.retriable:
        return Reject(error.name, str(error))
    return Failed(error.name, str(error), is_unknown=isinstance(error, OutcomeUnknown))
