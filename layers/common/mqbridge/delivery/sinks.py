"""Where messages go: one sink per instance, made when first needed and kept while the process lives."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rules import MqttInstance, RocketMQInstance, Rules

__all__ = ["OpenSinks", "Sent", "Sink", "Sinks"]

Sent = Delivered | Failed | Reject
Outgoing = MqttMessage | RocketMQMessage


class Sink(Protocol):
    """A connection to one broker or cluster."""

    def send(self, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Send `messages`, in order, and return what became of each; raises for none of them.

        Delivered means stored: the broker answered that it holds the message. `deadline` is time.monotonic seconds.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Sinks(Protocol):
    """The sinks of all instances; what tests put captured sinks in the place of."""

    def send(self, kind: str, instance_id: str, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Send through the sink of one instance; `kind` is "mqtt" or "rocketmq"."""
        ...


class OpenSinks:
    """The real sinks.

    `on_retry` is told when messages are sent once more within a call: through which sink, as kind:id, why, in a word, and how many.
    """

    def __init__(
        self, rules: Rules, on_retry: Callable[[str, str, int], None] = lambda _sink, _error_type, _amount: None
    ) -> None:
        self._rules = rules
        self._on_retry = on_retry
        self._open: dict[tuple[str, str], Sink] = {}

    def send(self, kind: str, instance_id: str, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Send through the instance's sink, opening it if this is the first time."""
        try:
            sink = self._open.get((kind, instance_id)) or self._opened(kind, instance_id)
        except Exception as error:
            # A secret that cannot be resolved, a file of certificates that is not there: this instance's messages wait for it.
            return [Failed("cannot_connect", f"{kind} instance {instance_id}: {error}")] * len(messages)
        return sink.send(messages, deadline)

    def follow(self, rules: Rules) -> None:
        """Go by other rules from now on; the connections to instances that those do not have, or not so, are closed."""
        kept = {}
        for (kind, instance_id), sink in self._open.items():
            if _instance(rules, kind, instance_id) == _instance(self._rules, kind, instance_id):
                kept[kind, instance_id] = sink
            else:
                sink.close()
        self._rules, self._open = rules, kept

    def close(self) -> None:
        """Close all connections."""
        for sink in self._open.values():
            sink.close()
        self._open.clear()

    def _opened(self, kind: str, instance_id: str) -> Sink:
        makers: dict[str, Callable[[str], Sink]] = {"mqtt": self._mqtt, "rocketmq": self._rocketmq}
        sink = self._open[kind, instance_id] = makers[kind](instance_id)
        return sink

    def _mqtt(self, instance_id: str) -> Sink:
        instance = self._rules.mqtt[instance_id]
        if instance.is_iot_data:
            from .iot_data_sink import IotDataSink

            return IotDataSink(instance)
        from .mqtt_sink import MqttSink  # here, because importing paho costs a cold start that publishes nothing 35 ms

        return MqttSink(instance)

    def _rocketmq(self, instance_id: str) -> Sink:
        from .rocketmq_sink import RocketMQSink

        on_retry = partial(self._on_retry, f"rocketmq:{instance_id}")
        return RocketMQSink(self._rules.rocketmq[instance_id], on_retry=on_retry)


def _instance(rules: Rules, kind: str, instance_id: str) -> MqttInstance | RocketMQInstance | None:
    return rules.mqtt.get(instance_id) if kind == "mqtt" else rules.rocketmq.get(instance_id)
