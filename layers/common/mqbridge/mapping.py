"""Structure mapping between MQTT and RocketMQ, both directions. Pure.

The property names and their meaning are those of ApsaraMQ's structure mapping: its base table and the one for MQTT 5.0
("server-side forwarding"). Names are case-sensitive, values are text.
"""

import itertools
import json
import re
from collections.abc import Mapping
from hashlib import sha256

from rocketmq_remoting import derived_message_id, is_message_id

from .messages import MqttMessage, RocketMQMessage
from .outcomes import Reject

__all__ = [
    "ORIGIN",
    "comes_from",
    "is_echo",
    "message_id",
    "origin_of",
    "parent_of",
    "part_id",
    "to_mqtt",
    "to_rocketmq",
]

QOS = "qoslevel"
SUB_TOPIC = "mqttSecondTopic"
CLIENT_ID = "clientId"
FULL_TOPIC = "topic"
USER_PROPERTIES = "mqtt5UserProperty"
EXPIRY = "mqtt5MsgExpireInterval"
CONTENT_TYPE = "mqtt5ContentType"
# What no standard MQTT broker can honour, and the receiving client may want to: passed on as MQTT 5 user properties.
FOR_THE_CLIENT = ("mqttRealTopic", "cleansessionflag")

# Marks what the bridge itself sent, on both sides, so that it never travels in a circle.
ORIGIN = "mqbridge-origin"

MAX_USER_PROPERTIES_BYTES = 8 * 1024
MAX_EXPIRY_S = 0xFFFFFFFF  # MQTT 5's own range; the mapping's table says 65,535, other pages of the same product more
MQTT_5 = 5

# json.dumps with these options would make an encoder for every message.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_DECIMAL = re.compile("[0-9]{1,10}")


def parent_of(topic: str) -> str:
    """Return the first level of an MQTT topic, the parent topic."""
    return topic.partition("/")[0]


def to_rocketmq(
    message: MqttMessage, *, source_instance_id: str, instance_id: str, topic: str
) -> RocketMQMessage | Reject:
    """Map what a device published to `source_instance_id` to a message of `topic` on `instance_id`; the payload is not touched.

    A device's messages keep their order: they share a sharding key, the client id or, where that is unknown, the full topic.
    """
    parent, slash, levels = message.topic.partition("/")
    properties = {QOS: str(message.qos), FULL_TOPIC: message.topic, ORIGIN: origin_of(source_instance_id, parent)}
    if slash:
        properties[SUB_TOPIC] = slash + levels
    if message.client_id:
        properties[CLIENT_ID] = message.client_id
    if message.user_properties:
        text = _user_properties_text(message.user_properties)
        if len(text.encode("utf-8", "surrogatepass")) > MAX_USER_PROPERTIES_BYTES:
            return _too_large(text)
        if text != "[]":
            properties[USER_PROPERTIES] = text
    if message.message_expiry_interval is not None:
        properties[EXPIRY] = str(message.message_expiry_interval)
    if message.content_type:
        properties[CONTENT_TYPE] = message.content_type
    return RocketMQMessage(
        instance_id=instance_id,
        topic=topic,
        body=message.payload,
        message_id=message_id(message.message_id, message.time_ms),
        sharding_key=message.client_id or message.topic,
        properties=properties,
        time_ms=message.time_ms,
    )


def message_id(source_id: str, time_ms: int) -> str:
    """Return the source's id if it is 32 hexadecimal digits already, else the one always derived from it."""
    if is_message_id(source_id):
        return source_id
    return derived_message_id(source_id, time_ms)


def part_id(source_id: str, time_ms: int, task: str, topic: str, part: str) -> str:
    """Return the id of what a task sends to a topic of one source message, or of one part of it: the same on a retry, else another."""
    what = f"{source_id}\0{task}\0{topic}\0{part}"
    if is_message_id(source_id):
        # The source's own time stands in its id; a redelivery may have another.
        derived = derived_message_id(what, 0)
        return f"{derived[:20]}{source_id[20:28]}{derived[28:]}".upper()
    return derived_message_id(what, time_ms)


def origin_of(instance_id: str, parent: str) -> str:
    """Return what the property `ORIGIN` says of messages that come out of an MQTT parent topic."""
    return f"mqtt:{instance_id}/{parent}"


