"""A RocketMQ topic as a store of dead letters: all its queues from the first message to the last, without a trace.

No group reads it, no offset is committed, and whoever consumes the topic notices nothing. Removing is remembering: see `state`.
"""

import time
from collections.abc import Iterator, Mapping

from mqbridge.delivery import ENVELOPE
from mqbridge.namespace import plain_text, wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import RocketMQInstance
from mqbridge.secrets import UnresolvedSecret
from mqbridge_cli.dlq.letters import StoredLetter, read_envelope
from mqbridge_cli.dlq.state import Redriven
from mqbridge_cli.dlq.stores import StoreError
from rocketmq_remoting import Client, MessageQueue, ProtocolError, RocketMQError, StoredMessage

# Past the face of the client, which offers no reading without membership: these are what its own consumer is made of.
from rocketmq_remoting.codes import RequestCode, ResponseCode
from rocketmq_remoting.exchange import exchange, require
from rocketmq_remoting.frames import Frame
from rocketmq_remoting.messages import decode_stored

__all__ = ["TopicStore"]

# The group that mqadmin reads as; brokers have it without anybody creating it (SubscriptionGroupManager.init).
GROUP = "TOOLS_CONSUMER"
REQUEST_TIMEOUT_S = 10.0
PULL_MESSAGES = 32  # the broker gives no more at once
_SUBSCRIPTION = (
    0x4  # PullSysFlag: the request says what it wants; without 0x1 no offset is committed, without 0x2 nothing waits
)


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
            spans = [(queue, *self._span(route.addresses[queue.broker_name], queue)) for queue in route.readable]
            self._state.forget(self._arn, {_name(queue): first for queue, first, _ in spans})
            for queue, first, end in spans:
                for message in self._between(route.addresses[queue.broker_name], queue, first, end):
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

    def _span(self, address: str, queue: MessageQueue) -> tuple[int, int]:
        place = {"topic": queue.topic, "queueId": str(queue.queue_id)}
        first, end = (
            _number(self._ask(address, code, place), "offset")
            for code in (RequestCode.GET_MIN_OFFSET, RequestCode.GET_MAX_OFFSET)
        )
        return first, end

    def _between(self, address: str, queue: MessageQueue, first: int, end: int) -> Iterator[StoredMessage]:
        offset = first
        while offset < end:
            fields = {
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
            frame = self._ask(address, RequestCode.PULL_MESSAGE, fields)
            if frame.code == ResponseCode.SUCCESS:
                for message in decode_stored(frame.body, queue.broker_name):
                    if message.queue_offset < end:
                        yield message
            following = _number(frame, "nextBeginOffset")
            if following <= offset:
                raise ProtocolError(f"queue {_name(queue)} goes on at {following}, which is not beyond {offset}")
            offset = following

    def _ask(self, address: str, code: RequestCode, fields: Mapping[str, str]) -> Frame:
        if self._client is None:
            raise RuntimeError("there is a client while read() runs")
        connection = self._client.connection(address)
        (answer,) = exchange([(connection, code, fields, b"")], time.monotonic() + REQUEST_TIMEOUT_S)
        return require(
            answer, ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY, ResponseCode.PULL_OFFSET_MOVED
        )

    def _letter(self, message: StoredMessage) -> StoredLetter:
        queue = MessageQueue(message.topic, message.broker_name, message.queue_id)
        return StoredLetter(
            id=message.message_id,
            queue=self._arn,
            place=f"{_name(queue)}/{message.queue_offset}",
            event=message.body.decode("utf-8", "replace"),
            envelope=read_envelope(message.properties.get(ENVELOPE, "")),
            stored_ms=message.store_timestamp_ms,
        )


def _name(queue: MessageQueue) -> str:
    return f"{queue.broker_name}/{queue.queue_id}"


def _number(frame: Frame, name: str) -> int:
    try:
        return int(frame.fields[name])
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"answer without {name}: {frame.fields}") from error
