"""A client of the RocketMQ 4.x remoting protocol in pure Python, standard library only.

It knows nothing of data rules and can be used by itself. The protocol is sans-I/O (`frames`, `messages`, `route`); one blocking
loop serves all brokers (`connection`); there are no threads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    BrokerBusy,
    BrokerForbids,
    BrokerRefused,
    ConnectFailed,
    HeldBack,
    IllegalMessage,
    OutcomeUnknown,
    ProtocolError,
    RocketMQError,
    RouteNotFound,
    TopicNotFound,
    TransportError,
)
from .ids import derived_message_id, is_message_id, random_message_id
from .messages import RESERVED_PROPERTIES, Message, check_message, encode_batch_item
from .names import check_group, check_topic

if TYPE_CHECKING:
    from .acl import Credentials
    from .client import Client
    from .codes import refusal
    from .consumer import Consumer
    from .drain import Drain
    from .group_reader import queue_of
    from .producer import Producer, SendOutcome
    from .route import MessageQueue
    from .starting import StartFrom
    from .stored_messages import StoredMessage

__all__ = [
    "RESERVED_PROPERTIES",
    "BrokerBusy",
    "BrokerForbids",
    "BrokerRefused",
    "Client",
    "ConnectFailed",
    "Consumer",
    "Credentials",
    "Drain",
    "HeldBack",
    "IllegalMessage",
    "Message",
    "MessageQueue",
    "OutcomeUnknown",
    "Producer",
    "ProtocolError",
    "RocketMQError",
    "RouteNotFound",
    "SendOutcome",
    "StartFrom",
    "StoredMessage",
    "TopicNotFound",
    "TransportError",
    "check_group",
    "check_message",
    "check_topic",
    "derived_message_id",
    "encode_batch_item",
    "is_message_id",
    "queue_of",
    "random_message_id",
    "refusal",
]

_LATER = {
    "Client": "client",
    "Consumer": "consumer",
    "Credentials": "acl",
    "Drain": "drain",
    "MessageQueue": "route",
    "Producer": "producer",
    "SendOutcome": "producer",
    "StartFrom": "starting",
    "StoredMessage": "stored_messages",
    "queue_of": "group_reader",
    "refusal": "codes",
}


def __getattr__(name: str) -> Any:
    """Load what talks to a broker when it is asked for: whoever only makes messages, or only sends, has no use for the rest."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return found
