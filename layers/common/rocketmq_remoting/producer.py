"""Send messages: route, group, encode, all brokers in flight at once, one outcome per message."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .client import Client
from .codes import STORED, RequestCode, ResponseCode, refusal
from .connection import Connection
from .errors import (
    BrokerBusy,
    BrokerRefused,
    ConnectFailed,
    HeldBack,
    IllegalMessage,
    OutcomeUnknown,
    ProtocolError,
    RocketMQError,
    TopicNotFound,
)
from .exchange import wait
from .frames import Frame
from .messages import Message, check_message, encode_batch_item
from .names import MAX_TOPIC_LENGTH, check_group
from .route import MessageQueue, TopicRoute

__all__ = ["Producer", "SendOutcome"]

K = TypeVar("K")

# A quarter of the broker's 4 MiB: larger batches are no faster.
MAX_BATCH_BYTES = 1024 * 1024
# The broker measures a batch as it stores it (MessageDecoder's layout, hosts of IPv6, CLUSTER): so much more than body and properties.
STORED_OVERHEAD_BYTES = 91 + 24 + 64 + MAX_TOPIC_LENGTH
AVOID_S = 30.0
# As DefaultMQProducer: bodies over 4 KB, level 5, MessageSysFlag.COMPRESSED_FLAG. In a batch nothing is compressed, by Java neither.
COMPRESS_OVER_BYTES = 4 * 1024
COMPRESSION_LEVEL = 5
COMPRESSED = "1"

# A second try at once, with a fresh route, is worth it for these: the broker moved, died or is closing.
_WORTH_ANOTHER_ROUTE = (ConnectFailed, OutcomeUnknown, ProtocolError, TopicNotFound)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """What became of one message: stored in `queue` at `queue_offset`, or `error`."""

    queue: MessageQueue | None = None
    queue_offset: int = -1
    error: RocketMQError | None = None


@dataclass(slots=True, kw_only=True)
class _Outgoing:
    """A message on its way: its place in the caller's list, its property block, and what is known of it so far."""

    at: int
    message: Message
    properties: bytes
    outcome: SendOutcome
    goes_alone: bool = False

    @property
    def lane(self) -> tuple[str, str]:
        return self.message.topic, self.message.sharding_key


@dataclass(slots=True)
class _Lane:
    """Batches for one queue that must go one after the other."""

    connection: Connection
    queue: MessageQueue
    batches: deque[list[_Outgoing]]
    batch: list[_Outgoing] = field(default_factory=list)
    opaque: int = 0
    failed_keys: set[tuple[str, str]] = field(default_factory=set)

    def without_held_back(self, batch: list[_Outgoing]) -> list[_Outgoing]:
        """Fail what would overtake an earlier message of its key, and return the rest."""
        if not self.failed_keys:
            return batch
        held = [out for out in batch if out.lane in self.failed_keys]
        _fail(held, HeldBack("an earlier message with the same sharding key was not stored"))
        return [out for out in batch if out.lane not in self.failed_keys]


