"""Where a consumer group starts in a queue."""

from collections.abc import Callable
from dataclasses import dataclass

from .codes import RequestCode, ResponseCode
from .errors import ProtocolError, RocketMQError
from .exchange import require
from .frames import Frame
from .offsets import QueueProgress
from .route import MessageQueue, parse_json

__all__ = ["StartFrom", "start_offset"]


@dataclass(frozen=True, slots=True)
class StartFrom:
    """Where a group starts in a queue for which it never committed an offset: build it by one of the three class methods."""

    code: RequestCode
    timestamp_ms: int | None = None

    @classmethod
    def first(cls) -> "StartFrom":
        """Start with the oldest message that the broker still has."""
        return cls(RequestCode.GET_MIN_OFFSET)

    @classmethod
    def last(cls) -> "StartFrom":
        """Start with what is stored from now on."""
        return cls(RequestCode.GET_MAX_OFFSET)

    @classmethod
    def at(cls, timestamp_ms: int) -> "StartFrom":
        """Start with the first message stored at or after this Unix time in milliseconds."""
        return cls(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, timestamp_ms)


def start_offset(
    queue: MessageQueue,
    group: str,
    start_from: StartFrom,
    call: Callable[[RequestCode, dict[str, str]], Frame | RocketMQError],
) -> QueueProgress:
    """Return progress from the group's committed offset in `queue`, or from where `start_from` says if it never committed one.

    Asked for the offset of a group that it never heard of, a broker answers 0 as long as the queue's first message is still in
    memory (ConsumerManageProcessor.queryConsumerOffset): that 0 would deliver old messages by surprise, so it is only believed if the
    broker's table of offsets really holds it.

    Raises:
        RocketMQError: the broker did not answer, or refused.
    """
    place = {"topic": queue.topic, "queueId": str(queue.queue_id)}
    answer = require(
        call(RequestCode.QUERY_CONSUMER_OFFSET, {**place, "consumerGroup": group}), ResponseCode.QUERY_NOT_FOUND
    )
    if answer.code == ResponseCode.SUCCESS:
        offset = _offset(answer)
        if offset > 0 or _was_committed(queue, group, require(call(RequestCode.GET_ALL_CONSUMER_OFFSET, {}))):
            return QueueProgress(offset, is_committed=True)
    if queue.topic.startswith("%RETRY%"):
        return QueueProgress(0, is_committed=False)  # what was sent back is never too old
    skip_before_ms = 0
    if start_from.timestamp_ms is not None:
        # The broker names any of several messages of one time (a batch has one time): ask for what was before, and pass that over.
        skip_before_ms = start_from.timestamp_ms
        place["timestamp"] = str(skip_before_ms - 1)
    offset = _offset(require(call(start_from.code, place)))
    return QueueProgress(offset, is_committed=False, skip_before_ms=skip_before_ms)


def _was_committed(queue: MessageQueue, group: str, answer: Frame) -> bool:
    try:
        offsets = parse_json(answer.body)["offsetTable"]
        return str(queue.queue_id) in offsets.get(f"{queue.topic}@{group}", {})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ProtocolError(f"table of consumer offsets is not readable: {error!r}") from error


def _offset(answer: Frame) -> int:
    try:
        return int(answer.fields["offset"])
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"answer without an offset: {answer.fields}") from error
