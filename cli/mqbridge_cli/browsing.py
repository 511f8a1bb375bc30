"""Read the queues of a RocketMQ topic without a trace: no group of ours, no offset committed, and its consumers notice nothing."""

import time
from collections.abc import Iterator, Mapping

from rocketmq_remoting import Client, MessageQueue, ProtocolError, StoredMessage

# Past the face of the client, which offers no reading without membership: these are what its own consumer is made of.
from rocketmq_remoting.codes import RequestCode, ResponseCode
from rocketmq_remoting.exchange import exchange, require
from rocketmq_remoting.frames import Frame
from rocketmq_remoting.stored_messages import decode_stored

__all__ = ["REQUEST_TIMEOUT_S", "messages_between", "name_of", "span_of"]

# The group that mqadmin reads as; brokers have it without anybody creating it (SubscriptionGroupManager.init).
GROUP = "TOOLS_CONSUMER"
REQUEST_TIMEOUT_S = 10.0
PULL_MESSAGES = 32  # the broker gives no more at once
_SUBSCRIPTION = (
    0x4  # PullSysFlag: the request says what it wants; without 0x1 no offset is committed, without 0x2 nothing waits
)


def name_of(queue: MessageQueue) -> str:
    """Return broker and number of a queue, as people and state files have it."""
    return f"{queue.broker_name}/{queue.queue_id}"


def span_of(client: Client, address: str, queue: MessageQueue) -> tuple[int, int]:
    """Return the offset of the first message that the broker at `address` still has, and the one behind the last.

    Raises:
        RocketMQError: the broker cannot be reached, or refuses.
    """
    place = {"topic": queue.topic, "queueId": str(queue.queue_id)}
    first, end = (
        _number(_ask(client, address, code, place), "offset")
        for code in (RequestCode.GET_MIN_OFFSET, RequestCode.GET_MAX_OFFSET)
    )
    return first, end


def messages_between(
    client: Client, address: str, queue: MessageQueue, first: int, end: int
) -> Iterator[StoredMessage]:
    """Yield the messages of a queue from offset `first` to before `end`.

    Raises:
        RocketMQError: the broker cannot be reached, or refuses.
    """
    offset = first
    while offset < end:
        fields = {
            "consumerGroup": GROUP,
            "topic": queue.topic,
            "queueId": str(queue.queue_id),
            "queueOffset": str(offset),
            "maxMsgNums": str(min(PULL_MESSAGES, end - offset)),
            "sysFlag": str(_SUBSCRIPTION),
            "commitOffset": "0",
            "suspendTimeoutMillis": "0",
            "subscription": "*",
            "subVersion": "0",
            "expressionType": "TAG",
        }
        frame = _ask(client, address, RequestCode.PULL_MESSAGE, fields)
        if frame.code == ResponseCode.SUCCESS:
            for message in decode_stored(frame.body, queue.broker_name):
                if message.queue_offset < end:
                    yield message
        following = _number(frame, "nextBeginOffset")
        if following <= offset:
            raise ProtocolError(f"queue {name_of(queue)} goes on at {following}, which is not beyond {offset}")
        offset = following


def _ask(client: Client, address: str, code: RequestCode, fields: Mapping[str, str]) -> Frame:
    connection = client.connection(address)
    (answer,) = exchange([(connection, code, fields, b"")], time.monotonic() + REQUEST_TIMEOUT_S)
    return require(
        answer, ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY, ResponseCode.PULL_OFFSET_MOVED
    )


def _number(frame: Frame, name: str) -> int:
    try:
        return int(frame.fields[name])
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"answer without {name}: {frame.fields}") from error
