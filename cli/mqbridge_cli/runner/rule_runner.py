"""Everything that one rule needs to run: source, inbox, worker, bridge. Nothing of it is shared with another rule but the counters."""

import threading
import time

from functions.inbound.app import handler as inbound_handler
from functions.outbound.app import handler as outbound_handler
from mqbridge.delivery import OpenSinks
from mqbridge.handler import Bridge
from mqbridge.rules import BatchWindow, InboundRule, OutboundRule, Rules
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.mqtt_source import MqttSource
from mqbridge_cli.runner.rocketmq_source import RocketMQSource
from mqbridge_cli.runner.source import Source
from mqbridge_cli.runner.state import RuleState, State
from mqbridge_cli.runner.topics import wait_until_topic_exists
from mqbridge_cli.runner.worker import Worker

__all__ = ["RuleRunner"]

# Unsettled records per rule: enough that a slow answer of the sink does not idle the source, few enough to fit in memory.
MIN_CREDIT = 1_000
DRAIN_TIMEOUT_S = 20.0


class RuleRunner:
    """Run one data rule from `start` to `stop`; with `share`, this runner's part of it beside others'."""

    def __init__(self, rule: OutboundRule | InboundRule, rules: Rules, counters: Counters, share: str = "") -> None:
        self.flow = "outbound" if isinstance(rule, OutboundRule) else "inbound"
        self.state = RuleState(rule.rule_id)
        window = rule.run_options.batch_window or BatchWindow()
        credit = max(MIN_CREDIT, window.count)
        self._rule = rule
        self._rules = rules
        self._sinks = OpenSinks(rules)
        self._stopping = threading.Event()
        self.inbox = Inbox(window, credit)
        self._source = self._make_source(credit, counters, share)
        handler = outbound_handler if isinstance(rule, OutboundRule) else inbound_handler
        bridge = Bridge(rules, self._sinks, counters)
        self.worker = Worker(rule.rule_id, self._source, self.inbox, handler, bridge, self._prepare)

    @property
    def rule_id(self) -> str:
        """The rule's id."""
        return self._rule.rule_id

    @property
    def endpoint(self) -> str:
        """The id of the instance that the rule reads from."""
        return str(self._rule.source.instance_id)

    def start(self) -> None:
        """Begin, in the worker's thread: other rules do not wait for this one's brokers."""
        self.worker.start()

    def stop_reading(self) -> None:
        """Begin to stop: take nothing new, and finish what is here."""
        self._stopping.set()
        self.state.change(State.DRAINING)
        self._source.stop_reading()
        self.worker.drain()

    def finish(self, deadline: float) -> None:
        """Wait for what is under way until `deadline` (time.monotonic), acknowledge it, and disconnect."""
        self.worker.join(max(0.0, deadline - time.monotonic()))
        self._source.close()
        self._sinks.close()
        self.state.change(State.STOPPED)

    def _prepare(self) -> bool:
        if isinstance(self._rule, OutboundRule):
            # Subscribing first would make a session that gathers messages for a topic which may be a typing error.
            destination = self._rule.destination
            instance = self._rules.rocketmq[str(destination.instance_id)]
            wait_until_topic_exists(instance, destination.topic, self.state, self._stopping)
        return not self._stopping.is_set()

    def _make_source(self, credit: int, counters: Counters, share: str) -> Source:
        rule = self._rule
        if isinstance(rule, OutboundRule):
            return MqttSource(
                instance=self._rules.mqtt[str(rule.source.instance_id)],
                topic=rule.source.topic,
                rule=rule.rule_id,
                flow="outbound",
                inbox=self.inbox,
                credit=credit,
                state=self.state,
                counters=counters,
                share=share,
            )
        return RocketMQSource(
            instance=self._rules.rocketmq[str(rule.source.instance_id)],
            rule=rule,
            inbox=self.inbox,
            credit=credit,
            state=self.state,
        )