class Producer:
    """A producer of one group. Not for several threads at once.

    Nothing is sent twice within a call unless the first try's connection broke; then a duplicate with the same message id is possible.
    """

    def __init__(self, client: Client, group: str = "mqbridge", clock: Callable[[], float] = time.time) -> None:
        check_group(group)
        self._client = client
        self._group = group
        self._clock = clock
        self._rotation = 0
        self._avoided: dict[
            str, float
        ] = {}  # brokers that failed lately, and until when messages without a key avoid them

    def send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        """Send `messages` and return their outcomes in the same order; never raises for one of them.

        Messages with the same sharding key are stored in the order given, and none overtakes an earlier one that failed, unless that
        one was illegal: it will never be sent, and holds nothing back.

        Args:
            messages: any number, of any topics.
            deadline: time.monotonic seconds by which everything is answered.
        """
        outcomes: list[SendOutcome] = []
        pending: list[_Outgoing] = []
        untried = SendOutcome(error=ConnectFailed("no time left to send"))
        for at, message in enumerate(messages):
            try:
                pending.append(_Outgoing(at=at, message=message, properties=check_message(message), outcome=untried))
                outcomes.append(untried)
            except IllegalMessage as error:
                outcomes.append(SendOutcome(error=error))
        self._round(pending, deadline, fresh_routes=False)
        again = _worth_another_try(pending)
        if again and time.monotonic() < deadline:
            self._round(again, deadline, fresh_routes=True)
        for outgoing in pending:
            outcomes[outgoing.at] = outgoing.outcome
        return outcomes

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _round(self, pending: list[_Outgoing], deadline: float, *, fresh_routes: bool) -> None:
        """Send every message once: each lane's batches one after the other, all lanes at the same time."""
        lanes = [
            lane for lane in self._lanes(pending, deadline, fresh_routes=fresh_routes) if self._next(lane, deadline)
        ]
        under_way = list(lanes)

        def all_settled() -> bool:
            for lane in list(under_way):
                answer = lane.connection.take(lane.opaque)
                if answer is not None:
                    self._settle(lane, answer)
                    if not self._next(lane, deadline):
                        under_way.remove(lane)
            return not under_way

        wait({lane.connection for lane in lanes}, all_settled, deadline)
        for lane in under_way:
            lane.connection.give_up("in time")
        all_settled()

    def _next(self, lane: _Lane, deadline: float) -> bool:
        """Submit the lane's next batch; tell whether there is one under way."""
        while lane.batches:
            lane.batch = lane.without_held_back(lane.batches.popleft())
            if not lane.batch:
                continue
            if time.monotonic() >= deadline:
                self._settle(lane, ConnectFailed("no time left to send"))
                continue
            try:
                lane.connection.begin()
            except ConnectFailed as error:
                self._settle(lane, error)
            else:
                lane.opaque = lane.connection.submit(*self._request(lane.queue, lane.batch))
                return True
        return False

    def _settle(self, lane: _Lane, answer: Frame | RocketMQError) -> None:
        _settle(lane.queue, lane.batch, answer)
        if any(_another_broker_may_help(out.outcome.error) for out in lane.batch):
            self._avoided[lane.queue.broker_name] = time.monotonic() + AVOID_S
        lane.failed_keys.update(out.lane for out in lane.batch if out.outcome.error and out.message.sharding_key)

    def _lanes(self, pending: list[_Outgoing], deadline: float, *, fresh_routes: bool) -> Iterator[_Lane]:
        """Yield the lanes that `pending` goes through.

        The broker serves requests in several threads, so two batches for one queue keep their order only if the second waits for the
        first. Where no sharding key asks for that, each batch is a lane of its own and all are in flight together.
        """
        for topic, of_topic in _grouped(pending, lambda out: out.message.topic).items():
            try:
                route = self._client.route(topic, deadline, fresh=fresh_routes)
            except RocketMQError as error:
                _fail(of_topic, error)
                continue
            if not route.writable:
                _fail(of_topic, BrokerBusy(ResponseCode.SERVICE_NOT_AVAILABLE, f"no writable queue of topic {topic!r}"))
                continue
            keyed, unkeyed = _by_queue(of_topic, route)
            for queue, of_queue in keyed.items():
                yield _Lane(self._connection(route, queue), queue, deque(_batches(of_queue)))
            any_queue = self._any_queue(route)
            for batch in _batches(unkeyed):
                yield _Lane(self._connection(route, any_queue), any_queue, deque([batch]))

    def _connection(self, route: TopicRoute, queue: MessageQueue) -> Connection:
        return self._client.connection(route.addresses[queue.broker_name])

    def _any_queue(self, route: TopicRoute) -> MessageQueue:
        """Return the next queue in turn, of a broker that did not fail lately if there is one."""
        now = time.monotonic()
        healthy = [queue for queue in route.writable if self._avoided.get(queue.broker_name, 0.0) <= now]
        self._rotation += 1
        candidates = healthy or route.writable
        return candidates[self._rotation % len(candidates)]

    def _request(self, queue: MessageQueue, batch: list[_Outgoing]) -> tuple[RequestCode, dict[str, str], bytes]:
        # SendMessageRequestHeaderV2: a group, b topic, c default topic, d its queues, e queue, f system flag, g born, h flag,
        # i properties, j reconsume times, k unit mode, m batch. In a batch `i` stays empty: the broker would add it to every message.
        fields = {
            "a": self._group,
            "b": queue.topic,
            "c": "TBW102",
            "d": "4",
            "e": str(queue.queue_id),
            "f": "0",
            "g": str(int(self._clock() * 1000)),
            "h": "0",
            "i": "",
            "j": "0",
            "k": "false",
            "m": "false",
        }
        # RocketMQ 5.5.0 answers a lone empty body with a NullPointerException; as a batch of one it is stored, by 4.9 too.
        # A batch cannot be delayed.
        first = batch[0].message
        if len(batch) == 1 and (first.body or first.delay_level):
            fields["i"] = batch[0].properties.decode()
            body, fields["f"] = _compressed(first.body)
            return RequestCode.SEND_MESSAGE_V2, fields, body
        fields["m"] = "true"
        return (
            RequestCode.SEND_BATCH_MESSAGE,
            fields,
            b"".join([encode_batch_item(out.message, out.properties) for out in batch]),
        )


