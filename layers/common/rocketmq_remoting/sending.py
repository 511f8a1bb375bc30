"""One round of sending: every message goes out once, and brokers work on the first ones while the next are checked and encoded."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from .client import Client
from .codes import STORED, ResponseCode, refusal
from .connection import Connection
from .errors import BrokerBusy, BrokerRefused, ConnectFailed, HeldBack, IllegalMessage, OutcomeUnknown, RocketMQError
from .exchange import serve, wait
from .frames import Frame
from .lanes import Batch, Failure, Lane, another_broker_may_help
from .messages import Message, check_message
from .rotation import Rotation
from .route import MessageQueue, TopicRoute
from .send_requests import send_request

__all__ = ["Round", "SendOutcome", "Sender"]

# A broker refuses what it had to leave waiting for 200 ms (waitTimeMillsInSendQueue). So much, by the count of `Batch`, it stores in about
# 20; more makes nothing faster.
MAX_BYTES_UNDER_WAY = 2 * 1024 * 1024
# So many bytes of messages are worth the system calls that send them and look for answers.
SERVE_AT_BYTES = 64 * 1024


class SendOutcome(NamedTuple):
    """What became of one message: stored in `queue` at `queue_offset`, or `error`, at `queue` if it got as far as to have one."""

    # Not a frozen dataclass as other values are: there is one for every message, and this is made in a third of the time.
    queue: MessageQueue | None = None
    queue_offset: int = -1
    error: RocketMQError | None = None


_made = tuple.__new__  # which is twice as fast as the call that it is made of
_NO_TIME_LEFT = ConnectFailed("no time left to send")
_UNTRIED = SendOutcome(error=_NO_TIME_LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What all rounds of a producer share. The limits are messages in one request, and requests under way to one broker."""

    client: Client
    group: str
    clock: Callable[[], float]
    max_batch_messages: int
    max_requests: int
    rotation: Rotation = field(default_factory=Rotation)


@dataclass(slots=True)
class _Parcel:
    """A batch on its way to `queue`."""

    batch: Batch
    lane: Lane
    queue: MessageQueue


@dataclass(slots=True)
class _Broker:
    """A broker, what is ready to go to it, and what it has yet to answer, by opaque."""

    connection: Connection
    ready: deque[_Parcel] = field(default_factory=deque)
    under_way: dict[int, _Parcel] = field(default_factory=dict)
    bytes_under_way: int = 0
    fault: ConnectFailed | None = None


