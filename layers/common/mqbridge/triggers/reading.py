"""Which trigger an invocation's event is of, decided once; and its records."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mqbridge.triggers.batch import TRY_AGAIN, Batch, Invocation, PullRequest, Trigger, UnreadableEvent

if TYPE_CHECKING:
    from mqbridge.triggers.http_requests import HttpRequest

__all__ = ["TRIGGERS", "fault_answer", "read", "receive", "refusal", "trigger", "trigger_of"]

# In this order: the first that matches has the event. By module and class, for none is imported before those in front of it
# have said no: a cold start pays for the trigger that it has, and the most frequent stands first.
TRIGGERS = {
    "sqs": "Sqs",
    "pipes": "Pipes",
    "pull": "Pull",
    "fc_custom_runtime": "FcCustomRuntime",
    "http": "Http",
    "api_gateway": "ApiGateway",
    "eventbridge": "EventBridge",
    "fc_rocketmq": "FcRocketMQ",
    "cloudevents_batch": "CloudEventsBatch",
    "status_event": "StatusEvent",
    "fc_mqtt": "FcMqtt",
    "iot": "Iot",
    "direct": "Direct",
}
_SERVERS = ("fc_custom_runtime", "http", "api_gateway")

_EXPECTED = (
    'an SQS batch ({"Records": [{"eventSource": "aws:sqs", ...}]}), an array of such records (EventBridge Pipes), '
    'a JSON array of CloudEvents ([{"specversion": "1.0", ...}]) or one, the columns of an AWS IoT rule ({"payload_b64", "topic", ...}), '
    'an EventBridge event ({"detail-type", "detail", ...}), {"mqbridge": "pull"} for the inbound function, '
    'messages of Function Compute ([{"props", "body"}], [{"topic", "body"}]), one message alone, '
    "or an HTTP request that brings any of them"
)


def read(event: Any, *, request_id: str = "") -> Batch:
    """Return the records of an invocation's event, whichever trigger sent it; bytes and text are JSON.

    Raises:
        UnreadableEvent: it is none that a trigger sends, or brings no records.
    """
    received = receive(event, request_id=request_id)
    if isinstance(received, PullRequest):
        raise UnreadableEvent("the event asks for a pull: expected records, got none")
    return received


def receive(
    event: Any, *, request_id: str = "", admit: "Callable[[HttpRequest], None] | None" = None
) -> Batch | PullRequest:
    """Return the records of an invocation's event, or what it asks for instead; bytes and text are JSON.

    Args:
        event: as the platform hands it over.
        request_id: the platform's id of the invocation, for records that have none of their own.
        admit: asked before a request's body is read; raises UnreadableEvent, with the answer, for one whose sender may not send.

    Raises:
        UnreadableEvent: it is none that a trigger sends, or its sender may not.
    """
    raw = bytes(event) if isinstance(event, bytes | bytearray) else None
    value = _parsed(event)
    invocation = Invocation(value, raw=raw, request_id=request_id, admit=admit)
    return trigger_of(value, is_raw=raw is not None).read(invocation)


def fault_answer(event: Any, why: str = "") -> Any:
    """Return what the sender of an event wants to hear when nothing could be done with it now; None where that is an error.

    Args:
        event: as the platform hands it over.
        why: for people; without it, that it may be tried again.
    """
    return _answer_of_server(event, lambda server, value: server.unavailable(value, why or TRY_AGAIN))


def refusal(event: Any, why: str) -> Any:
    """Return what the sender of an event wants to hear when it can be handled neither now nor later; None where that is an error.

    Args:
        event: as the platform hands it over.
        why: for people.
    """
    return _answer_of_server(event, lambda server, value: server.refusal(value, why))


def _answer_of_server(event: Any, answer: Callable[[Any, Any], Any]) -> Any:
    try:
        value = _parsed(event)
    except UnreadableEvent:
        return None
    servers: Iterator[Any] = map(trigger, _SERVERS)
    return next((answer(server, value) for server in servers if server.matches(value)), None)


def trigger_of(event: Any, *, is_raw: bool = False) -> Trigger:
    """Return the trigger that sends such events; `is_raw` says that it came as bytes. Pure.

    Raises:
        UnreadableEvent: there is none; it lists what was expected.
    """
    for name in TRIGGERS:
        found = trigger(name)
        if found.matches(event):
            is_for_fc = name == "cloudevents_batch" and is_raw and not any("mqbridgerule" in each for each in event)
            return trigger("fc_rocketmq") if is_for_fc else found
    raise UnreadableEvent(f"the event is none that is known: expected {_EXPECTED}, got {_outline(event)}")


@cache
def trigger(name: str) -> Trigger:
    """Return a trigger by the name of its module."""
    found: Trigger = getattr(import_module(f"mqbridge.triggers.{name}"), TRIGGERS[name])()
    return found


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
