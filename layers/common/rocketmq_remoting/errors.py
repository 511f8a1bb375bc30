"""What can go wrong, one class per thing a caller would do about it.

RocketMQError
|- IllegalMessage       local misuse: the message can never be stored, and was not sent
|- ProtocolError        the peer sent bytes that are not the protocol; the connection is given up
|- TransportError       the connection, not the message, failed
|  |- ConnectFailed     nothing was sent
|  |- OutcomeUnknown    sent, but the answer never came: the broker may hold the message
|- HeldBack             not sent: an earlier message of the same sharding key failed
|- RouteNotFound        no name server knows a broker for the topic
`- BrokerRefused        the broker answered that it did not do it
   |- BrokerBusy        flow control, overload, full disk: later or elsewhere it may work
   |- TopicNotFound     the broker of the route does not know the topic (any more)
   `- BrokerForbids     it never will: access control, illegal name, too large

`retriable` says whether the same request may succeed later. Nobody compares numbers or texts of the broker's: `codes.py` does, once.
"""

from typing import ClassVar

__all__ = [
    "BrokerBusy",
    "BrokerForbids",
    "BrokerRefused",
    "ConnectFailed",
    "HeldBack",
    "IllegalMessage",
    "OutcomeUnknown",
    "ProtocolError",
    "RocketMQError",
    "RouteNotFound",
    "TopicNotFound",
    "TransportError",
]


class RocketMQError(Exception):
    """Base of everything this package raises."""

    retriable: ClassVar[bool] = True
    name: ClassVar[str] = "rocketmq_error"  # a bounded word for metrics and reasons


class IllegalMessage(RocketMQError):
    """A message that no broker can store; `field` names the part of it."""

    retriable = False
    name = "illegal_message"

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field
        self.expected = expected
        self.got = got


class ProtocolError(RocketMQError):
    """Bytes from a peer that are not RocketMQ's remoting protocol."""

    name = "protocol_error"


class TransportError(RocketMQError):
    """The connection failed."""

    name = "transport_error"


class ConnectFailed(TransportError):
    """No connection could be made; nothing was sent."""

    name = "connect_failed"


class OutcomeUnknown(TransportError):
    """The request was sent and its answer never came, so the broker may have carried it out."""

    name = "outcome_unknown"


class HeldBack(RocketMQError):
    """Not sent, because an earlier message with the same sharding key failed and must not be overtaken."""

    name = "held_back"


class RouteNotFound(RocketMQError):
    """No name server names a usable broker for the topic."""

    name = "route_not_found"


class BrokerRefused(RocketMQError):
    """The broker's answer is a refusal; `code` and `remark` are its own."""

    name = "broker_refused"

    def __init__(self, code: int, remark: str) -> None:
        super().__init__(f"broker answered code {code}: {remark or 'no remark'}")
        self.code = code
        self.remark = remark


class BrokerBusy(BrokerRefused):
    """Flow control, overload, disk full or shutting down."""

    name = "broker_busy"


class TopicNotFound(BrokerRefused):
    """The topic does not exist on the broker that the route named."""

    name = "topic_not_found"


class BrokerForbids(BrokerRefused):
    """A refusal that sending again will not change."""

    retriable = False
    name = "broker_forbids"
