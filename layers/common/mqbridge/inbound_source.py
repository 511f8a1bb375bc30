"""An inbound rule's source on RocketMQ, however it is read: by a member of its group, or by a function that drains it now and then."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mqbridge.cloud_events import rocketmq_event
from mqbridge.namespace import plain_text, wire_name
from mqbridge.rules import InboundRule, RocketMQInstance
from mqbridge.telemetry import logger

if TYPE_CHECKING:
    from rocketmq_remoting import StartFrom, StoredMessage

__all__ = ["TO_DEAD_LETTERS", "InboundSource"]

TO_DEAD_LETTERS = -1  # the delay level that sends a message back straight to %DLQ%group


class InboundSource:
    """The source of `rule` on `instance`: names as they are on the wire, where it starts, its messages as events."""

    def __init__(self, instance: RocketMQInstance, rule: InboundRule) -> None:
        self._instance = instance
        self._rule = rule

    @property
    def group(self) -> str:
        """The consumer group."""
        return wire_name(self._instance.namespace, self._rule.consumer_group)

    @property
    def topic(self) -> str:
        """The topic."""
        return wire_name(self._instance.namespace, self._rule.source.topic)

    @property
    def start_from(self) -> "StartFrom":
        """Where the group starts in a queue that it never read."""
        from rocketmq_remoting import StartFrom

        text = self._rule.source.start_from
        if text == "LAST":
            return StartFrom.last()
        if text == "FIRST":
            return StartFrom.first()
        return StartFrom.at(round(datetime.fromisoformat(text.upper()).timestamp() * 1000))

    def plain(self, text: object) -> str:
        """Return what a broker said, with names as the rules have them."""
        return plain_text(self._instance.namespace, str(text))

    def event(self, message: "StoredMessage") -> dict[str, Any]:
        """Return the event of a message that could be read."""
        named = replace(message, topic=self.plain(message.topic)) if self._instance.namespace else message
        return rocketmq_event(rule=self._rule.rule_id, instance_id=self._instance.instance_id, message=named)

    def tell_unreadable(self, message: "StoredMessage") -> None:
        """Log a message that cannot be read."""
        logger().error(
            "message cannot be read; it goes to the group's dead-letter topic",
            extra={
                "rule": self._rule.rule_id,
                "rocketmq_topic": self.plain(message.topic),
                "broker": message.broker_name,
                "queue_id": message.queue_id,
                "message_id": message.message_id,
                "detail": message.fault,
            },
        )
