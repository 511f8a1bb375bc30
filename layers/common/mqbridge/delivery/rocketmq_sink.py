"""RocketMQ as a sink, through the client that the instance names."""

from collections.abc import Sequence
from typing import Protocol

from mqbridge.delivery.sinks import Outgoing, Sent
from mqbridge.messages import RocketMQMessage
from mqbridge.namespace import plain_text, wire_messages
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rocketmq import credentials_of, open_client
from mqbridge.rules import RocketMQInstance
from rocketmq_remoting import IllegalMessage, Message, OutcomeUnknown, Producer, RocketMQError, SendOutcome

__all__ = ["AnyProducer", "RocketMQSink", "outcome_of"]

_DELIVERED = Delivered()


class AnyProducer(Protocol):
    """What a RocketMQ client has to offer: `rocketmq_remoting.Producer` and `NativeProducer` do, and pass one contract test."""

    def send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        """Send `messages` and return their outcomes in the same order; never raises for one of them.

        Of one sharding key they are stored in the order given, and none overtakes an earlier one that failed.
        `deadline` is time.monotonic seconds.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class RocketMQSink:
    """A producer for one cluster."""

    def __init__(self, instance: RocketMQInstance) -> None:
        self._producer = _opened(instance)
        self._namespace = instance.namespace

    def send(self, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Send RocketMQ messages; see `Sink.send`."""
        ours = [message for message in messages if isinstance(message, RocketMQMessage)]
        outcomes = self._producer.send(wire_messages(self._namespace, ours), deadline)
        return [outcome_of(outcome.error, self._namespace) for outcome in outcomes]

    def close(self) -> None:
        """Close the connections."""
        self._producer.close()


def _opened(instance: RocketMQInstance) -> AnyProducer:
    client = open_client(instance)
    if instance.client != "native":
        return Producer(client)
    # Here, because they load ctypes and librocketmq, which few need.
    from .native_library import load_library
    from .native_producer import NativeProducer

    return NativeProducer(load_library(), client, instance.addresses, credentials=credentials_of(instance))


def outcome_of(error: RocketMQError | None, namespace: str = "") -> Sent:
    """Translate the client's errors, here and nowhere else; `namespace` is left out of their texts."""
    if error is None:
        return _DELIVERED
    detail = plain_text(namespace, str(error))
    if isinstance(error, IllegalMessage) or not error.retriable:
        return Reject(error.name, detail)
    return Failed(error.name, detail, is_unknown=isinstance(error, OutcomeUnknown))
