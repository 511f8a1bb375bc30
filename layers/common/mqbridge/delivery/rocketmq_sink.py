"""RocketMQ as a sink, through the client that the instance names.

Keys may be rotated while it is open: what a broker refuses is sent once more if the secrets say something else by then.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from mqbridge.delivery.sinks import Outgoing, Sent
from mqbridge.messages import RocketMQMessage
from mqbridge.namespace import plain_text, wire_messages
from mqbridge.outcomes import Answer, Delivered, Failed, Reject
from mqbridge.rocketmq import RenewedCredentials, credentials_of, expire_keys, open_client
from mqbridge.rules import RocketMQInstance
from rocketmq_remoting import (
    BrokerForbids,
    BrokerRefused,
    Credentials,
    HeldBack,
    IllegalMessage,
    Message,
    MessageQueue,
    OutcomeUnknown,
    Producer,
    RocketMQError,
    SendOutcome,
)

__all__ = ["AnyProducer", "RocketMQSink", "open_producer", "outcome_of"]

OnRetry = Callable[[str, int], None]

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
    """A producer for one cluster; `opened` makes it. `on_retry` is told of messages that are sent once more, by the error's name.

    Raises:
        UnresolvedSecret: a secret that the instance refers to cannot be had.
        OSError: a file that its Tls names cannot be read.
    """

    def __init__(
        self,
        instance: RocketMQInstance,
        opened: Callable[[RocketMQInstance, RenewedCredentials | None], AnyProducer] | None = None,
        on_retry: OnRetry = lambda _error_type, _amount: None,
    ) -> None:
        self._instance = instance
        self._opened = opened or partial(open_producer, on_retry=on_retry)
        self._on_retry = on_retry
        self._credentials = credentials_of(instance)
        self._producer = self._opened(instance, self._credentials)
        self._namespace = instance.namespace

    def send(self, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Send RocketMQ messages; see `Sink.send`."""
        ours = [message for message in messages if isinstance(message, RocketMQMessage)]
        outcomes = self._send(wire_messages(self._namespace, ours), deadline)
        return [
            _DELIVERED if error is None else outcome_of(error, self._namespace, queue) for queue, _, error in outcomes
        ]

    def close(self) -> None:
        """Close the connections."""
        self._producer.close()

    def _send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        signed_with = self._credentials.current if self._credentials is not None else None
        outcomes = self._producer.send(messages, deadline)
        refused = _refused(messages, outcomes)
        if not refused or not self._has_other_keys(signed_with):
            return outcomes
        self._on_retry(BrokerForbids.name, len(refused))
        for at, outcome in zip(refused, self._producer.send([messages[at] for at in refused], deadline), strict=True):
            outcomes[at] = outcome
        return outcomes

    def _has_other_keys(self, than: Credentials | None) -> bool:
        """Look at the secrets, and tell whether requests are signed with other keys from now on."""
        if self._credentials is None:
            return False
        expire_keys(self._instance)
        self._credentials.look()
        if self._credentials.current == than:
            return False
        if self._instance.client == "native":  # librocketmq keeps the keys that it was started with
            try:
                producer = self._opened(self._instance, self._credentials)
            except OSError:  # the files of Tls are rotated too, and not all there yet
                return False
            self._producer.close()
            self._producer = producer
        return True


def _refused(messages: Sequence[Message], outcomes: Sequence[SendOutcome]) -> list[int]:
    """Return the places of what the broker forbade, and of what waited behind it in the same lane.

    Why it did is not asked: for keys that are not (or no more) known it has no code of its own.
    """
    places: list[int] = []
    lanes: set[tuple[str, str]] = set()
    for at, (message, outcome) in enumerate(zip(messages, outcomes, strict=True)):
        lane = message.topic, message.sharding_key
        if isinstance(outcome.error, BrokerForbids):
            lanes.add(lane)
            places.append(at)
        elif isinstance(outcome.error, HeldBack) and lane in lanes:
            places.append(at)
    return places


def open_producer(
    instance: RocketMQInstance, credentials: RenewedCredentials | None, on_retry: OnRetry | None = None
) -> AnyProducer:
    """Return a producer of the instance, by the client that it names; nothing is dialled yet.

    librocketmq does not say what it sends again.
    """
    client = open_client(instance, credentials)
    if instance.client != "native":
        return Producer(client, on_retry=on_retry)
    # Here, because they load ctypes and librocketmq, which few need.
    from .native_library import load_library
    from .native_producer import NativeProducer

    current = credentials.current if credentials is not None else None
    return NativeProducer(load_library(), client, instance.addresses, credentials=current)


def outcome_of(error: RocketMQError, namespace: str = "", queue: MessageQueue | None = None) -> Failed | Reject:
    """Translate the client's errors, here and nowhere else; `namespace` is left out of their texts."""
    detail, answer = plain_text(namespace, str(error)), _answer(error, queue)
    if isinstance(error, IllegalMessage) or not error.retriable:
        return Reject(error.name, detail, answer=answer)
    return Failed(error.name, detail, is_unknown=isinstance(error, OutcomeUnknown), answer=answer)


def _answer(error: RocketMQError, queue: MessageQueue | None) -> Answer | None:
    code = error.code if isinstance(error, BrokerRefused) else None
    if queue is not None:
        return Answer(code, queue.broker_name, queue.queue_id)
    return None if code is None else Answer(code)
