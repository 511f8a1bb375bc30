"""Plans and messages as people and tests see them: the lines of `mqbridge dry-run`."""

import base64
from typing import Any

from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Drop, Failed, Planned, Reject, Send

__all__ = ["render_message", "render_plan"]


def render_plan(event: int, planned: Planned) -> dict[str, Any]:
    """Return one dry-run line; `event` is the place of the event among those given."""
    outcome = planned.outcome
    line: dict[str, Any] = {
        "event": event,
        "record": planned.record.id,
        "rule": None if planned.rule is None else planned.rule.rule_id,
        "outcome": {Send: "send", Drop: "drop", Reject: "reject", Failed: "fail"}[type(outcome)],
    }
    if not isinstance(outcome, Send):
        line["reason"] = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
    line["stages"] = [{"stage": stage.name, "verdict": stage.verdict} for stage in planned.stages]
    line["messages"] = [render_message(message) for message in outcome.messages] if isinstance(outcome, Send) else []
    return line


def render_message(message: MqttMessage | RocketMQMessage) -> dict[str, Any]:
    """Return a message that is to be sent; what it does not have is absent."""
    return _mqtt(message) if isinstance(message, MqttMessage) else _rocketmq(message)


def _rocketmq(message: RocketMQMessage) -> dict[str, Any]:
    body, encoding = _text(message.body)
    optional = {"tags": message.tags, "keys": message.keys, "sharding_key": message.sharding_key}
    return {
        "to": "rocketmq",
        "instance": message.instance_id,
        "topic": message.topic,
        "id": message.message_id,
        **{name: value for name, value in optional.items() if value},
        **({"delay_level": message.delay_level} if message.delay_level else {}),
        "properties": dict(message.properties),
        "body": body,
        "body_encoding": encoding,
    }


def _mqtt(message: MqttMessage) -> dict[str, Any]:
    payload, encoding = _text(message.payload)
    line: dict[str, Any] = {
        "to": "mqtt",
        "instance": message.instance_id,
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "payload": payload,
        "payload_encoding": encoding,
    }
    if message.user_properties:
        line["user_properties"] = [list(pair) for pair in message.user_properties]
    if message.message_expiry_interval is not None:
        line["message_expiry_interval"] = message.message_expiry_interval
    if message.content_type:
        line["content_type"] = message.content_type
    return line


def _text(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"
