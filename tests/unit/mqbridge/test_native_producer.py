"""What the native producer calls on librocketmq, which is not here: against a stand-in with the same functions."""

import itertools
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mqbridge.delivery import OpenSinks
from mqbridge.delivery.native_errors import STORED, Status, send_failure
from mqbridge.delivery.native_library import (
    Library,
    NativeClientMissing,
    QueueSelector,
    SendResult,
    load_library,
    writable_home,
)
from mqbridge.delivery.native_producer import NativeProducer
from mqbridge.delivery.rocketmq_sink import outcome_of
from mqbridge.outcomes import Answer, Failed, Reject
from mqbridge.rules import InvalidRules, load
from rocketmq_remoting import (
    BrokerBusy,
    BrokerForbids,
    Client,
    ConnectFailed,
    Credentials,
    HeldBack,
    IllegalMessage,
    Message,
    MessageQueue,
    OutcomeUnknown,
    RocketMQError,
    RouteNotFound,
    SendOutcome,
    TopicNotFound,
)
from rocketmq_remoting.route import TopicRoute
from tests.unit.mqbridge.support import ROCKETMQ_INSTANCE, ROOT, command, document

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


@pytest.fixture
def library() -> StandInLibrary:
    return StandInLibrary()


@pytest.fixture
def make(library: StandInLibrary) -> Iterator[MakeProducer]:
    """Make producers that are closed when the test ends: they would else be at the end of the process."""
    made: list[NativeProducer] = []

    def make(client: Client | None = None, **options: Any) -> NativeProducer:
        options = {"clock": lambda: NOW_S, **options}
        made.append(NativeProducer(library, client or FakeClient(), ["10.0.0.1:9876", "10.0.0.2:9876"], **options))
        return made[-1]

    yield make
    for producer in made:
        producer.close()
    assert library.messages == {}, "messages that were never destroyed"
    assert library.producers == {}


def message(body: bytes = b"body", **rest: Any) -> Message:
    return Message(**{"topic": "telemetry", "body": body, "message_id": ID, **rest})


def errors(outcomes: Sequence[SendOutcome]) -> list[type[RocketMQError] | None]:
    return [None if outcome.error is None else type(outcome.error) for outcome in outcomes]


# --- one message ---


def test_a_message_is_made_filled_sent_once_and_destroyed(library: StandInLibrary, make: MakeProducer) -> None:
    producer = make()
    producer.send([message()], DEADLINE)
    library.calls.clear()
    full = message(b"b\0dy", tags="red", keys="k1 k2", delay_level=3, properties={"größe": "☃", "empty": ""})
    (outcome,) = producer.send([full], DEADLINE)
    assert library.calls == [
        ("CreateMessage", b"telemetry"),
        ("SetMessageTags", b"red"),
        ("SetMessageKeys", b"k1 k2"),
        ("SetDelayTimeLevel", 3),
        ("SetMessageProperty", "größe".encode(), "☃".encode()),
        ("SetMessageProperty", b"UNIQ_KEY\x01" + ID.encode() + b"\x02WAIT", b"true"),
        ("SetByteMessageBody", b"b\0dy", 4),
        ("SetProducerSendMsgTimeout", 3000),
        ("SendMessageOrderly",),
        ("DestroyMessage",),
    ]
    assert outcome == SendOutcome(queue=MessageQueue("telemetry", "broker-a", library.chosen[-1]), queue_offset=1)


@pytest.mark.parametrize("body", [b"\0", b"nul\0inside", bytes(range(256)), b"\xff\xfe", b"end\0"])
def test_a_body_arrives_with_every_byte(library: StandInLibrary, make: MakeProducer, body: bytes) -> None:
    make().send([message(body)], DEADLINE)
    assert [each.body for each in library.sent] == [body]


