"""A RocketMQ topic read from its first message on, and on as more arrives, without a trace.

As mqadmin reads: no group of ours, so that whoever looks sees everything, and consumers of the topic notice nothing.
"""

import time
from collections.abc import Iterator

from mqbridge.namespace import wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import RocketMQInstance
from mqbridge_cli.browsing import REQUEST_TIMEOUT_S, messages_between, span_of
from rocketmq_remoting import Client, MessageQueue, StoredMessage

__all__ = ["FollowedTopic"]


class FollowedTopic:
    """Give out each message of a topic once."""

    def __init__(self, instance: RocketMQInstance, topic: str) -> None:
        self._topic = wire_name(instance.namespace, topic)
        self._client: Client = open_client(instance)
        self._next: dict[MessageQueue, int] = {}  # offset

    def new_messages(self) -> Iterator[StoredMessage]:
        """Yield what is stored and was not yielded before.

        Raises:
            RocketMQError: a broker or the topic cannot be reached; what was not yielded comes the next time.
        """
        route = self._client.route(self._topic, time.monotonic() + REQUEST_TIMEOUT_S)
        for queue in route.readable:
            yield from self._of_queue(queue, route.addresses[queue.broker_name])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _of_queue(self, queue: MessageQueue, address: str) -> Iterator[StoredMessage]:
        first, end = span_of(self._client, address, queue)
        # What the broker has deleted meanwhile is gone.
        begin = max(first, self._next.get(queue, first))
        for message in messages_between(self._client, address, queue, begin, end):
            self._next[queue] = message.queue_offset + 1
            yield message
        self._next[queue] = max(begin, end)