class Round:
    """Sends messages once and writes into `outcomes`, which grows as needed, what became of them.

    `failed` has the messages that a broker or the way to it failed, by place; `spoilt` the places of those whose batch was refused
    because of an illegal message in it, which has to be found by sending each alone.
    """

    def __init__(
        self,
        sender: Sender,
        outcomes: list[SendOutcome],
        deadline: float,
        *,
        fresh_routes: bool = False,
        to_go_alone: AbstractSet[int] = frozenset(),
    ) -> None:
        self.failed: dict[int, Failure] = {}
        self.spoilt: set[int] = set()
        self._sender = sender
        self._outcomes = outcomes
        self._deadline = deadline
        self._fresh_routes = fresh_routes
        self._to_go_alone = to_go_alone
        self._routes: dict[str, TopicRoute | RocketMQError] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}  # by topic and sharding key
        self._lanes_by_queue: dict[MessageQueue, Lane] = {}
        self._brokers: dict[str, _Broker] = {}  # by address
        self._ready_bytes = 0  # since the connections were served

    def send(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Send `messages`, given with their places and in order, and wait until all are answered, or the deadline."""
        try:
            self._send_while_checking(messages)
            self._finish()
        finally:  # nothing is under way here unless something was raised: a connection must not keep answers that nobody takes
            for broker in self._brokers.values():
                for opaque in broker.under_way:
                    broker.connection.abandon(opaque)

    def _send_while_checking(self, messages: Iterable[tuple[int, Message]]) -> None:
        lanes, outcomes, to_go_alone = self._lanes, self._outcomes, self._to_go_alone
        for place, message in messages:
            if place == len(outcomes):
                outcomes.append(_UNTRIED)
            try:
                properties = check_message(message)
            except IllegalMessage as error:
                outcomes[place] = SendOutcome(error=error)
                continue
            lane = lanes.get((message.topic, message.sharding_key)) or self._open_lane(place, message)
            if lane is None:
                continue
            goes_alone = message.delay_level > 0 or place in to_go_alone
            if lane.add(place, message, len(message.body) + len(properties), goes_alone):
                self._make_ready(lane)
                if self._ready_bytes > SERVE_AT_BYTES:
                    self._ready_bytes = 0
                    self._all_settled()
                    serve(self._connections(), 0.0)

    # From a message to a batch that is ready.

    def _open_lane(self, place: int, message: Message) -> Lane | None:
        """Return a lane for such messages; without a route there is none, and the message has failed.

        Where batches are made, all keys of a queue share a lane, so that there are few batches; single messages are ordered by key alone.
        """
        topic, sharding_key = message.topic, message.sharding_key
        route = self._route(topic)
        if isinstance(route, RocketMQError):
            self._fail(Batch([place], [message]), route)
            return None
        queue = route.queue_for_key(sharding_key) if sharding_key else None
        lane = Lane(route, queue, self._sender.max_batch_messages)
        if queue and self._sender.max_batch_messages > 1:
            lane = self._lanes_by_queue.setdefault(queue, lane)
        self._lanes[topic, sharding_key] = lane
        return lane

    def _route(self, topic: str) -> TopicRoute | RocketMQError:
        known = self._routes.get(topic)
        if known is None:
            try:
                known = self._sender.client.route(topic, self._deadline, fresh=self._fresh_routes)
            except RocketMQError as error:
                known = error
            if isinstance(known, TopicRoute) and not known.writable:
                known = BrokerBusy(ResponseCode.SERVICE_NOT_AVAILABLE, f"no writable queue of topic {topic!r}")
            self._routes[topic] = known
        return known

    def _make_ready(self, lane: Lane) -> None:
        """Give the lane's complete batches to their brokers, as far as they need not wait for one another."""
        while not lane.is_busy and (taken := lane.next_batch()):
            batch, held_back = taken
            if held_back.places:
                self._fail(held_back, HeldBack("an earlier message with the same sharding key was not stored"))
            if batch.places:
                queue = lane.queue or self._sender.rotation.next_queue(lane.route)
                lane.is_busy = lane.queue is not None
                self._ready_bytes += batch.stored_bytes
                self._broker(lane.route.addresses[queue.broker_name]).ready.append(_Parcel(batch, lane, queue))

    def _broker(self, address: str) -> _Broker:
        broker = self._brokers.get(address)
        if broker is None:
            broker = self._brokers[address] = _Broker(self._sender.client.connection(address))
        return broker

    # From a batch that is ready to an outcome.

    def _connections(self) -> list[Connection]:
        return [broker.connection for broker in self._brokers.values()]

    def _finish(self) -> None:
        """Send what is left, and wait."""
        for lane in self._lanes.values():
            lane.cut()
            self._make_ready(lane)
        wait(self._connections(), self._all_settled, self._deadline)
        for broker in self._brokers.values():
            if broker.under_way:
                broker.connection.give_up("in time")
        self._all_settled()

    def _all_settled(self) -> bool:
        """Settle what is answered and submit what there is room for; tell whether nothing is left of either."""
        is_settled = True
        for broker in self._brokers.values():
            for opaque in broker.connection.answered(broker.under_way.keys()):
                parcel = broker.under_way.pop(opaque)
                broker.bytes_under_way -= parcel.batch.stored_bytes
                self._settle(broker, parcel, broker.connection.take(opaque))
            self._fill(broker)
            is_settled = is_settled and not broker.under_way
        return is_settled

    def _fill(self, broker: _Broker) -> None:
        max_requests = self._sender.max_requests
        while broker.ready and len(broker.under_way) < max_requests and broker.bytes_under_way < MAX_BYTES_UNDER_WAY:
            parcel = broker.ready.popleft()
            fault = broker.fault
            if time.monotonic() >= self._deadline:
                fault = _NO_TIME_LEFT
            elif fault is None:
                fault = self._submit(broker, parcel)
            if fault is not None:
                self._settle(broker, parcel, fault)

    def _submit(self, broker: _Broker, parcel: _Parcel) -> ConnectFailed | None:
        try:
            broker.connection.begin()
        except ConnectFailed as error:
            return error
        now_ms = int(self._sender.clock() * 1000)
        code, fields, body = send_request(self._sender.group, parcel.queue, parcel.batch.messages, now_ms)
        broker.under_way[broker.connection.submit(code, fields, body)] = parcel
        broker.bytes_under_way += parcel.batch.stored_bytes
        return None

    def _settle(self, broker: _Broker, parcel: _Parcel, answer: Frame | RocketMQError | None) -> None:
        parcel.lane.is_busy = False
        if isinstance(answer, Frame) and answer.code in STORED:
            self._stored(parcel, answer)
        elif answer is not None:
            error = answer if isinstance(answer, RocketMQError) else refusal(answer.code, answer.remark)
            self._refused(broker, parcel, error)
        self._make_ready(parcel.lane)

    def _stored(self, parcel: _Parcel, answer: Frame) -> None:
        queue, outcomes = parcel.queue, self._outcomes
        try:
            first_offset = int(answer.fields["queueOffset"])
        except (KeyError, ValueError):
            first_offset = -1
        if first_offset < 0:
            outcome = SendOutcome(queue)
            for place in parcel.batch.places:
                outcomes[place] = outcome
            return
        for offset, place in enumerate(parcel.batch.places, first_offset):
            outcomes[place] = _made(SendOutcome, (queue, offset, None))

    def _refused(self, broker: _Broker, parcel: _Parcel, error: RocketMQError) -> None:
        batch = parcel.batch
        if another_broker_may_help(error) and error is not _NO_TIME_LEFT:
            self._sender.rotation.avoid(parcel.queue.broker_name)
        if isinstance(error, ConnectFailed):
            broker.fault = error  # nobody there: what else is ready need not dial again
        if isinstance(error, BrokerRefused) and error.code == ResponseCode.MESSAGE_ILLEGAL and len(batch.places) > 1:
            self.spoilt.update(batch.places)
        parcel.lane.failed_keys.update([message.sharding_key for message in batch.messages if message.sharding_key])
        self._fail(batch, error, parcel.queue)

    def _fail(self, batch: Batch, error: RocketMQError, queue: MessageQueue | None = None) -> None:
        outcome = SendOutcome(queue, error=error)
        for place, message in zip(batch.places, batch.messages, strict=True):
            self.failed[place] = (message, error)
            # What may be stored stays so, however the second try fails.
            if not isinstance(self._outcomes[place].error, OutcomeUnknown):
                self._outcomes[place] = outcome
