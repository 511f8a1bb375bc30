"""The shapes in which one message stands in an event: CloudEvents, their data alone, AWS IoT rule columns, EMQX's, EventBridge's.

Alibaba's event streams and Function Compute triggers send `props` + `body` for MQTT and `topic` + `body` for RocketMQ; the runner
sends the same with what those lose (DESIGN section 3). A CloudEvent of any other type is a PUBLISH: its subject is the topic, its data
the payload.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.triggers.batch import UnreadableRecord
from mqbridge.triggers.emqx import PUBLISH, is_emqx, read_emqx
from mqbridge.triggers.fields import from_base64, keys_of, kind_of, pairs, text, whole, whole_or
from rocketmq_remoting import is_message_id

__all__ = ["is_eventbridge", "is_message", "is_publish", "is_wrapped", "read_message", "time_ms_of"]

_EXPECTED = (
    "a CloudEvent with data, an object with props and body (MQTT), one with topic and body (RocketMQ), "
    "the columns payload_b64 and topic of an AWS IoT rule, or an event of EMQX"
)
_OURS = ("mqtt:", "mq:")  # how the types of Alibaba's CloudEvents begin
_ROCKETMQ = "mq:"
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_MESSAGE_KEYS = frozenset(
    {"props", "body", "bodyEncoding", "topic", "instanceId", "msgId", "systemProperties", "userProperties"}
)
_IOT_COLUMNS = frozenset(
    "payload_b64 topic client_id ts_ms trace_id content_type origin qos user_properties instance_id".split()
)
_NO_CLIENT = "n/a"  # AWS IoT's clientid() for what was not published over MQTT


def is_message(element: Any) -> bool:
    """Tell whether this is meant to be a message, readable or not: what has the marks of one of the shapes."""
    if not isinstance(element, dict):
        return False
    if "specversion" in element or "payload_b64" in element or is_emqx(element) or is_eventbridge(element):
        return True
    return "body" in element and ("topic" in element or "props" in element)


def is_wrapped(data: Any) -> bool:
    """Tell whether the data of a CloudEvent of any type is a message: has nothing but a message's keys, or EMQX's own mark.

    All else is a device's own JSON, whatever of ours it happens to have.
    """
    if not isinstance(data, dict):
        return False
    if "payload_b64" in data and "topic" in data:
        return data.keys() <= _IOT_COLUMNS
    if "body" in data and ("props" in data or "topic" in data):
        return data.keys() <= _MESSAGE_KEYS
    return data.get("event") == PUBLISH and is_emqx(data)


def is_publish(event: Mapping[str, Any]) -> bool:
    """Tell whether a CloudEvent is a PUBLISH by itself, and does not hold a message: its subject is the topic, its type a sender's own."""
    kind = event.get("type")
    return bool(event.get("subject")) and not (isinstance(kind, str) and kind.startswith(_OURS))


def read_message(element: Any, *, id: str, time_ms: int) -> MqttMessage | RocketMQMessage:  # CloudEvents' own word
    """Read one message; `id` and `time_ms` serve where the element has none of its own.

    Raises:
        UnreadableRecord: says what was expected and what came.
    """
    if not isinstance(element, dict):
        raise UnreadableRecord(f"expected {_EXPECTED}, got {kind_of(element)}")
    if "specversion" in element:
        return _cloud_event(element, id, time_ms)
    if not is_eventbridge(element):
        return _bare(element, "", id, time_ms)
    # As its rule puts it into a queue.
    if element.get("time") is not None:
        time_ms = time_ms_of(element["time"])
    id, element = text(element, "id") or id, element["detail"]
    if not isinstance(element, dict):
        raise UnreadableRecord(f"detail: expected {_EXPECTED}, got {kind_of(element)}")
    return _cloud_event(element, id, time_ms) if "specversion" in element else _bare(element, "", id, time_ms)


def is_eventbridge(element: Any) -> bool:
    """Tell whether this is an event of a bus, by itself or as its rule puts it into a queue."""
    return isinstance(element, dict) and "detail-type" in element and "detail" in element


def _cloud_event(event: Mapping[str, Any], fallback_id: str, fallback_time_ms: int) -> MqttMessage | RocketMQMessage:
    subject, kind, data = text(event, "subject"), text(event, "type"), event.get("data")
    source_id = _source_id(event, kind) or fallback_id
    time_ms = time_ms_of(event["time"]) if event.get("time") is not None else fallback_time_ms
    raw = from_base64(event["data_base64"], "data_base64") if "data_base64" in event else None
    if raw is not None:
        data = _parsed(raw)
    holds_message = not is_publish(event)
    if isinstance(data, dict) and (holds_message or is_wrapped(data)):
        return _bare(data, "" if kind.startswith(_ROCKETMQ) else subject, source_id, time_ms)
    if holds_message or (raw is None and "data" not in event):
        raise UnreadableRecord(f"data: expected an object, got {kind_of(data if raw is None else raw)}")
    return MqttMessage(
        instance_id="",
        topic=subject,
        payload=_body({"body": data}) if raw is None else raw,
        message_id=source_id,
        time_ms=time_ms,
        content_type=text(event, "datacontenttype"),
    )


def _source_id(event: Mapping[str, Any], kind: str) -> str:
    """Return what identifies a CloudEvent (specification 1.0, section 3.1.1): id and source together, as ids may be small numbers.

    An id of ours, or of a message queue, is one by itself: it stays as it is.
    """
    own, source = text(event, "id"), text(event, "source")
    return own if not own or not source or kind.startswith(_OURS) or is_message_id(own) else f"{source} {own}"


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _bare(element: Mapping[str, Any], subject: str, source_id: str, time_ms: int) -> MqttMessage | RocketMQMessage:
    if "body" in element and "payload_b64" not in element:
        return _data(element, subject, source_id, time_ms)
    if is_emqx(element):
        return read_emqx(element, id=source_id, time_ms=time_ms)
    if "payload_b64" in element:
        return _iot_columns(element, source_id, time_ms)
    return _data(element, subject, source_id, time_ms)


