"""A RocketMQ topic as a store of dead letters: all its queues from the first message to the last, without a trace.

No group reads it, no offset is committed, and whoever consumes the topic notices nothing. Removing is remembering: see `state`.
"""

import time
from collections.abc import Iterator

from mqbridge.delivery import ENVELOPE
from mqbridge.namespace import plain_text, wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import RocketMQInstance
from mqbridge.secrets import UnresolvedSecret
from mqbridge_cli.browsing import REQUEST_TIMEOUT_S, messages_between, name_of, span_of
from mqbridge_cli.dlq.letters import StoredLetter, read_envelope
from mqbridge_cli.dlq.state import Redriven
from mqbridge_cli.dlq.stores import StoreError
from rocketmq_remoting import Client, MessageQueue, RocketMQError, StoredMessage

__all__ = ["TopicStore"]


class TopicStore:
    """Read the letters of one topic, those left out that `state` knows as redriven; removing adds to it."""

    def __init__(self, arn: str, instance: RocketMQInstance, topic: str, state: Redriven) -> None:
        self._arn = arn
        self._instance = instance
        self._topic = wire_name(instance.namespace, topic)
        self._state = state
        self._client: Client | None = None

    def read(self) -> Iterator[StoredLetter]:
        """See `Store.read`; what arrives while it runs is left for the next time."""
        try:
            client = self._client = self._client or open_client(self._instance)
            route = client.route(self._topic, time.monotonic() + REQUEST_TIMEOUT_S, fresh=True)
            spans = [(queue, *span_of(client, route.addresses[queue.broker_name], queue)) for queue in route.readable]
            self._state.forget(self._arn, {name_of(queue): first for queue, first, _ in spans})
            for queue, first, end in spans:
                for message in messages_between(client, route.addresses[queue.broker_name], queue, first, end):
                    letter = self._letter(message)
                    if not self._state.has(self._arn, letter.place, letter.id):
                        yield letter
        except (RocketMQError, UnresolvedSecret, OSError) as error:
            raise StoreError(f"{self._arn}: {plain_text(self._instance.namespace, str(error))}") from error

    def remove(self, letter: StoredLetter) -> None:
        """Remember that the letter was redriven."""
        try:
            self._state.add(self._arn, letter.place, letter.id)
        except OSError as error:
            raise StoreError(f"letter {letter.id}: that it was redriven cannot be remembered: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _letter(self, message: StoredMessage) -> StoredLetter:
        queue = MessageQueue(message.topic, message.broker_name, message.queue_id)
        return StoredLetter(
            id=message.message_id,
            queue=self._arn,
            place=f"{name_of(queue)}/{message.queue_offset}",
            event=message.body.decode("utf-8", "replace"),
            envelope=read_envelope(message.properties.get(ENVELOPE, "")),
            stored_ms=message.store_timestamp_ms,
        )
