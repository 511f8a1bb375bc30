"""What everyone asks of brokers who reads for a consumer group, whether a member of it or not: pulls, offsets, send-backs, members."""

from collections.abc import Mapping
from dataclasses import replace

from .client import Client
from .codes import RequestCode, ResponseCode
from .errors import ProtocolError, RocketMQError, RouteNotFound
from .exchange import Request, exchange, require
from .frames import Frame
from .offsets import QueueProgress
from .route import MessageQueue, parse_json
from .stored_messages import StoredMessage, decode_stored
from .subscription import Subscription

__all__ = ["PULL_MESSAGES", "GroupReader", "queue_of"]

PULL_MESSAGES = 32  # the broker gives no more at once (maxTransferCountOnMessageInMemory)
MAX_REDELIVERIES = 16  # after as many send-backs the broker moves a message to %DLQ%group

_SUSPEND, _SUBSCRIPTION = 0x2, 0x4  # PullSysFlag


class GroupReader:
    """Asks brokers in the name of the consumer group `group`."""

    def __init__(self, client: Client, group: str) -> None:
        self._client = client
        self._group = group

    def address(self, queue: MessageQueue, deadline: float) -> str:
        """Return where the queue's broker is.

        Raises:
            RocketMQError: nobody knows.
        """
        address = self._client.route(queue.topic, deadline).addresses.get(queue.broker_name)
        if address is None:
            raise RouteNotFound(f"broker {queue.broker_name!r} is not in the route of topic {queue.topic!r}")
        return address

    def call(
        self, address: str, code: RequestCode, fields: Mapping[str, str], *, deadline: float, body: bytes = b""
    ) -> Frame | RocketMQError:
        """Send one request and return its answer, or what prevented it."""
        return exchange([(self._client.connection(address), code, fields, body)], deadline)[0]

    def members(self, address: str, deadline: float) -> list[str]:
        """Return the group's members that the broker at `address` knows, sorted.

        Raises:
            RocketMQError: it did not say, or it knows none: then it refuses.
        """
        fields = {"consumerGroup": self._group}
        answer = require(self.call(address, RequestCode.GET_CONSUMER_LIST_BY_GROUP, fields, deadline=deadline))
        try:
            # A broker lists connections, not members: one that broke while the broker hung, its last heartbeat still in the
            # queue, is listed beside the new one for two minutes (ConsumerGroupInfo.getAllClientId, 4.9.7). Counted
            # twice, a member would leave half of its queues to its own ghost.
            return sorted({str(member) for member in parse_json(answer.body)["consumerIdList"]})
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"consumer list is not readable: {error!r}") from error

    def pull_request(
        self,
        queue: MessageQueue,
        progress: QueueProgress,
        subscription: Subscription,
        *,
        suspend_ms: int,
        deadline: float,
    ) -> Request:
        """Return the request for what comes next in `queue`; the broker may hold it for `suspend_ms` if there is nothing, 0 not at all.

        Raises:
            RocketMQError: nobody knows where the queue's broker is.
        """
        fields = {
            "consumerGroup": self._group,
            "topic": queue.topic,
            "queueId": str(queue.queue_id),
            "queueOffset": str(progress.next_offset),
            "maxMsgNums": str(PULL_MESSAGES),
            "sysFlag": str((_SUSPEND if suspend_ms else 0) | _SUBSCRIPTION),
            "commitOffset": "0",
            "suspendTimeoutMillis": str(suspend_ms),
            "subscription": subscription.expression,
            "subVersion": str(subscription.version),
            "expressionType": subscription.expression_type,
        }
        connection = self._client.connection(self.address(queue, deadline))
        return connection, RequestCode.PULL_MESSAGE, fields, b""

    @staticmethod
    def pulled(
        queue: MessageQueue, progress: QueueProgress, subscription: Subscription, answer: Frame | RocketMQError
    ) -> list[StoredMessage]:
        """Return the messages of the answer to a pull, and note in `progress` that they were delivered.

        Raises:
            RocketMQError: the broker did not answer, or refused.
        """
        frame = require(
            answer, ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY, ResponseCode.PULL_OFFSET_MOVED
        )
        stored = list(decode_stored(frame.body, queue.broker_name)) if frame.code == ResponseCode.SUCCESS else []
        try:
            next_offset, end = int(frame.fields["nextBeginOffset"]), int(frame.fields.get("maxOffset", 0))
        except (KeyError, ValueError) as error:
            raise ProtocolError(f"pull answer without nextBeginOffset: {frame.fields}") from error
        progress.had_messages = bool(stored)
        wanted = [
            each
            for each in stored
            if subscription.wants(each.properties.get("TAGS", ""))
            and each.store_timestamp_ms >= progress.skip_before_ms
        ]
        for message in wanted:
            progress.delivered(message.queue_offset)
        progress.next_offset = next_offset
        progress.end = max(end, next_offset)
        return [_under_its_own_topic(message, queue) for message in wanted]

    def commit(self, progress_of: Mapping[MessageQueue, QueueProgress], deadline: float) -> None:
        """Have the brokers note how far the group has come, where that has changed.

        Raises:
            RocketMQError: one did not; what the others noted counts.
        """
        requests: list[Request] = []
        due: list[tuple[QueueProgress, int]] = []
        problem: RouteNotFound | None = None
        for queue, progress in progress_of.items():
            offset = progress.committable
            try:
                if offset != progress.committed:
                    connection = self._client.connection(self.address(queue, deadline))
                    place = {"topic": queue.topic, "queueId": str(queue.queue_id), "commitOffset": str(offset)}
                    fields = {"consumerGroup": self._group, **place}
                    requests.append((connection, RequestCode.UPDATE_CONSUMER_OFFSET, fields, b""))
                    due.append((progress, offset))
            except RouteNotFound as error:
                problem = error  # the broker is gone; the offsets of the others still count
        answers = exchange(requests, deadline)
        for (progress, offset), answer in zip(due, answers, strict=True):
            if isinstance(answer, Frame) and answer.code == ResponseCode.SUCCESS:
                progress.committed = offset
        for answer in answers:
            require(answer)
        if problem is not None:
            raise problem

    def send_back(self, message: StoredMessage, *, delay_level: int, deadline: float) -> None:
        """Have the broker store `message` for another try after `delay_level`, or, if that is negative, in %DLQ%group.

        Raises:
            RocketMQError: the broker did not take it.
        """
        fields = {
            "offset": str(message.physical_offset),
            "group": self._group,
            "delayLevel": str(delay_level),
            "originMsgId": message.message_id,
            "originTopic": message.topic,
            "unitMode": "false",
            "maxReconsumeTimes": str(MAX_REDELIVERIES),
        }
        address = self.address(queue_of(message), deadline)
        require(self.call(address, RequestCode.CONSUMER_SEND_MSG_BACK, fields, deadline=deadline))


def queue_of(message: StoredMessage) -> MessageQueue:
    """Return the queue that a message was read from."""
    return MessageQueue(message.retry_topic or message.topic, message.broker_name, message.queue_id)


def _under_its_own_topic(message: StoredMessage, queue: MessageQueue) -> StoredMessage:
    """A message from the retry topic is given out as what it was (DefaultMQPushConsumerImpl.resetRetryAndNamespace)."""
    original = message.properties.get("RETRY_TOPIC") if queue.topic.startswith("%RETRY%") else None
    return replace(message, topic=original, retry_topic=message.topic) if original else message