def _compressed(body: bytes) -> tuple[bytes, str]:
    """Return the body as it is sent, and the system flag that says how; small ones, and those that would not shrink, go as they are."""
    if len(body) > COMPRESS_OVER_BYTES:
        smaller = zlib.compress(body, COMPRESSION_LEVEL)
        if len(smaller) < len(body):
            return smaller, COMPRESSED
    return body, "0"


def _grouped(items: list[_Outgoing], key: Callable[[_Outgoing], K]) -> dict[K, list[_Outgoing]]:
    groups: dict[K, list[_Outgoing]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _by_queue(
    of_topic: list[_Outgoing], route: TopicRoute
) -> tuple[dict[MessageQueue, list[_Outgoing]], list[_Outgoing]]:
    """Return the messages with a sharding key by the queue it chooses, and those without one."""
    unkeyed = [out for out in of_topic if not out.message.sharding_key]
    keyed = [out for out in of_topic if out.message.sharding_key]
    return _grouped(keyed, lambda out: route.queue_for_key(out.message.sharding_key)), unkeyed


def _batches(items: list[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """Cut `items` into batches that the broker takes; a delayed message must travel alone."""
    batch: list[_Outgoing] = []
    batch_bytes = 0
    for item in items:
        item_bytes = len(item.message.body) + len(item.properties) + STORED_OVERHEAD_BYTES
        alone = item.goes_alone or item.message.delay_level > 0
        if batch and (alone or batch_bytes + item_bytes > MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(item)
        batch_bytes += item_bytes
        if alone:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def _settle(queue: MessageQueue, batch: list[_Outgoing], answer: Frame | RocketMQError) -> None:
    if isinstance(answer, RocketMQError):
        _fail(batch, answer)
        return
    if answer.code not in STORED:
        error = refusal(answer.code, answer.remark)
        for out in batch:
            # One message may have spoilt the batch; each is judged by itself then.
            out.goes_alone = len(batch) > 1 and answer.code == ResponseCode.MESSAGE_ILLEGAL
        _fail(batch, error)
        return
    try:
        first_offset = int(answer.fields["queueOffset"])
    except (KeyError, ValueError):
        first_offset = -1
    for offset, out in enumerate(batch, first_offset):
        out.outcome = SendOutcome(queue=queue, queue_offset=offset if first_offset >= 0 else -1)


def _fail(batch: list[_Outgoing], error: RocketMQError) -> None:
    outcome = SendOutcome(error=error)
    for out in batch:
        # What may be stored stays so, however the second try fails.
        if not isinstance(out.outcome.error, OutcomeUnknown):
            out.outcome = outcome


def _worth_another_try(pending: list[_Outgoing]) -> list[_Outgoing]:
    """Return what to send again at once, in order: no message of a key whose first failure stays."""
    again: list[_Outgoing] = []
    closed_lanes: set[tuple[str, str]] = set()
    for out in pending:
        error = out.outcome.error
        if error is None:
            continue
        if out.message.sharding_key and out.lane in closed_lanes:
            continue
        if isinstance(error, HeldBack) or out.goes_alone or _another_broker_may_help(error):
            again.append(out)
        else:
            closed_lanes.add(out.lane)
    return again


def _another_broker_may_help(error: RocketMQError | None) -> bool:
    if isinstance(error, BrokerRefused) and error.code == ResponseCode.SERVICE_NOT_AVAILABLE:
        return True
    return isinstance(error, _WORTH_ANOTHER_ROUTE)
