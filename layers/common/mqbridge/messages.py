"""The value types that everything passes around, and the record that carries one of them through a flow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mqbridge.values import Value
from rocketmq_remoting import Message

from .outcomes import Reject

__all__ = [
    "ATTEMPT",
    "BROKER",
    "DELIVERY_EXTENSIONS",
    "FIRST_ATTEMPT",
    "QUEUE_ID",
    "ClientStatus",
    "MqttMessage",
    "Record",
    "RocketMQMessage",
    "StatusNotice",
]

# CloudEvents extensions in which the runner says how often it has delivered an event, and when first. They are not part of the event.
ATTEMPT, FIRST_ATTEMPT = "mqbridgeattempt", "mqbridgefirstattempt"
DELIVERY_EXTENSIONS = frozenset({ATTEMPT, FIRST_ATTEMPT})
# And those that say which queue of which broker a RocketMQ message was read from.
BROKER, QUEUE_ID = "mqbridgebroker", "mqbridgequeueid"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttMessage:
    """One PUBLISH, received or to be sent.

    `instance_id` is "" where the event does not name it. `message_id` and `time_ms` (Unix time, milliseconds) are the source's, the
    same on every redelivery. `protocol_version` is the protocol level: 5, 4 for MQTT 3.1.1, 0 if unknown.
    `message_expiry_interval` is in seconds.
    """

    instance_id: str
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    message_id: str = ""
    time_ms: int = 0
    client_id: str = ""
    protocol_version: int = 0
    user_properties: tuple[tuple[str, str], ...] = ()
    message_expiry_interval: int | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class RocketMQMessage(Message):
    """One RocketMQ message, consumed or to be sent, and the instance that it belongs to ("" where the event does not name it)."""

    instance_id: str
    time_ms: int = 0

    # As Message's own, and for the same reason: one is made for everything that is sent, and this takes half the time.
    def __init__(
        self,
        *,
        instance_id: str,
        topic: str,
        body: bytes,
        message_id: str,
        tags: str = "",
        keys: str = "",
        sharding_key: str = "",
        delay_level: int = 0,
        properties: Mapping[str, str] | None = None,
        time_ms: int = 0,
    ) -> None:
        _init_message(
            self,
            topic=topic,
            body=body,
            message_id=message_id,
            tags=tags,
            keys=keys,
            sharding_key=sharding_key,
            delay_level=delay_level,
            properties=properties,
        )
        _set_instance_id(self, instance_id)
        _set_time_ms(self, time_ms)


_init_message = Message.__init__
_set_instance_id = vars(RocketMQMessage)["instance_id"].__set__
_set_time_ms = vars(RocketMQMessage)["time_ms"].__set__


class StatusNotice(Value):
    """One notice of a client's coming or going, as ApsaraMQ words it: `event_type` is connect, disconnect or tcpclean.

    `channel_id` tells the connection from all others of the client. `body` is the notice as its source wrote it, where that is
    ApsaraMQ's own JSON already.
    """

    client_id: str
    event_type: str
    time_ms: int
    channel_id: str
    client_ip: str = ""
    remark: str = ""
    body: bytes | None = field(default=None, repr=False)


class ClientStatus(Value):
    """One event of an MQTT broker about a client, and the notices that it means, in their order.

    `instance_id` is "" where the event does not name it; `event_type` and `time_ms` are the event's own, `topic` where it was published,
    if it was. Without notices the event is one of another kind, or `fault` says why it cannot be read.
    """

    instance_id: str
    client_id: str
    event_type: str = ""
    notices: tuple[StatusNotice, ...] = ()
    fault: Reject | None = None
    time_ms: int = 0
    topic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One element of an invocation's batch.

    `id` is what the platform wants back if the record fails; `attempt` counts deliveries from 1, `first_attempt_ms` is when the first
    was, 0 if unknown; `event` is the element as it was received, which is what a dead-letter queue gets.
    A record that could not be read carries the `Reject` instead of a message.
    """

    id: str
    attempt: int
    first_attempt_ms: int = 0
    message: MqttMessage | RocketMQMessage | ClientStatus | Reject
    event: Mapping[str, Any] = field(default_factory=dict, repr=False)
