"""An inbound rule's source: a member of the rule's consumer group. Offsets are committed only for what is settled."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from mqbridge.inbound_source import TO_DEAD_LETTERS, InboundSource
from mqbridge.rocketmq import open_client
from mqbridge.rules import InboundRule, RocketMQInstance
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.state import RuleState, State
from rocketmq_remoting import BrokerForbids, Consumer, RocketMQError, RouteNotFound, StoredMessage

__all__ = ["RocketMQSource"]


class RocketMQSource:
    """Consume an inbound rule's topic."""

    def __init__(
        self, *, instance: RocketMQInstance, rule: InboundRule, inbox: Inbox, credit: int, state: RuleState
    ) -> None:
        self._source = InboundSource(instance, rule)
        self._inbox = inbox
        self._state = state
        self._lock = threading.Lock()  # the worker and the keeper both poll, never at the same time
        self._refused: deque[StoredMessage] = deque()
        self._is_reading = True
        self._consumer = Consumer(
            open_client(instance),
            group=self._source.group,
            topic=self._source.topic,
            start_from=self._source.start_from,
            max_unsettled=credit,
        )

    def pump(self, timeout_s: float) -> None:
        """Stay a member of the group, and wait up to `timeout_s` for messages."""
        with self._lock:
            self._send_back_refused()
            messages = self._consumer.poll(timeout_s)
            self._show(self._consumer.problem)
            if self._is_reading:
                for message in messages:
                    self._receive(message)

    def settle(self, items: Sequence[Item]) -> None:
        """Have the offsets committed, within a second."""
        with self._lock:
            self._consumer.settle([item.token for item in items])

    def refuse(self, item: Item) -> bool:
        """Send the message to the group's own dead-letter topic, %DLQ%group; until the broker has it, it stays uncommitted."""
        with self._lock:
            self._refused.append(item.token)
        return True

    def stop_reading(self) -> None:
        """Take no more messages; offsets are still committed."""
        self._is_reading = False

    def close(self) -> None:
        """Commit, leave the group and disconnect."""
        with self._lock:
            self._send_back_refused()
            self._consumer.close()

    def _receive(self, message: StoredMessage) -> None:
        if not message.fault:
            self._inbox.put(self._item(message), time.monotonic())
            return
        self._source.tell_unreadable(message)
        self._refused.append(message)

    def _item(self, message: StoredMessage) -> Item:
        # What goes to one MQTT topic keeps its order.
        return Item(
            event=self._source.event(message), lane=message.properties.get("mqttSecondTopic", ""), token=message
        )

    def _send_back_refused(self) -> None:
        while self._refused:
            try:
                self._consumer.send_back(self._refused[0], delay_level=TO_DEAD_LETTERS)
            except RocketMQError as error:
                self._show(error)
                return
            self._consumer.settle([self._refused.popleft()])

    def _show(self, problem: RocketMQError | None) -> None:
        if not self._is_reading:
            return
        if problem is None:
            self._state.change(State.RUNNING)
            return
        is_refused = isinstance(problem, RouteNotFound | BrokerForbids) and self._state.snapshot.last_ok is None
        state = State.STARTING_FAILED if is_refused else State.RECONNECTING
        self._state.change(state, self._source.plain(problem), problem.name)
