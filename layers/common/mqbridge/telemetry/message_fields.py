"""What the log says of a message that was received: where it was, how large, of which trace. Never its payload.

Made only for lines that are written: what is found here costs other records nothing.
"""

import re
from hashlib import sha256

from mqbridge.messages import BROKER, QUEUE_ID, ClientStatus, MqttMessage, Record, RocketMQMessage

__all__ = ["message_fields", "written"]

SHA256_DIGITS = 16
# W3C Trace Context: version, trace-id, parent-id, flags; a later version may go on behind them. As text: it is compiled when first needed.
_TRACEPARENT = r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"


def message_fields(record: Record) -> dict[str, object]:
    """Return the fields of a record's message, as far as it has them; none if it could not be read."""
    message = record.message
    if isinstance(message, MqttMessage):
        trace = next((value for name, value in message.user_properties if name == "traceparent"), "")
        return {
            "mqtt_topic": written(message.topic),
            "qos": message.qos,
            **_of_body(message.payload),
            **_of_id(message.message_id),
            **_of_trace(trace),
        }
    if isinstance(message, RocketMQMessage):
        return {
            "rocketmq_topic": written(message.topic),
            **({"tag": written(message.tags)} if message.tags else {}),
            **_of_queue(record),
            **_of_body(message.body),
            **_of_id(message.message_id),
            **_of_trace(message.properties.get("traceparent", "")),
        }
    return {"mqtt_topic": written(message.topic)} if isinstance(message, ClientStatus) and message.topic else {}


def written(text: str) -> str:
    """Return the text as it can be written: a lone surrogate would lose the whole line."""
    return text.encode("utf-8", "backslashreplace").decode()


def _of_body(body: bytes) -> dict[str, object]:
    return {"body_bytes": len(body), "body_sha256": sha256(body).hexdigest()[:SHA256_DIGITS]}


def _of_id(message_id: str) -> dict[str, object]:
    return {"message_id": written(message_id)} if message_id else {}


def _of_queue(record: Record) -> dict[str, object]:
    broker, queue_id = record.event.get(BROKER), record.event.get(QUEUE_ID)
    fields: dict[str, object] = {"broker": written(broker)} if isinstance(broker, str) and broker else {}
    return {**fields, "queue_id": queue_id} if type(queue_id) is int else fields


def _of_trace(traceparent: str) -> dict[str, object]:
    found = re.fullmatch(_TRACEPARENT, traceparent)
    if found is None or (found[1] == "00" and found[4]):
        return {}
    return {"trace_id": found[2], "span_id": found[3]}
