"""Function Compute's RocketMQ trigger, of ApsaraMQ for RocketMQ and of a self-managed Apache RocketMQ.

Shapes: Function Compute's "formats of event for different triggers", and for `RawData` the trigger's eventSchema. In streaming mode the
event is an array, of one too; in event-driven mode it is one CloudEvent alone. There is no answer for a part of an array: after an error
all of it comes again.

Its CloudEvents look like the runner's, which hears answers of another kind. They are told apart by what EventBridge adds on the way, or
by their source; and where neither is there, by the form: only Function Compute hands its functions bytes.
"""

from typing import Any

from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.fields import is_cloud_event
from mqbridge.triggers.raising import Raising
from mqbridge.triggers.records import record_of

__all__ = ["FcRocketMQ", "is_from_fc"]

_ADDED = "aliyun"  # aliyunaccountid, aliyuneventbusname, aliyunpublishtime, ...
_SOURCES = ("RocketMQ-Function-", "MQTT-Function-")  # and the trigger's name


class FcRocketMQ(Raising):
    """[{"specversion", "type": "mq:Topic:SendMessage", "data": {"topic", "systemProperties", "userProperties", "body"}}], one such
    CloudEvent, or an array of such `data`, with "msgId" from a self-managed cluster.
    """

    name = "fc_rocketmq"

    def matches(self, event: Any) -> bool:
        """Tell whether this is one of the shapes; of bare messages one with its marks is enough, others may be broken."""
        if not isinstance(event, list):
            return is_from_fc(event)
        if any(map(is_cloud_event, event)):
            is_runner_s = isinstance(event[0], dict) and "mqbridgerule" in event[0]
            return not is_runner_s and any(map(is_from_fc, event)) and not any(map(_is_queue_message, event))
        return any(map(_is_raw, event)) and not any(map(_is_queue_message, event))

    def read(self, invocation: Invocation) -> Batch:
        """Return one record per message; its id is the event's, the message's, or follows from what the whole event holds."""
        event = invocation.event
        elements = event if isinstance(event, list) else [event]
        return Batch(
            trigger=self,
            records=tuple(
                record_of(each, id=_id_of(each) or invocation.digest_id_of(at)) for at, each in enumerate(elements)
            ),
        )


def is_from_fc(event: Any) -> bool:
    """Tell whether this is a CloudEvent that came by an event stream of Alibaba Cloud, not made by a runner for one of its rules."""
    if not is_cloud_event(event) or "mqbridgerule" in event:
        return False
    source = event.get("source")
    return (isinstance(source, str) and source.startswith(_SOURCES)) or any(
        isinstance(name, str) and name.startswith(_ADDED) for name in event
    )


def _is_raw(element: Any) -> bool:
    return isinstance(element, dict) and "topic" in element and "body" in element


def _is_queue_message(element: Any) -> bool:
    return isinstance(element, dict) and "eventSource" in element


def _id_of(element: Any) -> str:
    if not isinstance(element, dict):
        return ""
    system = element.get("systemProperties")
    unique = system.get("UNIQ_KEY") if isinstance(system, dict) else None
    found = element.get("id") if is_cloud_event(element) else unique or element.get("msgId")
    return found if isinstance(found, str) else ""