def test_our_message_id_comes_after_the_one_that_the_library_sets(library: StandInLibrary, make: MakeProducer) -> None:
    """The library keeps properties in a std::map, sets UNIQ_KEY and WAIT itself, and writes them in order without escapes."""
    make().send([message(tags="t", properties={"A": "1", "a": "2", "VERSION": "3"})], DEADLINE)
    (sent,) = library.sent
    held = {**sent.properties, b"TAGS": sent.tags, b"UNIQ_KEY": b"F" * 32, b"WAIT": b"true"}
    written = b"".join(name + b"\x01" + value + b"\x02" for name, value in sorted(held.items()))
    pairs = [pair.split(b"\x01") for pair in written.split(b"\x02")[:-1]]
    read = {name.decode(): value.decode() for name, value in pairs}  # as Java does: the last of equal names
    assert read == {"A": "1", "TAGS": "t", "UNIQ_KEY": ID, "VERSION": "3", "WAIT": "true", "a": "2"}


@pytest.mark.parametrize("status", sorted(STORED))
def test_stored_is_stored_though_flush_or_copy_was_late(
    library: StandInLibrary, make: MakeProducer, status: int
) -> None:
    library.answers = [status]
    assert errors(make().send([message()], DEADLINE)) == [None]


def test_an_unknown_send_status_is_an_unknown_outcome(library: StandInLibrary, make: MakeProducer) -> None:
    library.answers = [4]
    assert errors(make().send([message()], DEADLINE)) == [OutcomeUnknown]


# --- what goes wrong ---


SETTERS = [
    "SetMessageTags",
    "SetMessageKeys",
    "SetDelayTimeLevel",
    "SetMessageProperty",
    "SetByteMessageBody",
    "SetProducerSendMsgTimeout",
]


@pytest.mark.parametrize("function", SETTERS)
def test_a_setter_that_fails_sends_nothing_and_leaks_nothing(
    library: StandInLibrary, make: MakeProducer, function: str
) -> None:
    library.fails = {function: Status.NULL_POINTER}
    outcomes = make().send([message(tags="t", keys="k", delay_level=1, properties={"a": "1"})], DEADLINE)
    assert errors(outcomes) == [ConnectFailed]
    assert "SendMessageOrderly" not in library.names
    assert (library.names.count("CreateMessage"), library.names.count("DestroyMessage")) == (1, 1)


@pytest.mark.parametrize("status", [*Status, 999])
def test_whatever_status_a_send_ends_with_the_message_is_destroyed(
    library: StandInLibrary, make: MakeProducer, status: int
) -> None:
    library.fails = {"SendMessageOrderly": status}
    make().send([message(), message()], DEADLINE)
    assert library.names.count("DestroyMessage") == library.names.count("CreateMessage") == 2


def test_a_send_that_fails_after_a_queue_was_chosen_may_have_been_stored(
    library: StandInLibrary, make: MakeProducer
) -> None:
    library.answers = [-1]
    (outcome,) = make().send([message()], DEADLINE)
    assert isinstance(outcome.error, OutcomeUnknown)
    assert "No route info" in str(outcome.error)
    sent = outcome_of(outcome.error, "", MessageQueue("telemetry", "broker-a", 3))
    assert isinstance(sent, Failed)
    assert sent.is_unknown
    assert sent.answer == Answer(broker="broker-a", queue_id=3), "who did not answer"


def test_a_library_without_a_route_has_sent_nothing(library: StandInLibrary, make: MakeProducer) -> None:
    library.has_route = False
    assert errors(make().send([message()], DEADLINE)) == [RouteNotFound]


def test_no_message_from_the_library_is_a_failure(library: StandInLibrary, make: MakeProducer) -> None:
    producer = make()
    producer.send([message()], DEADLINE)
    library.gives_handles = False
    assert errors(producer.send([message()], DEADLINE)) == [ConnectFailed]


