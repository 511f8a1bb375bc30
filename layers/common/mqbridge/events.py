"""The event that a message outflow task sees: the CloudEvent of a PUBLISH, in the shape of the managed service's MQTT source. Pure.

`data.props` and `data.body` are as documented there. `data.userProperties` are the MQTT 5 user properties, by name (of equal names the
last), and `data.systemProperties` what RocketMQ calls so: KEYS and TAGS, where the publisher names them in user properties, UNIQ_KEY, as a
data rule would send it, and BORN_TIMESTAMP. So the paths that sinks are documented with by default mean the same here.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from rocketmq_remoting import RESERVED_PROPERTIES

from . import json_text
from .mapping import ORIGIN, message_id
from .messages import DELIVERY_EXTENSIONS, MqttMessage
from .outcomes import Reject

__all__ = ["TaskEvent", "task_event"]

# Prefixes of further names that RocketMQ 5 keeps to itself.
_RESERVED_PREFIXES = ("TIMER_", "__RMQ.TRANSIENT.")
_FROM_USER_PROPERTIES = ("KEYS", "TAGS")
# Attributes that the event gets here, or that belong to its delivery; all others that it came with are extensions, and kept.
_OWN_ATTRIBUTES = DELIVERY_EXTENSIONS | {
    *(
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "data",
        "data_base64",
        "mqbridgerule",
    )
}


class TaskEvent(NamedTuple):
    """An event on its way through a task.

    `value` is shared: whoever changes it makes a copy. `payload` is the body as it was published, None once the body was changed.
    `part` tells apart what one event was split into; `topics` is where it was routed to, empty where the sink decides.
    """

    value: Mapping[str, Any]
    payload: bytes | None = None
    part: str = ""
    topics: tuple[str, ...] = ()


def task_event(
    message: MqttMessage, *, instance_id: str, body_data_type: str, received: Mapping[str, Any]
) -> TaskEvent | Reject:
    """Return the event of a PUBLISH, its body decoded as JSON, Text or Binary; `received` is what the record came as."""
    body: Any
    if body_data_type == "JSON":
        try:
            body = json_text.decode(message.payload)
        except json_text.InvalidJson as error:
            return Reject("body_not_json", f"payload: expected JSON, as BodyDataType says, got other bytes ({error})")
    elif body_data_type == "Text":
        try:
            body = message.payload.decode()
        except UnicodeDecodeError as error:
            detail = f"payload: expected UTF-8 text, as BodyDataType says, got another byte at {error.start}"
            return Reject("body_not_text", detail)
    else:
        body = base64.b64encode(message.payload).decode()
    return TaskEvent(_cloud_event(message, instance_id, body, received), message.payload)


def _cloud_event(message: MqttMessage, instance_id: str, body: Any, received: Mapping[str, Any]) -> dict[str, Any]:
    topic = message.topic
    parent, slash, levels = topic.partition("/")
    props: dict[str, Any] = {
        "instanceId": instance_id,
        "firstTopic": parent,
        "secondTopic": slash + levels,
        "qos": message.qos,
        "retain": message.retain,
    }
    system: dict[str, Any] = {}
    user: dict[str, str] = {}
    if message.client_id:
        props["clientId"] = message.client_id
    if message.protocol_version:
        props["protocolVersion"] = message.protocol_version
    if message.message_id:
        system["UNIQ_KEY"] = message_id(message.message_id, message.time_ms)
    if message.user_properties:
        props["userProperties"] = listed = []
        for name, value in message.user_properties:
            listed.append({"key": name, "value": value})
            # What a device names must not become a property that RocketMQ acts on.
            if _is_the_user_s(name):
                user[name] = value
            elif name in _FROM_USER_PROPERTIES:
                system[name] = value
    if message.message_expiry_interval is not None:
        props["messageExpiryInterval"] = message.message_expiry_interval
    if message.content_type:
        props["contentType"] = message.content_type
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": message.message_id,
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "subject": topic,
        "datacontenttype": "application/json",
        "data": {"props": props, "systemProperties": system, "userProperties": user, "body": body},
    }
    if message.time_ms:
        system["BORN_TIMESTAMP"] = str(message.time_ms)
        time = _rfc3339(message.time_ms)
        if time:
            event["time"] = time
    if "specversion" in received:
        extensions = received.keys() - _OWN_ATTRIBUTES
        if extensions:
            event |= {name: received[name] for name in extensions}
    return event


@lru_cache(maxsize=1_024)  # devices of one kind send the same names
def _is_the_user_s(name: str) -> bool:
    return name not in RESERVED_PROPERTIES and not name.startswith(_RESERVED_PREFIXES) and name != ORIGIN


@lru_cache(maxsize=16)  # many messages arrive within a millisecond
def _rfc3339(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a source may claim any time, beyond the calendar too
        return ""
