"""Everything that one rule needs to run: source, inbox, worker, bridge. Nothing of it is shared with another rule but the counters."""

import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from functions.inbound.app import handler as inbound_handler
from functions.outbound.app import handler as outbound_handler
from functions.outbound.status import handler as status_handler
from functions.outflow.app import handler as outflow_handler
from mqbridge.delivery import OpenSinks
from mqbridge.handler import Bridge
from mqbridge.rules import BatchWindow, EventStreaming, InboundRule, OutboundRule, Rules, StatusRule
from mqbridge.secrets import UnresolvedSecret
from mqbridge.telemetry import Counters, count_retries
from mqbridge_cli.runner.blocking import OnBlock, stops_at_reject
from mqbridge_cli.runner.changes import RunnableRule, flow_of
from mqbridge_cli.runner.connection_journal import ConnectionJournal
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lambda_functions import Functions
from mqbridge_cli.runner.lane_order import TaskBridge
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.mqtt_source import MqttSource
from mqbridge_cli.runner.rocketmq_source import RocketMQSource
from mqbridge_cli.runner.source import Source
from mqbridge_cli.runner.state import RuleState, State
from mqbridge_cli.runner.status_source import StatusSource
from mqbridge_cli.runner.throttle import Throttle
from mqbridge_cli.runner.topics import LOOK_AGAIN_S, static_topics, wait_until_topics_exist
from mqbridge_cli.runner.watched_sinks import Contact, WatchedSinks
from mqbridge_cli.runner.worker import Worker

__all__ = ["DRAIN_TIMEOUT_S", "RuleRunner"]

# Unsettled records per rule: enough that a slow answer of the sink does not idle the source, few enough to fit in memory.
MIN_CREDIT = 1_000
DRAIN_TIMEOUT_S = 20.0

_HANDLERS = {
    "outbound": outbound_handler,
    "inbound": inbound_handler,
    "status": status_handler,
    "outflow": outflow_handler,
}


class RuleRunner:
    """Run one rule from `start` to `finish`; with `share`, this runner's part of it beside others'.

    `on_block` is called, in the worker's thread, when a task comes to a record that it is to stop at; then it has stopped.
    `state_path` is the folder of what has to outlive the process. With `functions`, those carry records out, by rules of their own: nothing
    but the source is connected to from here.
    """

    def __init__(
        self,
        rule: RunnableRule,
        rules: Rules,
        counters: Counters,
        state: RuleState,
        *,
        share: str = "",
        on_block: OnBlock = lambda _record, _reason, _detail: None,
        state_path: Path | None = None,
        functions: Functions | None = None,
    ) -> None:
        options = rule.run_options
        window = options.batch_window or BatchWindow()
        credit = max(MIN_CREDIT, window.count)
        self._rule = rule
        self._rules = rules
        self._state = state
        self._on_block = on_block
        self._state_path = state_path
        self._sinks = OpenSinks(rules, partial(count_retries, counters)) if functions is None else None
        self._watched = WatchedSinks(self._sinks) if self._sinks is not None else None
        self._stopping = threading.Event()
        self._is_closed = False
        self.inbox = Inbox(window, credit)
        self._source = self._make_source(credit, counters, share)
        stops = stops_at_reject(rule)
        flow, name = flow_of(rule), rule.rule_id
        self.worker = Worker(
            name,
            self._source,
            self.inbox,
            _HANDLERS[flow] if functions is None else functions.handler(flow, name, counters),
            self._bridge(counters, stops_at_reject=stops),
            self._prepare,
            throttle=Throttle(options.throttling, time.monotonic()) if options.throttling is not None else None,
            stop_at=self._stop_at if stops else None,
        )

    @property
    def contacts(self) -> Mapping[str, Contact]:
        """The last contact with each instance that something was sent to."""
        return self._watched.contacts if self._watched is not None else {}

    def start(self) -> None:
        """Begin, in the worker's thread: other rules do not wait for this one's brokers."""
        self.worker.start()

    def stop_reading(self) -> None:
        """Begin to stop: take nothing new, and finish what is here."""
        self._stopping.set()
        self._source.stop_reading()
        self.worker.drain()

    def finish(self, deadline: float) -> None:
        """Wait for what is under way until `deadline` (time.monotonic), acknowledge it, and disconnect; the MQTT session stays."""
        self.worker.join(max(0.0, deadline - time.monotonic()))
        self._close()

    def _stop_at(self, item: Item, failure: dict[str, Any]) -> None:
        if self._stopping.is_set():
            return  # the broker sends the record again, and what runs then decides
        self._on_block(str(item.event["id"]), failure["reason"], failure["detail"])
        self._source.stop_reading()
        self._close()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._source.close()
        if self._sinks is not None:
            self._sinks.close()

    def _bridge(self, counters: Counters, *, stops_at_reject: bool) -> Bridge | None:
        if self._watched is None:
            return None
        if isinstance(self._rule, EventStreaming):
            return TaskBridge(self._rules, self._watched, counters, stops_at_reject=stops_at_reject)
        return Bridge(self._rules, self._watched, counters)

    def _prepare(self) -> bool:
        """Subscribing first would make a session that gathers messages for a topic which may be a typing error."""
        instance_id, topics = _needed_topics(self._rule) if self._sinks is not None else ("", ())
        while topics and not self._stopping.is_set():
            try:
                wait_until_topics_exist(self._rules.rocketmq[instance_id], topics, self._state, self._stopping)
                break
            except (UnresolvedSecret, OSError) as error:
                self._state.change(State.STARTING_FAILED, f"{instance_id}: {error}")
                self._stopping.wait(LOOK_AGAIN_S)
        return not self._stopping.is_set()

    def _make_source(self, credit: int, counters: Counters, share: str) -> Source:
        rule = self._rule
        if isinstance(rule, InboundRule):
            return RocketMQSource(
                instance=self._rules.rocketmq[str(rule.source.instance_id)],
                rule=rule,
                inbox=self.inbox,
                credit=credit,
                state=self._state,
            )
        if isinstance(rule, StatusRule):
            return self._status_source(rule, credit, counters, share)
        source = rule.source.mqtt if isinstance(rule, EventStreaming) else rule.source
        return MqttSource(
            instance=self._rules.mqtt[str(source.instance_id)],
            topic=source.topic,
            rule=rule.rule_id,
            flow=flow_of(rule),
            inbox=self.inbox,
            credit=credit,
            state=self._state,
            counters=counters,
            share=share,
        )

    def _status_source(self, rule: StatusRule, credit: int, counters: Counters, share: str) -> Source:
        instance = self._rules.mqtt[str(rule.source.instance_id)]
        if instance.presence_from is None:
            raise ValueError(f"{rule.rule_id}: expected PresenceFrom of {instance.instance_id}, got nothing")
        return StatusSource(
            instance=instance,
            presence_from=instance.presence_from,
            rule=rule,
            inbox=self.inbox,
            credit=credit,
            state=self._state,
            counters=counters,
            share=share,
            journal=ConnectionJournal(self._state_path / f"{rule.rule_id}.connections") if self._state_path else None,
        )


def _needed_topics(rule: RunnableRule) -> tuple[str, tuple[str, ...]]:
    """Return the RocketMQ instance that a rule sends to, and the topics that must be there before it starts."""
    if isinstance(rule, OutboundRule | StatusRule):
        return str(rule.destination.instance_id), (rule.destination.topic,)
    if isinstance(rule, EventStreaming):
        sink = rule.sink.rocketmq.instance_id
        return str(sink.value if sink is not None else ""), static_topics(rule)
    return "", ()
