"""Send messages: route, group, encode, all brokers in flight at once, one outcome per message."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .client import Client
from .codes import STORED, RequestCode, ResponseCode, refusal
from .connection import exchange
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
from .frames import Frame
from .messages import Message, check_message, encode_batch_item
from .route import MessageQueue, TopicRoute

__all__ = ["Producer", "SendOutcome"]

K = TypeVar("K")

# The broker counts a batch as stored, about 100 bytes and the topic more per message than what we send; a quarter of its 4 MiB
# leaves room for that, and larger batches are no faster.
MAX_BATCH_BYTES = 1024 * 1024

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
    outcome: SendOutcome = field(default_factory=lambda: SendOutcome(error=ConnectFailed("no time left to send")))
    goes_alone: bool = False

    @property
    def lane(self) -> tuple[str, str]:
        return self.message.topic, self.message.sharding_key


class Producer:
    """A producer of one group. Not for several threads at once.

    Nothing is sent twice within a call unless the first try's connection broke; then a duplicate with the same message id is possible.
    """

    def __init__(self, client: Client, group: str = "mqbridge", clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._group = group
        self._clock = clock
        self._rotation = 0

    def send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        """Send `messages` and return their outcomes in the same order; never raises for one of them.

        Messages with the same sharding key are stored in the order given, and none overtakes an earlier one that failed.

        Args:
            messages: any number, of any topics.
            deadline: time.monotonic seconds by which everything is answered.
        """
        outcomes: list[SendOutcome] = []
        pending: list[_Outgoing] = []
        for at, message in enumerate(messages):
            try:
                pending.append(_Outgoing(at=at, message=message, properties=check_message(message)))
                outcomes.append(pending[-1].outcome)
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
        lanes = self._lanes(pending, deadline, fresh_routes=fresh_routes)
        failed_lanes: set[tuple[str, str]] = set()
        while lanes:
            wave = [(address, queue, frames.pop(0)) for address, queue, frames in lanes]
            lanes = [lane for lane in lanes if lane[2]]
            wave = [(address, queue, _hold_back(batch, failed_lanes)) for address, queue, batch in wave]
            wave = [entry for entry in wave if entry[2]]
            requests = [
                (self._client.connection(address), *self._request(queue, batch)) for address, queue, batch in wave
            ]
            for (_, queue, batch), answer in zip(wave, exchange(requests, deadline), strict=True):
                _settle(queue, batch, answer)
                failed_lanes.update(out.lane for out in batch if out.outcome.error and out.message.sharding_key)

    def _lanes(
        self, pending: list[_Outgoing], deadline: float, *, fresh_routes: bool
    ) -> list[tuple[str, MessageQueue, list[list[_Outgoing]]]]:
        """Return (broker address, queue, batches in the order they must go) triples.

        The broker serves requests in several threads, so two batches for one queue keep their order only if the second waits for the
        first. Where no sharding key asks for that, each batch is a lane of its own and all are in flight together.
        """
        lanes: list[tuple[str, MessageQueue, list[list[_Outgoing]]]] = []
        for topic, of_topic in _grouped(pending, lambda out: out.message.topic).items():
            try:
                route = self._client.route(topic, deadline, fresh=fresh_routes)
            except RocketMQError as error:
                _fail(of_topic, error)
                continue
            if not route.writable:
                _fail(of_topic, BrokerBusy(ResponseCode.SERVICE_NOT_AVAILABLE, f"no writable queue of topic {topic!r}"))
                continue
            self._rotation += 1
            any_queue = route.writable[self._rotation % len(route.writable)]
            keyed, unkeyed = _by_queue(of_topic, route)
            for queue, of_queue in keyed.items():
                lanes.append((route.addresses[queue.broker_name], queue, list(_batches(of_queue))))
            for batch in _batches(unkeyed):
                lanes.append((route.addresses[any_queue.broker_name], any_queue, [batch]))
        return lanes

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
        if len(batch) == 1:
            fields["i"] = batch[0].properties.decode()
            return RequestCode.SEND_MESSAGE_V2, fields, batch[0].message.body
        fields["m"] = "true"
        return (
            RequestCode.SEND_BATCH_MESSAGE,
            fields,
            b"".join([encode_batch_item(out.message, out.properties) for out in batch]),
        )


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
        item_bytes = len(item.message.body) + len(item.properties) + 22
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


def _hold_back(batch: list[_Outgoing], failed_lanes: set[tuple[str, str]]) -> list[_Outgoing]:
    """Fail what would overtake an earlier message of its key, and return the rest."""
    if not failed_lanes:
        return batch
    held = [out for out in batch if out.lane in failed_lanes]
    _fail(held, HeldBack("an earlier message with the same sharding key was not stored"))
    return [out for out in batch if out.lane not in failed_lanes]


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
        if isinstance(error, HeldBack) or out.goes_alone or _another_route_may_help(error):
            again.append(out)
        else:
            closed_lanes.add(out.lane)
    return again


def _another_route_may_help(error: RocketMQError) -> bool:
    if isinstance(error, BrokerRefused) and error.code == ResponseCode.SERVICE_NOT_AVAILABLE:
        return True
    return isinstance(error, _WORTH_ANOTHER_ROUTE)