REFUSED = {
    "an empty body": message(b""),
    "NUL in keys": message(keys="a\0b"),
    "NUL in a property": message(properties={"a": "1\x002"}),
    "NUL in a property's name": message(properties={"a\0b": "1"}),
    "an illegal topic": message(topic="a/b"),
    "a reserved property": message(properties={"UNIQ_KEY": "1"}),
    "a separator": message(properties={"a": "1\x02b\x01c"}),
    "an id that is none": message(message_id="7"),
    "a tag that nobody selects": message(tags="a||b"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_would_not_arrive_as_it_is_is_refused_before_any_call(
    library: StandInLibrary, make: MakeProducer, refused: Message
) -> None:
    (outcome,) = make().send([refused], DEADLINE)
    assert isinstance(outcome.error, IllegalMessage)
    assert isinstance(outcome_of(outcome.error), Reject)
    assert library.calls == []


def test_a_topic_without_a_route_is_not_shown_to_the_library(library: StandInLibrary, make: MakeProducer) -> None:
    """It would ask for the route of TBW102, and have the topic created."""
    producer = make(FakeClient(missing=["absent"]))
    assert errors(producer.send([message(topic="absent"), message()], DEADLINE)) == [RouteNotFound, None]
    assert [each.topic for each in library.sent] == [b"telemetry"]


def test_a_topic_without_a_writable_queue_is_busy(library: StandInLibrary, make: MakeProducer) -> None:
    assert errors(make(FakeClient(queues=0)).send([message()], DEADLINE)) == [BrokerBusy]
    assert library.calls == []


def test_nothing_is_sent_after_the_deadline(make: MakeProducer) -> None:
    times = iter([NOW_S, NOW_S, DEADLINE])
    producer = make(clock=lambda: next(times))
    assert errors(producer.send([message(), message()], DEADLINE)) == [None, ConnectFailed]


@pytest.mark.parametrize(("left_s", "milliseconds"), [(0.5, 500), (3.5, 3000), (0.0001, 1)])
def test_a_send_has_the_time_that_is_left_but_three_seconds_at_most(
    library: StandInLibrary, make: MakeProducer, left_s: float, milliseconds: int
) -> None:
    make().send([message()], NOW_S + left_s)
    assert ("SetProducerSendMsgTimeout", milliseconds) in library.calls


# --- order and queues ---


def test_outcomes_are_in_the_order_of_the_messages(library: StandInLibrary, make: MakeProducer) -> None:
    library.answers = [0, -1, 0]
    outcomes = make().send([message(), message(b""), message(), message()], DEADLINE)
    assert errors(outcomes) == [None, IllegalMessage, OutcomeUnknown, None]


def test_nothing_overtakes_within_a_key_after_a_failure(library: StandInLibrary, make: MakeProducer) -> None:
    library.answers = [0, -1]
    keys = ["a", "a", "b", "a", "", "b"]
    outcomes = make().send([message(b"%d" % at, sharding_key=key) for at, key in enumerate(keys)], DEADLINE)
    assert errors(outcomes) == [None, OutcomeUnknown, None, HeldBack, None, None]
    assert [each.body for each in library.sent] == [b"0", b"2", b"4", b"5"]


def test_a_key_is_held_back_in_its_own_topic_only(library: StandInLibrary, make: MakeProducer) -> None:
    library.answers = [-1]
    outcomes = make().send([message(sharding_key="a"), message(topic="other", sharding_key="a")], DEADLINE)
    assert errors(outcomes) == [OutcomeUnknown, None]


def test_a_refused_message_holds_back_no_other(make: MakeProducer) -> None:
    outcomes = make().send([message(b"", sharding_key="a"), message(sharding_key="a")], DEADLINE)
    assert errors(outcomes) == [IllegalMessage, None]


# Math.abs(key.hashCode() % queues), printed by Java 17; "polygenelubricants" hashes to the least integer.
JAVA_QUEUES = [("a", 4, 1), ("a", 7, 6), ("device-17", 4, 1), ("☃\U0001f600", 7, 4), ("polygenelubricants", 7, 2)]


@pytest.mark.parametrize(("key", "queues", "queue"), JAVA_QUEUES)
@pytest.mark.parametrize("ours", [4, 7])
def test_a_key_chooses_the_queue_that_java_would_of_the_library_s_queues(
    library: StandInLibrary, make: MakeProducer, key: str, queues: int, queue: int, ours: int
) -> None:
    library.queues = queues
    (outcome,) = make(FakeClient(queues=ours)).send([message(sharding_key=key)], DEADLINE)
    assert library.chosen == [queue]
    # Which queue that is can be told only where both see the same number of them.
    assert outcome.queue == (MessageQueue("telemetry", "broker-a", queue) if ours == queues else None)


def test_messages_without_a_key_go_round_the_queues(library: StandInLibrary, make: MakeProducer) -> None:
    make().send([message()] * 8, DEADLINE)
    assert sorted(library.chosen) == sorted([*range(QUEUES)] * 2)


# --- starting and ending ---


def test_a_producer_starts_with_its_first_message(library: StandInLibrary, make: MakeProducer) -> None:
    """Its threads would not survive a fork."""
    producer = make(credentials=Credentials(access_key="user", secret_key="secret"))
    assert library.calls == []
    producer.send([message()], DEADLINE)
    ((_, settings),) = library.producers.items()
    name = settings.pop("SetProducerInstanceName")
    assert name.startswith(b"mqbridge-%d-" % os.getpid())
    assert settings == {
        "SetProducerNameServerAddress": b"10.0.0.1:9876;10.0.0.2:9876",
        "SetProducerMaxMessageSize": 4 * 1024 * 1024,
        "SetProducerLogLevel": 3,
        "SetProducerLogFileNumAndSize": (2, 8),
        "SetProducerSessionCredentials": (b"user", b"secret", b"ALIYUN"),
        "StartProducer": True,
        "SetProducerSendMsgTimeout": 3000,
    }
    assert library.names.index("SetProducerSessionCredentials") < library.names.index("StartProducer")
    producer.send([message()], DEADLINE)
    assert library.names.count("StartProducer") == 1


def test_two_producers_have_two_instance_names(library: StandInLibrary, make: MakeProducer) -> None:
    """Of one name they crash when both are shut down."""
    for _ in range(2):
        make().send([message()], DEADLINE)
    first, second = (settings["SetProducerInstanceName"] for settings in library.producers.values())
    assert first != second


@pytest.mark.parametrize("function", ["SetProducerInstanceName", "SetProducerNameServerAddress", "StartProducer"])
def test_a_producer_that_does_not_start_is_destroyed_and_started_anew_for_the_next_message(
    library: StandInLibrary, make: MakeProducer, function: str
) -> None:
    library.fails = {function: Status.PRODUCER_START_FAILED}
    producer = make()
    assert errors(producer.send([message()], DEADLINE)) == [ConnectFailed]
    assert library.producers == {}
    library.fails = {}
    assert errors(producer.send([message()], DEADLINE)) == [None]


def test_no_producer_from_the_library_is_a_failure(library: StandInLibrary, make: MakeProducer) -> None:
    library.gives_handles = False
    assert errors(make().send([message()], DEADLINE)) == [ConnectFailed]


def test_closing_shuts_down_and_destroys_and_the_producer_can_be_used_again(
    library: StandInLibrary, make: MakeProducer
) -> None:
    producer = make()
    producer.close()
    assert library.calls == []
    producer.send([message()], DEADLINE)
    producer.close()
    producer.close()
    assert library.names[-2:] == ["ShutdownProducer", "DestroyProducer"]
    assert errors(producer.send([message()], DEADLINE)) == [None]


def test_a_security_token_is_refused(library: StandInLibrary) -> None:
    keys = Credentials(access_key="user", secret_key="secret", security_token="token")
    with pytest.raises(ValueError, match="SecurityToken"):
        NativeProducer(library, FakeClient(), ["h:1"], credentials=keys)


# --- the table of statuses and texts ---

NO_QUEUE_YET = {
    Status.NOT_SUPPORTED_NOW: ConnectFailed,
    Status.NULL_POINTER: ConnectFailed,
    Status.MALLOC_FAILED: ConnectFailed,
    Status.PRODUCER_START_FAILED: ConnectFailed,
    Status.PRODUCER_SEND_SYNC_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ONEWAY_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ORDERLY_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ASYNC_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ORDERLYASYNC_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_TRANSACTION_FAILED: RouteNotFound,
    Status.NOT_SUPPORTED: ConnectFailed,
}


def test_every_status_has_a_meaning() -> None:
    assert set(NO_QUEUE_YET) == set(Status) - {Status.OK}


@pytest.mark.parametrize(("status", "expected"), [*NO_QUEUE_YET.items(), (999, RouteNotFound), (-7, RouteNotFound)])
def test_a_status_before_and_after_a_queue_was_chosen(status: int, expected: type[RocketMQError]) -> None:
    before = send_failure(status, NO_ROUTE.decode(), has_queue=False)
    after = send_failure(status, NO_ROUTE.decode(), has_queue=True)
    assert type(before) is expected
    assert type(after) is (ConnectFailed if expected is ConnectFailed else OutcomeUnknown)
    assert before.retriable
    assert after.retriable
    assert f"status {int(status)}" in str(before)


# Texts of 1.2 to 2.2 (Validators.cpp, DefaultMQProducerImpl.cpp, MQClientAPIImpl.cpp, MQClientException.h), and what other versions let
# through of a broker's answer; whether a queue had been chosen; what it means.
TEXTS = [
    ("msg: the message body is empty,error:-1,in file <Validators.cpp> line:108", False, IllegalMessage),
    ("msg: the message body size over max value, MAX: 4194304,error:-1,in file <V> line:114", False, IllegalMessage),
    ("msg: the specified topic is blank,error:-1,in file <Validators.cpp> line:58", False, IllegalMessage),
    ("msg: the specified topic is longer than topic max length 255.,error:-1", False, IllegalMessage),
    ("msg: the topic[TBW102] is conflict with default topic.,error:-1", False, IllegalMessage),
    ("msg: No route info for this topic,error:-1,in file <DefaultMQProducer.cpp> line:466", False, RouteNotFound),
    ("", False, RouteNotFound),
    ("", True, OutcomeUnknown),
    ("msg: No route info of this topic, ,error:-1,in file <DefaultMQProducer.cpp> line:516", True, OutcomeUnknown),
    ("msg: response is null,error:-1,in file <MQClientAPIImpl.cpp> line:402", True, OutcomeUnknown),
    ("msg: The broker[broker-a] not exist,error:-1,in file <D> line:443", True, ConnectFailed),
    ("msg: the message body,error:-1", True, OutcomeUnknown),
    ("msg: ok,error:0,in file <x> line:1", True, OutcomeUnknown),
    ("msg: org.apache.rocketmq.acl.common.AclException: no,error:1,in file <x> line:1", True, BrokerForbids),
    ("msg: The specified topic is blank,error:1,in file <x> line:1", True, BrokerForbids),
    ("msg: request queueId[9] is illegal,error:1,in file <x> line:1", True, BrokerForbids),
    ("msg: store putMessage return null,error:1,in file <x> line:1", True, BrokerBusy),
    ("msg: [TIMEOUT_CLEAN_QUEUE]broker busy,error:2,in file <x> line:1", True, BrokerBusy),
    ("msg: request type 310 not supported,error:3,in file <x> line:1", True, BrokerForbids),
    ("msg: the message is illegal,error:13,in file <x> line:1", True, BrokerForbids),
    ("msg: service not available now,error:14,in file <x> line:1", True, BrokerBusy),
    ("msg: the broker's message sending is forbidden,error:16,in file <x> line:1", True, BrokerForbids),
    ("msg: topic[t] not exist, apply first please!,error:17,in file <x> line:1", True, TopicNotFound),
    ("msg: flow control,error:215,in file <x> line:1", True, BrokerBusy),
]


@pytest.mark.parametrize(("text", "has_queue", "expected"), TEXTS)
def test_a_text_of_a_send_that_failed(text: str, has_queue: bool, expected: type[RocketMQError]) -> None:
    error = send_failure(Status.PRODUCER_SEND_ORDERLY_FAILED, text, has_queue=has_queue)
    assert type(error) is expected
    assert text in str(error)


# --- loading ---


class FakeDll:
    """What ctypes makes of a library: item access gives functions, whose types can be set."""

    def __init__(self, *missing: str) -> None:
        self._missing = missing
        self.functions: dict[str, types.SimpleNamespace] = {}

    def __getitem__(self, name: str) -> types.SimpleNamespace:
        if name in self._missing:
            raise AttributeError(f"undefined symbol: {name}")
        return self.functions.setdefault(name, types.SimpleNamespace())


def importing(dll: FakeDll) -> Callable[[str], Any]:
    return lambda name: types.SimpleNamespace(dll=dll) if name == "rocketmq.ffi" else None


def test_every_function_that_a_producer_calls_is_declared() -> None:
    dll = FakeDll()
    load_library(importing(dll))
    functions = {name for name in vars(Library) if name[0].isupper()}
    assert set(dll.functions) == functions == {name for name in vars(StandInLibrary) if name[0].isupper()}
    assert all(set(vars(function)) == {"restype", "argtypes"} for function in dll.functions.values())


def test_a_package_or_library_that_is_missing_is_named_with_what_to_install() -> None:
    def fail(_name: str) -> Any:
        raise ImportError("rocketmq dynamic library not found")

    with pytest.raises(NativeClientMissing, match=r"mqbridge\[native\].*librocketmq.*dynamic library not found"):
        load_library(fail)


def test_a_library_that_lacks_a_function_is_named() -> None:
    with pytest.raises(NativeClientMissing, match="no function SetByteMessageBody"):
        load_library(importing(FakeDll("SetByteMessageBody")))


def test_without_the_package_messages_wait_and_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocketmq.ffi", None)  # what Python has for a module that must not be found
    rules = load(with_native())
    (outcome,) = OpenSinks(rules).send("rocketmq", "rmq-local", [command()], NOW_S)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "cannot_connect"
    assert "mqbridge[native]" in outcome.detail


def test_an_instance_says_which_client_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocketmq.ffi", types.SimpleNamespace(dll=FakeDll()))
    sinks = OpenSinks(load(with_native()))
    (outcome,) = sinks.send("rocketmq", "rmq-local", [command(body=b"")], NOW_S)
    sinks.close()
    assert isinstance(outcome, Reject)
    assert "Client: native" in outcome.detail


def test_the_default_client_loads_nothing_of_it() -> None:
    script = "import sys, mqbridge.delivery.rocketmq_sink as sink; print(*sys.modules)"
    done = subprocess.run(  # our own interpreter on our own text
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'layers' / 'common')!r}); {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "mqbridge.delivery.rocketmq_sink" in loaded
    assert not loaded & {"mqbridge.delivery.native_producer", "mqbridge.delivery.native_library", "ctypes", "rocketmq"}


@pytest.mark.parametrize("home", ["/home/of/a/function", None])
def test_a_home_that_cannot_be_written_in_is_replaced_while_the_library_opens_its_logs(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.setenv("HOME", "")
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    with writable_home(lambda _folder: False):
        assert os.access(os.environ["HOME"], os.W_OK)
    assert os.environ.get("HOME") == home


def test_a_home_that_can_be_written_in_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with writable_home():
        assert os.environ["HOME"] == str(tmp_path)


# --- rules ---


def with_native(**more: Any) -> dict[str, Any]:
    rules = document()
    rules["Instances"]["RocketMQ"] = [{**ROCKETMQ_INSTANCE, "Client": "native", **more}]
    return rules


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"Tls": {}}, "Tls"),
        ({"AccessKey": "env:A", "SecretKey": "env:S", "SecurityToken": "env:T"}, "SecurityToken"),
    ],
)
def test_what_the_library_has_no_means_for_is_a_fault(more: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidRules) as raised:
        load(with_native(**more))
    (fault,) = raised.value.faults
    assert (fault.code, fault.path) == ("MB212", ("Instances", "RocketMQ", 0, key))
    assert "Client: native" in fault.expected


def test_access_keys_are_not() -> None:
    assert load(with_native(AccessKey="env:A", SecretKey="env:S")).rocketmq["rmq-local"].client == "native"
