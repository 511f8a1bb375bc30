"""Read what a consumer group has not consumed yet, and end: for a process that lives for a moment, such as a scheduled function.

It does not join the group. A member that comes for seconds would have the other members share the queues anew each time, and one that is
killed would keep its share for the two minutes after which the broker forgets it. Instead it takes the broker's lock on each queue, which
Java's orderly consumers take (ConsumeMessageOrderlyService): one request, given to one reader at a time, and free again after 60 s without
a word from its holder (RebalanceLockManager). Where the group has members, nothing is taken: they ask for no lock, and would read the same.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial

from .client import Client
from .codes import RequestCode
from .errors import BrokerRefused, ProtocolError, RocketMQError, RouteNotFound
from .exchange import Request, exchange, require
from .frames import Frame
from .group_reader import GroupReader, queue_of
from .names import check_group
from .offsets import QueueProgress
from .route import MessageQueue, parse_json
from .starting import StartFrom, start_offset
from .stored_messages import StoredMessage
from .subscription import Subscription

__all__ = ["Drain"]

# The broker's RebalanceLockManager.REBALANCE_LOCK_MAX_LIVE_TIME is 60 s; Java's ProcessQueue trusts a lock for 30 s, and asks for it anew
# every 20 s.
RENEW_S = 20.0
TRUST_S = 30.0
_NO_MEMBERS = "no consumer for this group"  # ConsumerManageProcessor.getConsumerListByGroup, 4.9 and 5.x


class Drain:
    """Reads `topic` for `group` until nothing is left. Not for several threads at once.

    First `open`, then `pull`, `settle` and `commit` until `is_done`, and `close` in any case. What is not settled is given out again by the
    next drain, or the next member.

    `members` are those of the group that were there at `open`: then there is nothing to do. `taken` counts the queues that another drain
    holds. `problem` is the last thing that went wrong; what is of other brokers goes on.
    """

    def __init__(self, client: Client, *, group: str, topic: str, start_from: StartFrom | None = None) -> None:
        check_group(group)
        self._client = client
        self._reader = GroupReader(client, group)
        self._group = group
        self._topic = topic
        self._start_from = start_from or StartFrom.last()
        self._id = f"mqbridge-drain@{os.getpid()}@{os.urandom(6).hex()}"
        version = int(time.time() * 1000)
        self._subscriptions = {
            each: Subscription(topic=each, expression="*", version=version) for each in (topic, f"%RETRY%{group}")
        }
        self._progress: dict[MessageQueue, QueueProgress] = {}
        self._running: set[MessageQueue] = set()
        self._locked: set[MessageQueue] = set()
        self._locked_at = (0.0, 0.0)
        self._has_pulled = False
        self.members: tuple[str, ...] = ()
        self.taken = 0
        self.problem: RocketMQError | None = None

    @property
    def is_done(self) -> bool:
        """Whether no queue has more for this drain."""
        return not self._running

    @property
    def left(self) -> int:
        """Messages in the held queues that are not settled, as far as the brokers have told."""
        return sum(each.unsettled_count + max(0, each.end - each.next_offset) for each in self._progress.values())

    def positions(self) -> Mapping[MessageQueue, int]:
        """Return the offset of each held queue that the group has settled everything before."""
        return {queue: progress.committable for queue, progress in self._progress.items()}

    def open(self, deadline: float, *, but: Collection[MessageQueue] = ()) -> None:
        """Take the queues that nobody else reads, without those of `but`, and find where the group stands in each.

        Raises:
            RocketMQError: the topic has no route, or no broker answered.
        """
        route = self._client.route(self._topic, deadline)
        addresses = dict(route.addresses)
        for name, address in route.addresses.items():
            try:
                self.members += tuple(self._reader.members(address, deadline))
            except RocketMQError as error:
                if not (isinstance(error, BrokerRefused) and error.remark.startswith(_NO_MEMBERS)):
                    self.problem = error
                    del addresses[name]
        if self.members:
            return
        wanted = {*route.readable, *self._retry_queues(deadline)} - set(but)
        held = self._lock({queue for queue in wanted if queue.broker_name in addresses}, deadline)
        for queue in sorted(held):
            try:
                call = partial(self._reader.call, self._reader.address(queue, deadline), deadline=deadline)
                self._progress[queue] = start_offset(queue, self._group, self._start_from, call)
            except RocketMQError as error:
                self.problem = error
        self._running = set(self._progress)
        if not self._progress and self.problem is not None:
            raise self.problem

    def pull(self, deadline: float) -> list[StoredMessage]:
        """Return what comes next in every queue that may have more, 32 messages of each at most; nothing is waited for.

        The order within a queue is the stored order. A queue that has no more, or whose broker does not answer, is done.
        """
        self.renew(deadline)
        queues, requests = [], list[Request]()
        for queue in sorted(self._running):
            try:
                progress, subscription = self._progress[queue], self._subscriptions[queue.topic]
                requests.append(
                    self._reader.pull_request(queue, progress, subscription, suspend_ms=0, deadline=deadline)
                )
                queues.append(queue)
            except RocketMQError as error:
                self._fail(queue, error)
        messages: list[StoredMessage] = []
        for queue, answer in zip(queues, exchange(requests, deadline), strict=True):
            progress = self._progress[queue]
            before = progress.next_offset
            try:
                messages += self._reader.pulled(queue, progress, self._subscriptions[queue.topic], answer)
            except RocketMQError as error:
                self._fail(queue, error)
            if progress.next_offset == before:
                self.stop(queue)
        if not self._has_pulled:
            # Where the group starts is committed at once: what arrives from now on must not be skipped by "last" the next time.
            # Not before the first pull: that makes a group which the broker does not know, and 5.x takes no offset of such a one.
            self._has_pulled = True
            self.commit(deadline)
        return messages

    def renew(self, deadline: float) -> None:
        """Ask for the locks again if they are 20 s old; what another has meanwhile is his, and nothing of it is committed.

        `pull` and `close` do so; who hands on for long what was pulled does it in between.
        """
        age_s = self._lock_age_s()
        if age_s < RENEW_S or not self._progress:
            return
        held = self._lock(set(self._progress), deadline)
        if self._lock_age_s() > TRUST_S:
            held = set()  # no broker answered, and the locks may have gone to another
        for queue in set(self._progress) - held:
            self.stop(queue)
            del self._progress[queue]

    def stop(self, queue: MessageQueue) -> None:
        """Pull no more of this queue."""
        self._running.discard(queue)

    def settle(self, messages: Iterable[StoredMessage]) -> None:
        """Note that these messages need no delivery any more."""
        for message in messages:
            progress = self._progress.get(queue_of(message))
            if progress is not None:
                progress.settle(message.queue_offset)

    def send_back(self, message: StoredMessage, *, delay_level: int, deadline: float) -> None:
        """Have the broker store `message` for another try after `delay_level`, or, if that is negative, in %DLQ%group.

        Raises:
            RocketMQError: the broker did not take it.
        """
        self._reader.send_back(message, delay_level=delay_level, deadline=deadline)

    def commit(self, deadline: float) -> None:
        """Have the brokers note what is settled; what they do not is given out again."""
        try:
            self._reader.commit(self._progress, deadline)
        except RocketMQError as error:
            self.problem = error

    def close(self, deadline: float) -> None:
        """Commit, and let go of the queues. The client stays open."""
        self.renew(deadline)
        self.commit(deadline)
        self._exchange_locks(RequestCode.UNLOCK_BATCH_MQ, self._locked, deadline)
        self._running, self._locked = set(), set()

    def _retry_queues(self, deadline: float) -> tuple[MessageQueue, ...]:
        try:
            return self._client.route(f"%RETRY%{self._group}", deadline).readable
        except RouteNotFound:
            return ()  # no message of this group was ever sent back

    def _fail(self, queue: MessageQueue, error: RocketMQError) -> None:
        self.problem = error
        self.stop(queue)

    # The locks.

    def _lock_age_s(self) -> float:
        # The clock that stops while a machine is frozen does not count for a lock.
        monotonic, wall = self._locked_at
        return max(time.monotonic() - monotonic, time.time() - wall)

    def _lock(self, queues: set[MessageQueue], deadline: float) -> set[MessageQueue]:
        asked_at = time.monotonic(), time.time()
        answers = self._exchange_locks(RequestCode.LOCK_BATCH_MQ, queues, deadline)
        held: set[MessageQueue] = set()
        for broker_name, answer in answers.items():
            asked = {queue for queue in queues if queue.broker_name == broker_name}
            try:
                given = _queues_of(require(answer)) & asked
            except RocketMQError as error:
                self.problem = error
                continue
            self.taken += len(asked - given)
            held |= given
        if held:
            self._locked_at = asked_at
            self._locked = held
        return held

    def _exchange_locks(
        self, code: RequestCode, queues: set[MessageQueue], deadline: float
    ) -> dict[str, Frame | RocketMQError]:
        requests: dict[str, Request] = {}
        answers: dict[str, Frame | RocketMQError] = {}
        for name in sorted({queue.broker_name for queue in queues}):
            of_broker = sorted(queue for queue in queues if queue.broker_name == name)
            body = json.dumps(
                {
                    "clientId": self._id,
                    "consumerGroup": self._group,
                    "mqSet": [
                        {"brokerName": queue.broker_name, "queueId": queue.queue_id, "topic": queue.topic}
                        for queue in of_broker
                    ],
                }
            ).encode()
            try:
                address = self._reader.address(of_broker[0], deadline)
            except RocketMQError as error:
                answers[name] = error
                continue
            requests[name] = (self._client.connection(address), code, {}, body)
        return answers | dict(zip(requests, exchange(requests.values(), deadline), strict=True))


def _queues_of(answer: Frame) -> set[MessageQueue]:
    try:
        return {
            MessageQueue(str(each["topic"]), str(each["brokerName"]), int(each["queueId"]))
            for each in parse_json(answer.body)["lockOKMQSet"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"answer to a lock is not readable: {error!r}") from error
