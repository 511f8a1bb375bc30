"""A stand-in for librocketmq, with the functions that a producer calls."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mqbridge.delivery.native_errors import Status
from mqbridge.delivery.native_library import QueueSelector, SendResult
from mqbridge.delivery.native_producer import NativeProducer
from rocketmq_remoting import Client, Message, MessageQueue, RocketMQError, RouteNotFound, SendOutcome
from rocketmq_remoting.route import TopicRoute

ID = "0A0B0C0D00002A139A5B00D5E1F30001"
QUEUES = 4
NOW_S, DEADLINE = 100.0, 110.0
NO_ROUTE = b"msg: No route info of this topic, ,error:-1,in file <DefaultMQProducerImpl.cpp> line:425"


@dataclass
class StandInMessage:
    """What a CMessage holds."""

    topic: bytes
    tags: bytes = b""
    keys: bytes = b""
    delay_level: int = 0
    properties: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


class StandInLibrary:
    """librocketmq's functions as one process sees them: handles, statuses, and no exceptions.

    `fails` holds the status that a function returns instead of 0. `answers` are the send statuses to come (0 when they run out); -1 is a
    send that fails after a queue was chosen.
    """

    def __init__(self, *, queues: int = QUEUES) -> None:
        self.queues = queues
        self.fails: dict[str, int] = {}
        self.answers: list[int] = []
        self.error: bytes | None = NO_ROUTE
        self.has_route = True
        self.gives_handles = True
        self.calls: list[tuple[Any, ...]] = []
        self.messages: dict[int, StandInMessage] = {}
        self.producers: dict[int, dict[str, Any]] = {}
        self.sent: list[StandInMessage] = []
        self.chosen: list[int] = []
        self._handles = itertools.count(1000)
        self._offsets = itertools.count()

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def CreateProducer(self, group: bytes) -> int | None:
        self.calls.append(("CreateProducer", group))
        return self._handle(self.producers, {}) if self.gives_handles else None

    def DestroyProducer(self, producer: int) -> int:
        del self.producers[producer]
        return self._status("DestroyProducer")

    def StartProducer(self, producer: int) -> int:
        return self._set(producer, "StartProducer", True)

    def ShutdownProducer(self, producer: int) -> int:
        return self._set(producer, "ShutdownProducer", True)

    def SetProducerNameServerAddress(self, producer: int, addresses: bytes) -> int:
        return self._set(producer, "SetProducerNameServerAddress", addresses)

    def SetProducerInstanceName(self, producer: int, name: bytes) -> int:
        return self._set(producer, "SetProducerInstanceName", name)

    def SetProducerSessionCredentials(self, producer: int, access_key: bytes, secret_key: bytes, channel: bytes) -> int:
        return self._set(producer, "SetProducerSessionCredentials", (access_key, secret_key, channel))

    def SetProducerLogFileNumAndSize(self, producer: int, files: int, megabytes: int) -> int:
        return self._set(producer, "SetProducerLogFileNumAndSize", (files, megabytes))

    def SetProducerLogLevel(self, producer: int, level: int) -> int:
        return self._set(producer, "SetProducerLogLevel", level)

    def SetProducerSendMsgTimeout(self, producer: int, milliseconds: int) -> int:
        return self._set(producer, "SetProducerSendMsgTimeout", milliseconds)

    def SetProducerMaxMessageSize(self, producer: int, size: int) -> int:
        return self._set(producer, "SetProducerMaxMessageSize", size)

    def CreateMessage(self, topic: bytes) -> int | None:
        self.calls.append(("CreateMessage", topic))
        return self._handle(self.messages, StandInMessage(topic)) if self.gives_handles else None

    def DestroyMessage(self, message: int) -> int:
        del self.messages[message]
        return self._status("DestroyMessage")

    def SetMessageTags(self, message: int, tags: bytes) -> int:
        self.messages[message].tags = c_text(tags)
        return self._status("SetMessageTags", tags)

    def SetMessageKeys(self, message: int, keys: bytes) -> int:
        self.messages[message].keys = c_text(keys)
        return self._status("SetMessageKeys", keys)

    def SetMessageProperty(self, message: int, name: bytes, value: bytes) -> int:
        self.messages[message].properties[c_text(name)] = c_text(value)
        return self._status("SetMessageProperty", name, value)

    def SetByteMessageBody(self, message: int, body: bytes, length: int) -> int:
        self.messages[message].body = body[:length]
        return self._status("SetByteMessageBody", body, length)

    def SetDelayTimeLevel(self, message: int, level: int) -> int:
        self.messages[message].delay_level = level
        return self._status("SetDelayTimeLevel", level)

    def SendMessageOrderly(
        self, producer: int, message: int, selector: Any, argument: int, retries: int, result: SendResult
    ) -> int:
        assert self.producers[producer]["StartProducer"]
        assert isinstance(selector, QueueSelector)
        assert argument, "NULL is refused"
        assert retries == 0
        status = self._status("SendMessageOrderly")
        if status or not self.has_route:
            return status or Status.PRODUCER_SEND_ORDERLY_FAILED
        index = selector(self.queues, message, argument)
        assert 0 <= index < self.queues, "the library does not check it"
        answer = self.answers.pop(0) if self.answers else 0
        if answer < 0:
            return Status.PRODUCER_SEND_ORDERLY_FAILED
        self.chosen.append(index)
        self.sent.append(self.messages[message])
        result.sendStatus, result.msgId, result.offset = answer, b"the library's own", next(self._offsets)
        return Status.OK

    def GetLatestErrorMessage(self) -> bytes | None:
        return self.error

    def _handle(self, table: dict[int, Any], value: Any) -> int:
        handle = next(self._handles)
        table[handle] = value
        return handle

    def _set(self, producer: int, name: str, value: Any) -> int:
        self.producers[producer][name] = value
        return self._status(name, value)

    def _status(self, name: str, *arguments: Any) -> int:
        self.calls.append((name, *arguments))
        return self.fails.get(name, 0)


def c_text(text: bytes) -> bytes:
    """Return what a C function sees of a text: what comes before the first NUL."""
    return text.partition(b"\0")[0]


class FakeClient(Client):
    """A client that knows routes and dials nobody."""

    def __init__(self, *, queues: int = QUEUES, missing: Sequence[str] = ()) -> None:
        super().__init__(["127.0.0.1:1"])
        self._queues = queues
        self._missing = missing

    def route(self, topic: str, deadline: float, *, fresh: bool = False) -> TopicRoute:  # noqa: ARG002  # as Client has them
        if topic in self._missing:
            raise RouteNotFound(topic)
        queues = tuple(MessageQueue(topic, "broker-a", number) for number in range(self._queues))
        return TopicRoute(addresses={"broker-a": "127.0.0.1:10911"}, writable=queues, readable=queues)


MakeProducer = Callable[..., NativeProducer]


def message(body: bytes = b"body", **rest: Any) -> Message:
    return Message(**{"topic": "telemetry", "body": body, "message_id": ID, **rest})


def errors(outcomes: Sequence[SendOutcome]) -> list[type[RocketMQError] | None]:
    return [None if outcome.error is None else type(outcome.error) for outcome in outcomes]
