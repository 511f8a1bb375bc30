"""What a task sends: the sink's forms applied to an event, checked as a broker would. Pure.

Forms and outcomes: EventBridge's event target parameters for RocketMQ. Body must have a result; Keys, Tags, Properties and ShardingKey
are left out where they have none.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from mqbridge import json_text
from mqbridge.events import TaskEvent
from mqbridge.extract import MISSING, Form, Partial, TooManySteps, Unextractable, text_of
from mqbridge.mapping import ORIGIN, part_id
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Reject
from mqbridge.rules import Task
from rocketmq_remoting import RESERVED_PROPERTIES, IllegalMessage, check_message, is_message_id

__all__ = ["sink_messages"]

_BODY = ("data", "body")
_OWN_ID = "UNIQ_KEY"
# By which part of a message a broker could not store it.
_REASONS = {"topic": "illegal_topic", "body": "body_too_large", "tags": "illegal_tags", "keys": "illegal_keys"}
# What the sink calls the parts of a message; the others are properties.
_KEYS = {"topic": "Topic", "body": "Body", "tags": "Tags", "keys": "Keys", "message_id": "Properties.UNIQ_KEY"}
# Of these only the size can be wrong.
_MEASURED = ("body", "properties")
_OWN_NAMES = frozenset(map(repr, RESERVED_PROPERTIES))


class _Rejected(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def sink_messages(
    task: Task, event: TaskEvent, source: MqttMessage, *, allowed_topics: tuple[str, ...] | None, origin: str
) -> list[RocketMQMessage] | Reject:
    """Return what `task` sends of one event: a message for each topic that it was routed to, or for the sink's own.

    Args:
        task: the task.
        event: the event, filtered and transformed.
        source: the PUBLISH that it comes from.
        allowed_topics: the topics that the instance lists, None if it lists none.
        origin: what the property mqbridge-origin says, "" for none.
    """
    try:
        topics = event.topics or (_required(task.sink.topic, event, "Topic"),)
        for topic in topics:
            if allowed_topics is not None and topic not in allowed_topics:
                raise _Rejected("illegal_topic", "Topic: expected one that the instance lists, got another")
        return _messages(task, event, source, topics, origin)
    except _Rejected as error:
        return Reject(error.reason, error.detail)
    except Unextractable as error:
        return Reject("template_failed", str(error))
    except TooManySteps as error:
        return Reject("too_many_steps", str(error))
    except json_text.InvalidJson as error:
        return Reject("not_json", f"the event cannot be written as JSON: {error}")
    except IllegalMessage as error:
        return Reject(_REASONS.get(error.field, "illegal_property"), _told(error))


def _told(error: IllegalMessage) -> str:
    """Return what is wrong with a message, without what it holds: that comes from the event."""
    key = _KEYS.get(error.field, "Properties")
    is_told = error.field in _MEASURED or error.got in _OWN_NAMES
    return f"{key}: expected {error.expected}, got {error.got if is_told else 'something else'}"


def _messages(
    task: Task, event: TaskEvent, source: MqttMessage, topics: Sequence[str], origin: str
) -> list[RocketMQMessage]:
    sink = task.sink
    properties = _properties(sink.properties, event)
    own_id = properties.pop(_OWN_ID, "")
    # Only the bridge says where a message comes from.
    properties.pop(ORIGIN, None)
    if origin:
        properties[ORIGIN] = origin
    body = _body(task, event)
    tags = _optional(sink.tags, event)
    keys = _keys(sink.keys, event)
    sharding_key = _optional(sink.sharding_key, event) or source.client_id or source.topic
    # Consumers that know a message by its id must not take a part, or a copy, for the message itself.
    is_given = own_id and (not is_message_id(own_id) or (not event.part and len(topics) == 1))
    messages = [
        RocketMQMessage(
            instance_id=sink.instance_id,
            topic=topic,
            body=body,
            message_id=own_id
            if is_given
            else part_id(own_id or source.message_id, source.time_ms, task.name, topic, event.part),
            tags=tags,
            keys=keys,
            sharding_key=sharding_key,
            properties=properties,
            time_ms=source.time_ms,
        )
        for topic in topics
    ]
    for message in messages:
        check_message(message)
    return messages


def _body(task: Task, event: TaskEvent) -> bytes:
    form = task.sink.body
    is_payload = isinstance(form, Partial) and getattr(form.path, "parts", None) == _BODY
    if is_payload and event.payload is not None:
        return event.payload  # the very bytes, not read and written again
    value = form.extract(event.value)
    if value is MISSING:
        raise _Rejected(
            "body_missing", f"Body: expected a result at {task.streaming.sink.rocketmq.body.value}, got none"
        )
    if is_payload and task.body_data_type == "Binary":
        return _from_base64(value)
    return _encoded(text_of(value), "Body")


def _from_base64(value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except binascii.Error:
        pass
    raise _Rejected(
        "body_not_base64", "Body: expected Base64 in $.data.body, as BodyDataType is Binary, got something else"
    )


def _properties(form: Form | None, event: TaskEvent) -> dict[str, str]:
    if form is None:
        return {}
    value = form.extract(event.value)
    if isinstance(value, str) and not isinstance(form, Partial):
        try:
            value = json_text.decode(value)
        except json_text.InvalidJson as error:
            raise _Rejected(
                "properties_not_object", f"Properties: expected a JSON object, got other text ({error})"
            ) from None
    if value is MISSING or value is None:
        return {}
    if not isinstance(value, dict):
        raise _Rejected("properties_not_object", f"Properties: expected a JSON object, got a {type(value).__name__}")
    return {name: each if type(each) is str else text_of(each) for name, each in value.items() if each is not None}


def _keys(form: Form | None, event: TaskEvent) -> str:
    if form is None:
        return ""
    value = form.extract(event.value)
    if isinstance(value, list):  # RocketMQ separates keys by a space, and indexes each
        return " ".join([text_of(each) for each in value if each is not None])
    return "" if value is MISSING or value is None else text_of(value)


def _optional(form: Form | None, event: TaskEvent) -> str:
    if form is None:
        return ""
    value = form.extract(event.value)
    if type(value) is str:
        return value
    return "" if value is MISSING or value is None else text_of(value)


def _required(form: Form, event: TaskEvent, name: str) -> str:
    text = _optional(form, event)
    if not text:
        raise _Rejected("illegal_topic", f"{name}: expected a topic, got nothing")
    return text


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _Rejected("not_unicode", f"{name}: expected Unicode text, got a lone surrogate") from None
