"""What was read from a broker as the CloudEvents that handlers take (DESIGN section 3). Pure."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mqbridge.messages import BROKER, QUEUE_ID
from rocketmq_remoting import RESERVED_PROPERTIES, StoredMessage

if TYPE_CHECKING:
    from mqbridge.mqtt import Publish

__all__ = ["mqtt_event", "rocketmq_event"]


def mqtt_event(
    *,
    rule: str,
    event_id: str,
    time_ms: int,
    instance_id: str,
    protocol_version: int,
    publish: "Publish",
    client_id: str,
) -> dict[str, Any]:
    """Return the event of a PUBLISH that was received."""
    topic = publish.topic
    parent, slash, levels = topic.partition("/")
    props: dict[str, Any] = {
        "instanceId": instance_id,
        "firstTopic": parent,
        "secondTopic": slash + levels,
        "qos": publish.qos,
        "retain": publish.retain,
        "protocolVersion": protocol_version,
    }
    if client_id:
        props["clientId"] = client_id
    if publish.user_properties:
        props["userProperties"] = [{"key": key, "value": value} for key, value in publish.user_properties]
    if publish.message_expiry_interval is not None:
        props["messageExpiryInterval"] = publish.message_expiry_interval
    if publish.content_type:
        props["contentType"] = publish.content_type
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "subject": topic,
        **_time(time_ms),
        "mqbridgerule": rule,
        "data": {"props": props, **_body(publish.payload)},
    }


def rocketmq_event(*, rule: str, instance_id: str, message: StoredMessage) -> dict[str, Any]:
    """Return the event of a RocketMQ message that was consumed."""
    system, user = _split(message.properties)
    return {
        "specversion": "1.0",
        "id": message.message_id,
        "source": "acs:mq",
        "type": "mq:Topic:SendMessage",
        "subject": f"acs:mq::0:{instance_id}%{message.topic}",
        **_time(message.born_timestamp_ms),
        "mqbridgerule": rule,
        BROKER: message.broker_name,
        QUEUE_ID: message.queue_id,
        "data": {
            "instanceId": instance_id,
            "topic": message.topic,
            "systemProperties": system,
            "userProperties": user,
            **_body(message.body),
        },
    }


def _split(properties: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    system = {name: value for name, value in properties.items() if name in RESERVED_PROPERTIES}
    return system, {name: value for name, value in properties.items() if name not in RESERVED_PROPERTIES}


def _body(data: bytes) -> dict[str, str]:
    try:
        return {"body": data.decode()}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(data).decode(), "bodyEncoding": "base64"}


@lru_cache(maxsize=16)  # many messages arrive within a millisecond
def _time(time_ms: int) -> Mapping[str, str]:
    """Return the attribute `time`; none for what no calendar has: producers say when a message was born, and may say anything."""
    try:
        return {"time": datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")}
    except (ValueError, OverflowError, OSError):
        return {}