def _data(data: Mapping[str, Any], subject: str, source_id: str, time_ms: int) -> MqttMessage | RocketMQMessage:
    if "body" not in data:
        raise UnreadableRecord(f"expected {_EXPECTED}, got an object with the keys {keys_of(data)}")
    if "topic" in data:
        return _rocketmq(data, source_id, time_ms)
    if "props" in data or subject:
        return _mqtt(data, subject, source_id, time_ms)
    raise UnreadableRecord(f"expected {_EXPECTED}, got an object with the keys {keys_of(data)}")


def _mqtt(data: Mapping[str, Any], subject: str, source_id: str, time_ms: int) -> MqttMessage:
    props = data.get("props") or {}
    if not isinstance(props, dict):
        raise UnreadableRecord(f"props: expected an object, got {kind_of(props)}")
    levels = text(props, "secondTopic")
    if levels and not levels.startswith("/"):  # as in a property mqttSecondTopic
        levels = f"/{levels}"
    topic = text(props, "firstTopic") + levels if "firstTopic" in props else subject
    return MqttMessage(
        instance_id=text(props, "instanceId"),
        topic=_required_topic(topic, "props.firstTopic"),
        payload=_body(data),
        qos=whole_or(1, props, "qos", 2),
        retain=props.get("retain") is True,
        message_id=source_id,
        time_ms=time_ms,
        client_id=text(props, "clientId"),
        protocol_version=whole_or(0, props, "protocolVersion", 255),
        user_properties=pairs(props, "userProperties"),
        message_expiry_interval=whole(props, "messageExpiryInterval", 0xFFFFFFFF),
        content_type=text(props, "contentType"),
    )


def _rocketmq(data: Mapping[str, Any], source_id: str, time_ms: int) -> RocketMQMessage:
    system = data.get("systemProperties") or {}
    user = data.get("userProperties") or {}
    if not isinstance(system, dict) or not isinstance(user, dict):
        raise UnreadableRecord("systemProperties, userProperties: expected objects of text")
    return RocketMQMessage(
        instance_id=text(data, "instanceId"),
        topic=_required_topic(text(data, "topic"), "topic"),
        body=_body(data),
        message_id=text(system, "UNIQ_KEY") or text(data, "msgId") or source_id,
        tags=text(system, "TAGS"),
        keys=text(system, "KEYS"),
        # JSON numbers and booleans are what people write by hand; RocketMQ knows text only.
        properties={
            str(name): value if isinstance(value, str) else _plain(name, value) for name, value in user.items()
        },
        time_ms=time_ms,
    )


def _iot_columns(columns: Mapping[str, Any], fallback_id: str, fallback_time_ms: int) -> MqttMessage:
    payload = columns["payload_b64"]
    client_id = text(columns, "client_id")
    origin = columns.get("origin")
    origins = [origin] if isinstance(origin, str) else origin if isinstance(origin, list) else []
    marks = tuple(("mqbridge-origin", mark) for mark in origins if isinstance(mark, str))
    return MqttMessage(
        instance_id=text(columns, "instance_id"),
        topic=_required_topic(text(columns, "topic"), "topic"),
        payload=from_base64(payload, "payload_b64"),
        qos=whole_or(1, columns, "qos", 2),
        message_id=text(columns, "trace_id") or fallback_id,
        time_ms=whole_or(fallback_time_ms, columns, "ts_ms", 1 << 53),
        client_id="" if client_id == _NO_CLIENT else client_id,
        user_properties=pairs(columns, "user_properties") + marks,
        content_type=text(columns, "content_type"),
    )


def _body(data: Mapping[str, Any]) -> bytes:
    body, encoding = data["body"], data.get("bodyEncoding", "utf-8")
    if encoding == "base64":
        return from_base64(body, "body")
    if encoding != "utf-8":
        raise UnreadableRecord(f"bodyEncoding: expected utf-8 or base64, got {str(encoding)[:50]!r}")
    try:
        if not isinstance(body, str):  # a platform that was told the body is JSON has parsed it
            body = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return bytes(body.encode())
    except RecursionError as error:
        raise UnreadableRecord("body: nested too deeply") from error
    except UnicodeEncodeError as error:
        raise UnreadableRecord("body: expected Unicode text, got a lone surrogate") from error
    except ValueError as error:
        raise UnreadableRecord("body: expected JSON, got a number that it cannot write") from error


def _required_topic(topic: str, name: str) -> str:
    if not topic:
        raise UnreadableRecord(f"{name}: expected a topic, got nothing")
    return topic


def _plain(name: Any, value: Any) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise UnreadableRecord(f"userProperties[{str(name)[:50]!r}]: expected text, got {kind_of(value)}")


def time_ms_of(value: Any) -> int:
    """Return an RFC 3339 time as Unix time in milliseconds.

    Raises:
        UnreadableRecord: it is none.
    """
    if not isinstance(value, str):
        raise UnreadableRecord(f"time: expected an RFC 3339 time, got {kind_of(value)}")
    return _parsed_time_ms(value)


@lru_cache(maxsize=16)  # many records of a batch have the same time
def _parsed_time_ms(value: str) -> int:
    try:
        time = datetime.fromisoformat(value)
        return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        raise UnreadableRecord(f"time: expected an RFC 3339 time, got {value[:50]!r}") from error
