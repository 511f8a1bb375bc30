"""What both RocketMQ producers promise: rocketmq_remoting's, and the native one where librocketmq is present."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.javatool import consume, produce
from devstack.rocketmq import RocketMQ
from mqbridge.delivery.native_library import NativeClientMissing, load_library
from mqbridge.delivery.native_producer import NativeProducer
from mqbridge.delivery.rocketmq_sink import AnyProducer
from rocketmq_remoting import (
    Client,
    Consumer,
    HeldBack,
    IllegalMessage,
    Message,
    Producer,
    RocketMQError,
    RouteNotFound,
    SendOutcome,
    StartFrom,
    StoredMessage,
    random_message_id,
)

BINARY = bytes(range(256))
TEXT = 'ünïcode "quoted" \\ \u2028 \x7f \U0001f600 =;,'
QUEUES = 7

OpenProducer = Callable[[RocketMQ], AnyProducer]


def open_remoting(cluster: RocketMQ) -> AnyProducer:
    return Producer(Client([cluster.name_server]))


def open_native(cluster: RocketMQ) -> AnyProducer:
    try:
        library = load_library()
    except NativeClientMissing as error:
        pytest.skip(str(error))  # for this machine no registry has librocketmq; the error names what is missing
    return NativeProducer(library, Client([cluster.name_server]), [cluster.name_server])


@pytest.fixture(params=[open_remoting, open_native], ids=["remoting", "native"])
def open_producer(request: pytest.FixtureRequest) -> Iterator[OpenProducer]:
    """Open producers of one kind, which are closed when the test ends."""
    with ExitStack() as stack:

        def opened(cluster: RocketMQ) -> AnyProducer:
            producer: AnyProducer = request.param(cluster)
            stack.callback(producer.close)
            return producer

        yield opened


@pytest.fixture
def producer(open_producer: OpenProducer, rocketmq: RocketMQ) -> AnyProducer:
    return open_producer(rocketmq)


@pytest.fixture
def topic(rocketmq: RocketMQ, fresh_topic: str) -> str:
    rocketmq.create_topic(fresh_topic, queues=QUEUES)
    return fresh_topic


def message(topic: str, body: bytes = b"body", **rest: Any) -> Message:
    return Message(**{"topic": topic, "body": body, "message_id": random_message_id(int(time.time() * 1000))} | rest)


def send(producer: AnyProducer, *messages: Message, timeout_s: float = 10.0) -> list[SendOutcome]:
    return producer.send(messages, time.monotonic() + timeout_s)


def errors(outcomes: Sequence[SendOutcome]) -> list[RocketMQError | None]:
    return [outcome.error for outcome in outcomes]


def stored(cluster: RocketMQ, topic: str, count: int) -> list[StoredMessage]:
    """Return all messages of the topic; `count` are expected."""
    consumer = Consumer(Client([cluster.name_server]), group=f"GID_{topic}", topic=topic, start_from=StartFrom.first())
    messages: list[StoredMessage] = []
    deadline = time.monotonic() + 15
    try:
        while len(messages) < count:
            assert time.monotonic() < deadline, f"{len(messages)} of {count} came; problem: {consumer.problem!r}"
            messages += consumer.poll(0.5)
    finally:
        consumer.close()
    assert len(messages) == count
    return messages


BODIES = [
    BINARY,
    b"\0",
    b"nul\0inside",
    b"\0" * 5000,
    b"\xff\xfe",
    b"x" * 100_000 + b"\0",
    random.Random(1).randbytes(300_000),
]


def test_java_reads_every_byte_property_and_id_that_was_sent(
    rocketmq: RocketMQ, topic: str, producer: AnyProducer
) -> None:
    sent = [
        message(topic, b"rich", tags="röd", keys="k1 k2", properties={"plain": "1", "text": TEXT, "größe": "☃"}),
        message(topic, b"lower case id", message_id=random_message_id(0).lower(), properties={"A": "1", "empty": ""}),
        *(message(topic, body) for body in BODIES),
    ]
    outcomes = send(producer, *sent)
    assert errors(outcomes) == [None] * len(sent)
    read = {each["body"]: each for each in consume(rocketmq.name_server, topic, len(sent))}
    assert len(read) == len(sent)
    for ours, outcome in zip(sent, outcomes, strict=True):
        theirs = read[ours.body]
        assert theirs["msgId"] == ours.message_id
        assert (theirs["tags"] or "", theirs["keys"] or "") == (ours.tags, ours.keys)
        assert {name: theirs["properties"].get(name, "") for name in ours.properties} == ours.properties
        system = {"UNIQ_KEY", "TAGS", "KEYS", "CLUSTER", "WAIT"}
        assert set(theirs["properties"]) - system == {name for name, value in ours.properties.items() if value}
        assert outcome.queue is not None
        assert (theirs["queueId"], theirs["queueOffset"]) == (outcome.queue.queue_id, outcome.queue_offset)


def test_an_empty_body_is_stored_as_it_is_or_refused(rocketmq: RocketMQ, topic: str, producer: AnyProducer) -> None:
    (outcome,) = send(producer, message(topic, b"", properties={"n": "1"}))
    if isinstance(producer, Producer):
        assert outcome.error is None
        assert [each.body for each in stored(rocketmq, topic, 1)] == [b""]
    else:
        assert isinstance(outcome.error, IllegalMessage)
        assert "empty body" in str(outcome.error)


def test_a_delayed_message_comes_later(rocketmq: RocketMQ, topic: str, producer: AnyProducer) -> None:
    assert errors(send(producer, message(topic, delay_level=1))) == [None]
    (read,) = stored(rocketmq, topic, 1)
    assert read.properties["DELAY"] == "1"


def test_sharding_keys_choose_the_queues_that_java_chooses(
    rocketmq: RocketMQ, topic: str, producer: AnyProducer
) -> None:
    chance = random.Random(7)
    alphabet = "abcXYZ019/-_+# äß漢☃\U0001f600\0"
    keys = ["polygenelubricants", *("".join(chance.choices(alphabet, k=chance.randint(1, 20))) for _ in range(49))]
    theirs = produce(rocketmq.name_server, ({"topic": topic, "body": b"x", "shardingKey": key} for key in keys))
    outcomes = send(producer, *(message(topic, sharding_key=key) for key in keys))
    assert [outcome.queue.queue_id for outcome in outcomes if outcome.queue] == [each["queueId"] for each in theirs]


def test_messages_of_a_key_keep_their_order(rocketmq: RocketMQ, topic: str, producer: AnyProducer) -> None:
    sent = [message(topic, b"%d" % at, sharding_key=f"key {at % 5}", tags=f"t{at % 5}") for at in range(100)]
    assert errors(send(producer, *sent)) == [None] * 100
    read = sorted(stored(rocketmq, topic, 100), key=lambda each: (each.queue_id, each.queue_offset))
    for key in range(5):
        of_key = [each for each in read if each.properties["TAGS"] == f"t{key}"]
        assert [each.body for each in of_key] == [b"%d" % at for at in range(key, 100, 5)]
        assert len({each.queue_id for each in of_key}) == 1


def test_messages_without_a_key_are_spread(rocketmq: RocketMQ, topic: str, producer: AnyProducer) -> None:
    for _ in range(QUEUES):
        assert errors(send(producer, message(topic))) == [None]
    assert {each.queue_id for each in stored(rocketmq, topic, QUEUES)} == set(range(QUEUES))


def test_illegal_messages_are_refused_in_their_place_and_harm_no_other(
    rocketmq: RocketMQ, topic: str, producer: AnyProducer
) -> None:
    illegal = [
        message("no/topic"),
        message(topic, properties={"a": "1\x02UNIQ_KEY\x01injected"}),
        message(topic, properties={"KEYS": "reserved"}),
        message(topic, message_id="7"),
        message(topic, tags="a || b"),
        message(topic, bytes(5 * 1024 * 1024)),
        message(topic, delay_level=19),
    ]
    mixed = [each for pair in zip(illegal, [message(topic) for _ in illegal], strict=True) for each in pair]
    assert [isinstance(error, IllegalMessage) for error in errors(send(producer, *mixed))] == [True, False] * 7
    assert {each.message_id for each in stored(rocketmq, topic, 7)} == {each.message_id for each in mixed[1::2]}


def test_a_topic_that_does_not_exist_has_no_route_and_is_not_created(
    rocketmq: RocketMQ, topic: str, producer: AnyProducer, fresh_topic: str
) -> None:
    missing = f"missing_{fresh_topic}"
    outcomes = send(producer, message(topic), message(missing, sharding_key="k"), message(topic))
    assert [type(error) for error in errors(outcomes)] == [type(None), RouteNotFound, type(None)]
    assert missing not in rocketmq.admin("topicList")


def test_a_passed_deadline_sends_nothing(rocketmq: RocketMQ, topic: str, producer: AnyProducer) -> None:
    (late,) = send(producer, message(topic, b"late"), timeout_s=-1.0)
    assert late.error is not None
    assert late.error.retriable
    send(producer, message(topic, b"in time"))
    assert [each.body for each in stored(rocketmq, topic, 1)] == [b"in time"]


def test_while_the_broker_is_away_messages_fail_in_order_and_may_be_sent_again(
    open_producer: OpenProducer, tmp_path: Path, fresh_topic: str
) -> None:
    with RocketMQ(tmp_path) as cluster:
        cluster.create_topic(fresh_topic)
        producer = open_producer(cluster)
        assert errors(send(producer, message(fresh_topic, b"0", sharding_key="a"))) == [None]
        cluster.broker.kill()
        sent = [message(fresh_topic, b"%d" % at, sharding_key="a") for at in range(1, 4)]
        failed = errors(send(producer, *sent, timeout_s=3.0))
        assert all(error is not None and error.retriable for error in failed)
        assert all(isinstance(error, HeldBack | type(failed[0])) for error in failed)
        cluster.broker.start()
        deadline = time.monotonic() + 30
        while any(errors(send(producer, *sent))):
            assert time.monotonic() < deadline, "the producer does not find the broker again"
        consumer_sees = stored(cluster, fresh_topic, 4)
        assert [each.body for each in sorted(consumer_sees, key=lambda each: each.queue_offset)] == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]
        assert [each.message_id for each in consumer_sees[1:]] == [each.message_id for each in sent]


def test_two_producers_of_one_cluster_do_not_disturb_each_other(
    open_producer: OpenProducer, rocketmq: RocketMQ, topic: str
) -> None:
    first, second = open_producer(rocketmq), open_producer(rocketmq)
    assert errors([*send(first, message(topic)), *send(second, message(topic))]) == [None, None]
    first.close()
    assert errors(send(second, message(topic))) == [None]
    assert errors(send(first, message(topic))) == [None]