def to_mqtt(
    message: RocketMQMessage, *, instance_id: str, parent: str, protocol_version: int, max_topic_length: int
) -> MqttMessage | Reject:
    """Map a RocketMQ message to a PUBLISH under `parent`; the body is not touched.

    Where `protocol_version` is not 5, what only MQTT 5 can carry is left out.
    """
    properties = message.properties
    sub_topic = properties.get(SUB_TOPIC, "")
    topic = f"{parent}{'' if sub_topic.startswith('/') or not sub_topic else '/'}{sub_topic}"
    fault = _topic_fault(topic, max_topic_length)
    if fault:
        return Reject("illegal_topic", f"{SUB_TOPIC}: expected {fault}, got {sub_topic[:200]!r}")
    qos = properties.get(QOS) or "1"
    if qos not in ("0", "1", "2"):
        return Reject("invalid_qos", f"{QOS}: expected 0, 1 or 2, got {qos[:50]!r}")
    five = _mqtt_5_properties(properties, topic, message.body)
    if isinstance(five, Reject):
        return five
    user_properties, expiry, content_type = five if protocol_version == MQTT_5 else ((), None, "")
    return MqttMessage(
        instance_id=instance_id,
        topic=topic,
        payload=message.body,
        qos=int(qos),
        message_id=message.message_id,
        time_ms=message.time_ms,
        protocol_version=protocol_version,
        user_properties=user_properties,
        message_expiry_interval=expiry,
        content_type=content_type,
    )


def is_echo(message: MqttMessage) -> bool:
    """Tell whether this PUBLISH is one that the bridge itself sent, unchanged in topic and payload."""
    for name, value in message.user_properties:  # noqa: SIM110  # which asks this of every message, in half the time
        if name == ORIGIN and value == _mark(message.topic, message.payload):
            return True
    return False


def comes_from(message: RocketMQMessage, *, instance_id: str, parent: str) -> bool:
    """Tell whether this message came out of that MQTT parent topic, to which it must not go back."""
    return message.properties.get(ORIGIN) == origin_of(instance_id, parent)


def _topic_fault(topic: str, max_length: int) -> str:
    if "+" in topic or "#" in topic or "\x00" in topic:
        return "no wildcard (+ or #) and no NUL"
    if len(topic) > max_length:
        return f"a topic of at most {max_length} characters in all (this one has {len(topic)})"
    return "" if _is_mqtt_text(topic) else "Unicode text"


def _is_mqtt_text(text: str) -> bool:
    """MQTT 5, 1.5.4: UTF-8 without NUL and surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _mqtt_5_properties(
    properties: Mapping[str, str], topic: str, payload: bytes
) -> tuple[tuple[tuple[str, str], ...], int | None, str] | Reject:
    user_properties = _parse_user_properties(properties.get(USER_PROPERTIES, ""))
    if isinstance(user_properties, Reject):
        return user_properties
    passed_on = [(name, properties[name]) for name in FOR_THE_CLIENT if properties.get(name)]
    marked = (*user_properties, *passed_on, (ORIGIN, _mark(topic, payload)))
    content_type = properties.get(CONTENT_TYPE, "")
    if not all(_is_mqtt_text(text) for text in (content_type, *itertools.chain.from_iterable(marked))):
        return Reject("invalid_user_property", "user properties, content type: expected Unicode text without NUL")
    expiry_text = properties.get(EXPIRY, "")
    if not expiry_text:
        return marked, None, content_type
    if not _DECIMAL.fullmatch(expiry_text) or int(expiry_text) > MAX_EXPIRY_S:
        return Reject("invalid_expiry", f"{EXPIRY}: expected 0 to {MAX_EXPIRY_S} seconds, got {expiry_text[:50]!r}")
    return marked, int(expiry_text), content_type


def _parse_user_properties(text: str) -> tuple[tuple[str, str], ...] | Reject:
    if not text:
        return ()
    if len(text.encode("utf-8", "surrogatepass")) > MAX_USER_PROPERTIES_BYTES:
        return _too_large(text)
    try:
        pairs = [(pair["key"], pair["value"]) for pair in json.loads(text)]
    except (ValueError, TypeError, KeyError, RecursionError):
        pairs = [(None, None)]
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in pairs):
        return Reject(
            "invalid_user_property",
            f'{USER_PROPERTIES}: expected a JSON array of {{"key": text, "value": text}}, got {text[:100]!r}',
        )
    return tuple((name, value) for name, value in pairs if name != ORIGIN)


def _user_properties_text(user_properties: tuple[tuple[str, str], ...]) -> str:
    # The bridge's own mark says nothing to a consumer once it did not fit.
    return _to_json([{"key": name, "value": value} for name, value in user_properties if name != ORIGIN])


def _too_large(text: str) -> Reject:
    size = len(text.encode("utf-8", "surrogatepass"))
    return Reject(
        "user_properties_too_large",
        f"{USER_PROPERTIES}: expected at most {MAX_USER_PROPERTIES_BYTES} bytes, got {size}",
    )


def _mark(topic: str, payload: bytes) -> str:
    return sha256(topic.encode("utf-8", "surrogatepass") + b"\0" + payload).hexdigest()[:32]
