"""Pull messages as a member of a consumer group: heartbeat, rebalance, long polling, offsets committed after settlement."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from .client import Client
from .codes import RequestCode, ResponseCode
from .connection import Connection
from .errors import ConnectFailed, RocketMQError, RouteNotFound
from .exchange import Request, exchange, require, wait
from .frames import Frame
from .group_reader import PULL_MESSAGES, GroupReader, queue_of
from .names import check_group
from .offsets import QueueProgress
from .route import MessageQueue, TopicRoute
from .starting import StartFrom, start_offset
from .stored_messages import StoredMessage
from .subscription import Subscription, allocate_averagely

__all__ = ["Consumer"]

HEARTBEAT_S = 20.0  # the broker forgets a member after 120 s (ClientManageProcessor); Java's client beats every 30 s
REBALANCE_S = 20.0  # as Java's RebalanceService
COMMIT_S = 1.0  # what a crash may repeat
SUSPEND_MS = 15_000  # how long the broker may hold a pull that finds nothing (DefaultMQPushConsumerImpl)
ANSWER_MARGIN_S = 10.0  # beyond SUSPEND_MS before a pull counts as lost
REQUEST_TIMEOUT_S = 5.0
RETRY_S = 1.0  # after a failure, before the same queue or broker is asked again
RETRY_TOPIC_LOOKS = 30  # so often it is looked for every RETRY_S; a broker may be set up not to make it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pull:
    connection: Connection
    opaque: int
    expires: float


class Consumer:
    """A member of the consumer group `group` that reads `topic`. Not for several threads at once.

    Call `poll` again and again: it also sends heartbeats, shares the queues with the other members and commits offsets. A message is
    given out again, to whoever reads its queue then, unless it was settled.

    `expression` says which messages are wanted: of type TAG, "*" or tags separated by "||"; of type SQL92, a condition on properties.

    `problem` is the latest failure that is not overcome yet; `poll` goes on trying and raises nothing for it.
    """

    def __init__(
        self,
        client: Client,
        *,
        group: str,
        topic: str,
        expression: str = "*",
        expression_type: str = "TAG",
        start_from: StartFrom | None = None,
        max_unsettled: int = 1_000,
    ) -> None:
        check_group(group)
        self._client = client
        self._group = group
        self._topic = topic
        self._start_from = start_from or StartFrom.last()
        self._max_unsettled = max_unsettled
        self._member_id = f"mqbridge@{os.getpid()}@{os.urandom(6).hex()}"
        version = int(time.time() * 1000)
        # Every member of a group must name the same topics, and Java's name the retry topic too.
        self._subscriptions = {
            topic: Subscription(topic=topic, expression=expression, version=version, expression_type=expression_type),
            f"%RETRY%{group}": Subscription(topic=f"%RETRY%{group}", expression="*", version=version),
        }
        self._reader = GroupReader(client, group)
        self._progress: dict[MessageQueue, QueueProgress] = {}
        self._pulls: dict[MessageQueue, _Pull] = {}
        self._not_before: dict[MessageQueue, float] = {}
        self._heartbeat_due = self._rebalance_due = self._commit_due = 0.0
        self._is_member = False
        self._members_changed = False
        self._heartbeat_tried = 0.0
        self._retry_topic_looks = 0
        self.problem: RocketMQError | None = None
        client.on_request(self._on_request)

    @property
    def unsettled_count(self) -> int:
        """Messages given out and not settled."""
        return sum(progress.unsettled_count for progress in self._progress.values())

    def poll(self, timeout_s: float) -> list[StoredMessage]:
        """Return what has arrived, waiting up to `timeout_s` if nothing has. The order within a queue is the stored order."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._keep_up()
            self._ask()
            messages = self._collect()
            if messages:
                return messages
            self._wait(min(deadline, time.monotonic() + RETRY_S))
            if time.monotonic() >= deadline:
                return self._collect()

    def settle(self, messages: Iterable[StoredMessage]) -> None:
        """Note that these messages need no delivery any more; their offsets are committed within a second of polling."""
        for message in messages:
            progress = self._progress.get(queue_of(message))
            if progress is not None:
                progress.settle(message.queue_offset)

    def send_back(self, message: StoredMessage, *, delay_level: int) -> None:
        """Have the broker store `message` for another try after `delay_level`, or, if that is negative, in %DLQ%group.

        Raises:
            RocketMQError: the broker did not take it; the message is still this member's.
        """
        self._reader.send_back(message, delay_level=delay_level, deadline=time.monotonic() + REQUEST_TIMEOUT_S)

    def close(self) -> None:
        """Commit what is settled, leave the group, so that others take over at once, and close the connections."""
        try:
            self._commit(time.monotonic() + REQUEST_TIMEOUT_S)
        except RocketMQError as error:
            self.problem = error
        self._unregister()
        self._client.close()

    # What keeps the membership up.

    def _keep_up(self) -> None:
        now = time.monotonic()
        if any(connection.is_closed and connection.times_opened for connection in self._client.connections()):
            # The broker forgot us with the connection. It hears of us before it is asked for messages again.
            self._heartbeat_due = min(self._heartbeat_due, self._heartbeat_tried + RETRY_S)
        if self._members_changed:
            self._members_changed = False
            self._rebalance_due = 0.0
        try:
            if now >= self._heartbeat_due:
                self._heartbeat_due, self._heartbeat_tried = now + RETRY_S, now
                self._is_member = False
                self._heartbeat()
                self._is_member = True
                self._heartbeat_due = now + HEARTBEAT_S
            if now >= self._rebalance_due and self._is_member:
                self._rebalance_due = now + RETRY_S
                self._rebalance()
                self._rebalance_due = now + (RETRY_S if self._expects_retry_topic() else REBALANCE_S)
                if all(until <= now for until in self._not_before.values()):
                    self.problem = (
                        None  # no pull has failed since; the next answer may take as long as no message comes
                    )
            if now >= self._commit_due:
                self._commit_due = now + COMMIT_S
                self._commit(now + REQUEST_TIMEOUT_S)
        except RocketMQError as error:
            self.problem = error

    def _heartbeat(self) -> None:
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        body = json.dumps(
            {
                "clientID": self._member_id,
                "producerDataSet": [],
                "consumerDataSet": [
                    {
                        "groupName": self._group,
                        "consumeType": "CONSUME_PASSIVELY",
                        "messageModel": "CLUSTERING",
                        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
                        "subscriptionDataSet": [each.as_heartbeat() for each in self._subscriptions.values()],
                        "unitMode": False,
                    }
                ],
            }
        ).encode()
        addresses = self._client.route(self._topic, deadline).addresses.values()
        requests: list[Request] = [
            (self._client.connection(address), RequestCode.HEART_BEAT, {}, body) for address in addresses
        ]
        # A broker that is down must not keep the others from hearing of us.
        answers = exchange(requests, deadline)
        if not any(isinstance(answer, Frame) and answer.code == ResponseCode.SUCCESS for answer in answers):
            for answer in answers:
                require(answer)
            raise ConnectFailed(f"no broker of topic {self._topic!r} is known")

    def _rebalance(self) -> None:
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        route = self._client.route(self._topic, deadline)
        members = self._members(route, deadline)
        if self._member_id not in members:
            raise ConnectFailed("the broker does not list this member yet")
        mine: set[MessageQueue] = set()
        for topic in self._subscriptions:
            try:
                queues = self._client.route(topic, deadline).readable
            except RouteNotFound:
                if topic == self._topic:
                    raise
                continue  # the broker makes the retry topic with the first heartbeat; its route follows
            mine.update(allocate_averagely(queues, members, self._member_id))
        self._release(set(self._progress) - mine, deadline)
        problem: RocketMQError | None = None
        for queue in sorted(mine - set(self._progress)):
            try:
                address = self._reader.address(queue, deadline)
                call = partial(self._reader.call, address, deadline=time.monotonic() + REQUEST_TIMEOUT_S)
                self._progress[queue] = start_offset(queue, self._group, self._start_from, call)
            except RocketMQError as error:
                problem = error  # its broker is down; the queues of the others can be read
        if problem is not None:
            raise problem
        # Where the group starts is committed at once: what arrives from now on must not be skipped by "last" after a crash.
        self._commit(deadline)

    def _expects_retry_topic(self) -> bool:
        """Tell whether the retry topic, which the broker makes with a group's first heartbeat, should have a route soon."""
        self._retry_topic_looks += 1
        is_read = any(queue.topic.startswith("%RETRY%") for queue in self._progress)
        return bool(self._progress) and not is_read and self._retry_topic_looks <= RETRY_TOPIC_LOOKS

    def _members(self, route: TopicRoute, deadline: float) -> list[str]:
        error: RocketMQError = ConnectFailed(f"no broker of topic {self._topic!r} can be reached")
        for address in route.addresses.values():
            try:
                return self._reader.members(address, deadline)
            except RocketMQError as refused:
                error = refused
        raise error

    def _release(self, queues: set[MessageQueue], deadline: float) -> None:
        try:
            if queues:
                self._commit(deadline)
        except RocketMQError as error:
            self.problem = error  # the next owner repeats what could not be committed
        for queue in queues:
            del self._progress[queue]
            pull = self._pulls.pop(queue, None)
            if pull is not None:
                pull.connection.abandon(pull.opaque)

    def _commit(self, deadline: float) -> None:
        self._reader.commit(self._progress, deadline)

    def _unregister(self) -> None:
        fields = {"clientID": self._member_id, "consumerGroup": self._group}
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        open_connections = [connection for connection in self._client.connections() if connection.is_open]
        exchange([(each, RequestCode.UNREGISTER_CLIENT, fields, b"") for each in open_connections], deadline)

    def _on_request(self, frame: Frame) -> None:
        if frame.code == RequestCode.NOTIFY_CONSUMER_IDS_CHANGED:
            self._members_changed = True

    # Pulling.

    def _ask(self) -> None:
        now = time.monotonic()
        # A pull from a queue that had messages last time will bring some; one from a queue that had none is held by the broker, perhaps
        # for ever, and must not keep the others waiting.
        bringing = sum(self._progress[queue].had_messages for queue in self._pulls)
        expected = self.unsettled_count + PULL_MESSAGES * bringing
        for queue, progress in self._progress.items():
            if queue in self._pulls or now < self._not_before.get(queue, 0.0) or expected >= self._max_unsettled:
                continue
            try:
                self._pulls[queue] = self._submit_pull(queue, progress, now)
                expected += PULL_MESSAGES * progress.had_messages
            except RocketMQError as error:
                self._postpone(queue, error)

    def _submit_pull(self, queue: MessageQueue, progress: QueueProgress, now: float) -> _Pull:
        deadline = now + REQUEST_TIMEOUT_S
        subscription = self._subscriptions[queue.topic]
        connection, code, fields, _ = self._reader.pull_request(
            queue, progress, subscription, suspend_ms=SUSPEND_MS, deadline=deadline
        )
        connection.begin()
        opaque = connection.submit(code, fields)
        return _Pull(connection=connection, opaque=opaque, expires=now + SUSPEND_MS / 1000 + ANSWER_MARGIN_S)

    def _collect(self) -> list[StoredMessage]:
        now = time.monotonic()
        messages: list[StoredMessage] = []
        for queue, pull in list(self._pulls.items()):
            answer = pull.connection.take(pull.opaque)
            if answer is None:
                if now >= pull.expires:
                    pull.connection.close()
                continue
            del self._pulls[queue]
            try:
                messages += self._reader.pulled(queue, self._progress[queue], self._subscriptions[queue.topic], answer)
                self.problem = None
            except RocketMQError as error:
                self._postpone(queue, error)
        return messages

    def _postpone(self, queue: MessageQueue, error: RocketMQError) -> None:
        self.problem = error
        self._not_before[queue] = time.monotonic() + RETRY_S

    def _wait(self, until: float) -> None:
        def something_to_do() -> bool:
            return self._members_changed or any(
                pull.connection.has_answer(pull.opaque) for pull in self._pulls.values()
            )

        connections = {pull.connection for pull in self._pulls.values()}
        if connections:
            wait(connections, something_to_do, until)
        if not something_to_do():
            time.sleep(max(0.0, min(until - time.monotonic(), 0.05)))
