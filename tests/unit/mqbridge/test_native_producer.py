"""What the native producer calls on librocketmq, which is not here: against a stand-in with the same functions."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from mqbridge.delivery.native_errors import STORED, Status
from mqbridge.delivery.native_producer import NativeProducer
from mqbridge.delivery.rocketmq_sink import outcome_of
from mqbridge.outcomes import Answer, Failed, Reject
from rocketmq_remoting import (
    BrokerBusy,
    Client,
    ConnectFailed,
    Credentials,
    HeldBack,
    IllegalMessage,
    Message,
    MessageQueue,
    OutcomeUnknown,
    RouteNotFound,
    SendOutcome,
)
from tests.unit.mqbridge.native_stand_in import (
    DEADLINE,
    ID,
    NOW_S,
    QUEUES,
    FakeClient,
    MakeProducer,
    StandInLibrary,
    errors,
    message,
)


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
