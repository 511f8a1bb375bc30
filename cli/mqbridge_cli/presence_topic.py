"""A RocketMQ topic read from its first message on, and on as more arrives, without a trace.

As mqadmin reads: no group of ours, so that whoever looks sees everything, and consumers of the topic notice nothing.
"""

import time
from collections.abc import Iterator, Mapping

from mqbridge.namespace import wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import RocketMQInstance
from mqbridge_cli.dlq.topic_store import GROUP, PULL_MESSAGES, REQUEST_TIMEOUT_S
from rocketmq_remoting import Client, MessageQueue, ProtocolError, StoredMessage

# Past the face of the client, which offers no reading without membership: these are what its own consumer is made of.
from rocketmq_remoting.codes import RequestCode, ResponseCode
from rocketmq_remoting.exchange import exchange, require
from rocketmq_remoting.frames import Frame
from rocketmq_remoting.messages import decode_stored

__all__ = ["FollowedTopic"]

_SUBSCRIPTION = 0x4  # PullSysFlag: the request says what it wants; nothing is committed, nothing waits


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
        place = {"topic": queue.topic, "queueId": str(queue.queue_id)}
        # What the broker has deleted meanwhile is gone.
        first = _number(self._ask(address, RequestCode.GET_MIN_OFFSET, place), "offset")
        end = _number(self._ask(address, RequestCode.GET_MAX_OFFSET, place), "offset")
        offset = max(first, self._next.get(queue, first))
        while offset < end:
            frame = self._ask(address, RequestCode.PULL_MESSAGE, _pull(queue, offset))
            if frame.code == ResponseCode.SUCCESS:
                for message in decode_stored(frame.body, queue.broker_name):
                    self._next[queue] = message.queue_offset + 1
                    yield message
            following = _number(frame, "nextBeginOffset")
            if following <= offset:
                raise ProtocolError(f"queue {queue.queue_id} goes on at {following}, which is not beyond {offset}")
            self._next[queue] = offset = following

    def _ask(self, address: str, code: RequestCode, fields: Mapping[str, str]) -> Frame:
        connection = self._client.connection(address)
        (answer,) = exchange([(connection, code, fields, b"")], time.monotonic() + REQUEST_TIMEOUT_S)
        return require(
            answer, ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY, ResponseCode.PULL_OFFSET_MOVED
        )


def _pull(queue: MessageQueue, offset: int) -> dict[str, str]:
    return {
        "consumerGroup": GROUP,
        "topic": queue.topic,
        "queueId": str(queue.queue_id),
        "queueOffset": str(offset),
        "maxMsgNums": str(PULL_MESSAGES),
        "sysFlag": str(_SUBSCRIPTION),
        "commitOffset": "0",
        "suspendTimeoutMillis": "0",
        "subscription": "*",
        "subVersion": "0",
        "expressionType": "TAG",
    }


def _number(frame: Frame, name: str) -> int:
    try:
        return int(frame.fields[name])
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"answer without {name}: {frame.fields}") from error
