"""Which trigger an invocation's event is of, decided once; and its records."""

import json
from typing import Any

from mqbridge.triggers.api_gateway import ApiGateway
from mqbridge.triggers.batch import Batch, Invocation, Server, Trigger, UnreadableEvent
from mqbridge.triggers.cloudevents_batch import CloudEventsBatch
from mqbridge.triggers.direct import Direct
from mqbridge.triggers.eventbridge import EventBridge
from mqbridge.triggers.fc_custom_runtime import FcCustomRuntime
from mqbridge.triggers.fc_mqtt import FcMqtt
from mqbridge.triggers.fc_rocketmq import FcRocketMQ
from mqbridge.triggers.http import Http
from mqbridge.triggers.iot import Iot
from mqbridge.triggers.pipes import Pipes
from mqbridge.triggers.sqs import Sqs
from mqbridge.triggers.status_event import StatusEvent

__all__ = ["TRIGGERS", "fault_answer", "read", "trigger_of"]

_FC_ROCKETMQ, _RUNNER = FcRocketMQ(), CloudEventsBatch()
_SERVERS: tuple[Server, ...] = (
    FcCustomRuntime(lambda body, request_id: read(body, request_id=request_id)),
    Http(),
    ApiGateway(),
)
# In this order: the first that matches has the event.
TRIGGERS: tuple[Trigger, ...] = (
    Sqs(),
    Pipes(),
    *_SERVERS,
    EventBridge(),
    _FC_ROCKETMQ,
    _RUNNER,
    StatusEvent(),
    FcMqtt(),
    Iot(),
    Direct(),
)

_EXPECTED = (
    'an SQS batch ({"Records": [{"eventSource": "aws:sqs", ...}]}), an array of such records (EventBridge Pipes), '
    'a JSON array of CloudEvents ([{"specversion": "1.0", ...}]) or one, the columns of an AWS IoT rule ({"payload_b64", "topic", ...}), '
    'an EventBridge event ({"detail-type", "detail", ...}), messages of Function Compute ([{"props", "body"}], [{"topic", "body"}]) '
    "one alone, or an HTTP request that brings any of them"
)


def read(event: Any, *, request_id: str = "") -> Batch:
    """Return the records of an invocation's event, whichever trigger sent it; bytes and text are JSON.

    Args:
        event: as the platform hands it over.
        request_id: the platform's id of the invocation, for records that have none of their own.

    Raises:
        UnreadableEvent: it is none that a trigger sends.
    """
    raw = bytes(event) if isinstance(event, bytes | bytearray) else None
    value = _parsed(event)
    trigger = trigger_of(value, is_raw=raw is not None)
    return trigger.read(Invocation(value, raw=raw, request_id=request_id))


def fault_answer(event: Any) -> Any:
    """Return what the sender of an event wants to hear when nothing could be done with it; None where that is an error.

    Args:
        event: as the platform hands it over.
    """
    try:
        value = _parsed(event)
    except UnreadableEvent:
        return None
    return next((server.unavailable(value) for server in _SERVERS if server.matches(value)), None)


def trigger_of(event: Any, *, is_raw: bool = False) -> Trigger:
    """Return the trigger that sends such events; `is_raw` says that it came as bytes. Pure.

    Raises:
        UnreadableEvent: there is none; it lists what was expected.
    """
    for trigger in TRIGGERS:
        if trigger.matches(event):
            is_for_fc = trigger is _RUNNER and is_raw and not any("mqbridgerule" in each for each in event)
            return _FC_ROCKETMQ if is_for_fc else trigger
    raise UnreadableEvent(f"the event is none that is known: expected {_EXPECTED}, got {_outline(event)}")


def _parsed(event: Any) -> Any:
    if not isinstance(event, bytes | bytearray | str):
        return event
    try:
        return json.loads(event)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent(f"the event is not JSON: {error}") from error


def _outline(event: Any) -> str:
    if isinstance(event, dict):
        return f"an object with the keys {', '.join(str(key)[:50] for key in list(event)[:10]) or '(none)'}"
    if isinstance(event, list):
        return f"an array of {len(event)}"
    return f"a {type(event).__name__}"
