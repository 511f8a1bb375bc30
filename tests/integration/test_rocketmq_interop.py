"""Our RocketMQ client, RocketMQ's own Java client and a real broker understand each other."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devstack.javatool import OutgoingMessage, consume, produce
from devstack.processes import wait_until
from devstack.rocketmq import PATIENT_BROKER, RocketMQ
from rocketmq_remoting import (
    Client,
    Consumer,
    Message,
    Producer,
    RouteNotFound,
    SendOutcome,
    StartFrom,
    StoredMessage,
    derived_message_id,
    random_message_id,
)
from rocketmq_remoting.messages import MAX_BODY_BYTES, MAX_PROPERTIES_BYTES

BINARY = bytes(range(256))
TEXT = 'ünïcode "quoted" \\ \u2028 \x7f \U0001f600 =;,'
QUEUES = 4
# What client and broker add. 4.9 adds CLUSTER to every message; 5.x does to those that come alone, and MSG_REGION and TRACE_ON too.
ADDED = {"WAIT", "CLUSTER", "MSG_REGION", "TRACE_ON"}


@pytest.fixture
def topic(rocketmq: RocketMQ, fresh_topic: str) -> str:
    """A topic of four queues."""
    rocketmq.create_topic(fresh_topic, queues=QUEUES)
    return fresh_topic


@pytest.fixture
def producer(rocketmq: RocketMQ) -> Iterator[Producer]:
    made = Producer(Client([rocketmq.name_server]))
    yield made
    made.close()


MakeConsumer = Callable[..., Consumer]


@pytest.fixture
def make_consumer(rocketmq: RocketMQ) -> Iterator[MakeConsumer]:
    with ExitStack() as stack:

        def make(topic: str, group: str = "", **options: Any) -> Consumer:
            consumer = Consumer(Client([rocketmq.name_server]), group=group or f"GID_{topic}", topic=topic, **options)
            stack.callback(consumer.close)
            return consumer

        yield make


def message(topic: str, body: bytes = b"", **rest: Any) -> Message:
    return Message(**{"topic": topic, "body": body, "message_id": random_message_id(int(time.time() * 1000))} | rest)


def send(producer: Producer, *messages: Message, timeout_s: float = 10.0) -> list[SendOutcome]:
    outcomes = producer.send(messages, time.monotonic() + timeout_s)
    assert [outcome.error for outcome in outcomes] == [None] * len(messages)
    return outcomes


def receive(consumer: Consumer, count: int, *, timeout_s: float = 15.0) -> list[StoredMessage]:
    """Poll until `count` messages have come; more at once are a failure."""
    messages: list[StoredMessage] = []
    deadline = time.monotonic() + timeout_s
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} messages came; problem: {consumer.problem!r}"
        messages += consumer.poll(0.5)
    assert len(messages) == count
    return messages


def start(consumer: Consumer, producer: Producer, topic: str) -> None:
    """Poll until the consumer reads every queue from what is sent now on."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline, f"problem: {consumer.problem!r}"
        probes = [message(topic, b"probe", sharding_key=chr(queue)) for queue in range(QUEUES)]
        send(producer, *probes)
        awaited = {probe.message_id for probe in probes}
        until = time.monotonic() + 1
        # A queue keeps its order: after the last probe of each, none of the earlier ones is under way.
        while awaited and time.monotonic() < until:
            messages = consumer.poll(0.1)
            consumer.settle(messages)
            awaited -= {each.message_id for each in messages}
        if not awaited:
            return


# --- what we send, Java reads ---


def test_java_reads_what_we_send(rocketmq: RocketMQ, topic: str, producer: Producer) -> None:
    alone = [
        message(topic, BINARY, tags="red", keys="k1 k2", properties={"plain": "1", "text": TEXT, "größe": "☃"}),
        message(topic, b"\x00", properties={"empty": ""}),
        message(topic, b"delayed", delay_level=1),
        message(topic, b"x" * 100_000, message_id=derived_message_id("source", 1_700_000_000_000).lower()),
    ]
    batch = [
        message(topic, b"batch %d" % at + BINARY, tags=f"t{at}", properties={"at": TEXT + str(at)}) for at in range(20)
    ]
    sent = [*alone, *batch]
    outcomes = [send(producer, each)[0] for each in alone] + send(producer, *batch)
    read = {each["body"]: each for each in consume(rocketmq.name_server, topic, len(sent))}
    assert len(read) == len(sent)
    for ours, outcome in zip(sent, outcomes, strict=True):
        theirs = read[ours.body]
        assert theirs["msgId"] == ours.message_id
        assert (theirs["tags"] or "", theirs["keys"] or "") == (ours.tags, ours.keys)
        system = {"UNIQ_KEY": ours.message_id, "TAGS": ours.tags, "KEYS": ours.keys}
        expected = {name: value for name, value in {**system, **ours.properties}.items() if value}
        # What the broker's timer leaves in a message that was delayed.
        added = ADDED | ({"DELAY", "REAL_TOPIC", "REAL_QID"} if ours.delay_level else set())
        assert {name: value for name, value in theirs["properties"].items() if name not in added} == expected
        assert outcome.queue is not None
        if not ours.delay_level:
            assert (theirs["queueId"], theirs["queueOffset"]) == (outcome.queue.queue_id, outcome.queue_offset)


def test_empty_bodies_arrive(topic: str, producer: Producer, make_consumer: MakeConsumer) -> None:
    """Java's client cannot send one, and gives null for it when it reads."""
    sent = [
        message(topic, properties={"n": "1"}),
        message(topic, properties={"n": "2"}),
        message(topic, properties={"n": "3"}),
    ]
    send(producer, sent[0])
    send(producer, *sent[1:])
    read = receive(make_consumer(topic, start_from=StartFrom.first()), 3)
    assert {each.properties["n"]: each.body for each in read} == {"1": b"", "2": b"", "3": b""}
    assert {each.message_id for each in read} == {each.message_id for each in sent}


def test_largest_message_is_taken(topic: str, producer: Producer) -> None:
    rest = len("UNIQ_KEY") + 32 + len("n") + 4
    largest = message(topic, bytes(MAX_BODY_BYTES), properties={"n": "x" * (MAX_PROPERTIES_BYTES - rest)})
    send(producer, largest)


def test_largest_batches_are_taken(rocketmq: RocketMQ, producer: Producer) -> None:
    """Many small messages to a long topic: the broker counts about 100 bytes and the topic for each."""
    topic = "t" * 127
    rocketmq.create_topic(topic, queues=1)
    outcomes = send(producer, *(message(topic) for _ in range(17_000)), timeout_s=30)
    assert sorted(outcome.queue_offset for outcome in outcomes) == list(range(17_000))


def test_query_by_unique_key_finds_our_message(rocketmq: RocketMQ, topic: str, producer: Producer) -> None:
    """It reads the time from the id; the index is written a moment after the message."""
    sent = message(topic, b"findable", keys="k")
    (outcome,) = send(producer, sent)
    shown = ""

    def found() -> bool:
        nonlocal shown
        shown = rocketmq.admin("queryMsgByUniqueKey", "-i", sent.message_id, "-t", topic)
        return topic in shown

    assert wait_until(found, timeout_s=15)
    assert outcome.queue is not None
    fields = dict(line.partition(":")[::2] for line in shown.splitlines() if ":" in line)
    stripped = {name.strip(): value.strip() for name, value in fields.items()}
    assert stripped["Queue ID"] == str(outcome.queue.queue_id)
    assert stripped["Queue Offset"] == str(outcome.queue_offset)


def test_sharding_keys_choose_the_queues_that_java_chooses(
    rocketmq: RocketMQ, fresh_topic: str, producer: Producer
) -> None:
    rocketmq.create_topic(fresh_topic, queues=7)
    chance = random.Random(7)
    alphabet = "abcXYZ019/-_+# äß漢☃\U0001f600"
    keys = ["polygenelubricants", *("".join(chance.choices(alphabet, k=chance.randint(1, 20))) for _ in range(199))]
    theirs = produce(rocketmq.name_server, ({"topic": fresh_topic, "body": b"x", "shardingKey": key} for key in keys))
    ours = send(producer, *(message(fresh_topic, sharding_key=key) for key in keys))
    assert [outcome.queue.queue_id for outcome in ours if outcome.queue] == [result["queueId"] for result in theirs]


def test_topic_that_does_not_exist_has_no_route(producer: Producer, fresh_topic: str) -> None:
    (outcome,) = producer.send([message(fresh_topic)], time.monotonic() + 5)
    assert isinstance(outcome.error, RouteNotFound)


# --- what Java sends, we read ---


def test_we_read_what_java_sends(rocketmq: RocketMQ, topic: str, make_consumer: MakeConsumer) -> None:
    rich: OutgoingMessage = {
        "topic": topic,
        "body": BINARY,
        "tags": "red",
        "keys": "k1 k2",
        "properties": {"plain": "1", "text": TEXT, "größe": "☃"},
    }
    large: OutgoingMessage = {"topic": topic, "body": b"compressed" * 1000}  # above 4 KB the client compresses
    sharded: OutgoingMessage = {"topic": topic, "body": b"sharded", "shardingKey": "hello"}
    batch: list[OutgoingMessage] = [
        {"topic": topic, "body": b"batch %d" % at, "batch": "b", "tags": f"t{at}", "properties": {"at": TEXT}}
        for at in range(5)
    ]
    results = produce(rocketmq.name_server, [rich, large, sharded, *batch])
    ids = [each for result in results for each in result["msgId"].split(",")]
    sent = [rich, large, sharded, *batch]
    read = {each.body: each for each in receive(make_consumer(topic, start_from=StartFrom.first()), len(sent))}
    for theirs, message_id in zip(sent, ids, strict=True):
        ours = read[theirs["body"]]
        assert (ours.topic, ours.message_id, ours.reconsume_times) == (topic, message_id, 0)
        system = {"UNIQ_KEY": message_id, "TAGS": theirs.get("tags"), "KEYS": theirs.get("keys")}
        expected = {name: value for name, value in {**system, **theirs.get("properties", {})}.items() if value}
        assert {**ours.properties, **expected} == ours.properties
        assert set(ours.properties) - set(expected) <= ADDED
        assert abs(ours.born_timestamp_ms - time.time() * 1000) < 60_000
    assert (read[b"sharded"].queue_id, read[b"sharded"].queue_offset) == (
        results[2]["queueId"],
        results[2]["queueOffset"],
    )
    assert [read[b"batch %d" % at].queue_offset - results[3]["queueOffset"] for at in range(5)] == [0, 1, 2, 3, 4]


# --- consuming ---


def test_tags_are_filtered(topic: str, producer: Producer, make_consumer: MakeConsumer) -> None:
    """ "Aa" and "BB" have the same hash, which is all that the broker compares."""
    send(producer, *(message(topic, tag.encode(), tags=tag) for tag in ("Aa", "BB", "c", "d")))
    read = receive(make_consumer(topic, start_from=StartFrom.first(), expression="Aa || d"), 2)
    assert sorted(each.body for each in read) == [b"Aa", b"d"]


def test_new_group_does_not_get_what_was_sent_before(
    topic: str, producer: Producer, make_consumer: MakeConsumer
) -> None:
    """The broker answers offset 0 for an unknown group as long as the first message is in memory."""
    send(producer, *(message(topic, b"old", sharding_key=chr(queue)) for queue in range(QUEUES)))
    consumer = make_consumer(topic)
    start(consumer, producer, topic)
    send(producer, message(topic, b"new"))
    assert [each.body for each in receive(consumer, 1)] == [b"new"]


def test_new_group_can_start_at_a_time(topic: str, producer: Producer, make_consumer: MakeConsumer) -> None:
    send(producer, message(topic, b"old", sharding_key="a"))
    (old,) = receive(make_consumer(topic, "GID_first", start_from=StartFrom.first()), 1)
    later_ms = old.store_timestamp_ms + 1
    assert wait_until(lambda: time.time() * 1000 > later_ms + 5, timeout_s=5)
    send(producer, message(topic, b"new", sharding_key="a"))
    read = receive(make_consumer(topic, "GID_at", start_from=StartFrom.at(later_ms)), 1)
    assert [each.body for each in read] == [b"new"]


def test_start_at_a_time_after_everything_that_is_stored_gives_only_what_comes(
    topic: str, producer: Producer, make_consumer: MakeConsumer
) -> None:
    """Asked for such a time, the broker names the last message that there is (ConsumeQueue.getOffsetInQueueByTime)."""
    send(producer, message(topic, b"old", sharding_key="a"))
    consumer = make_consumer(topic, start_from=StartFrom.at(int(time.time() * 1000) + 5))
    assert consumer.poll(0.3) == []
    send(producer, message(topic, b"new", sharding_key="a"))
    assert [each.body for each in receive(consumer, 1)] == [b"new"]


def test_start_at_a_time_gives_all_messages_of_that_very_time(
    topic: str, producer: Producer, make_consumer: MakeConsumer
) -> None:
    """A batch has one time; the broker's bisection stops in the middle of it."""
    send(producer, *(message(topic, b"%d" % at) for at in range(50)))
    (first, *_) = receive(make_consumer(topic, "GID_first", start_from=StartFrom.first()), 50)
    read = receive(make_consumer(topic, "GID_at", start_from=StartFrom.at(first.store_timestamp_ms)), 50)
    assert [each.body for each in read] == [b"%d" % at for at in range(50)]


def test_offsets_survive_a_new_consumer(topic: str, producer: Producer, make_consumer: MakeConsumer) -> None:
    sent = [message(topic, b"%d" % at, sharding_key="one queue") for at in range(10)]
    send(producer, *sent)
    first = make_consumer(topic, start_from=StartFrom.first())
    messages = receive(first, 10)
    first.settle([*messages[:4], messages[6]])
    first.close()
    assert first.problem is None
    read = receive(make_consumer(topic), 6)
    assert [each.body for each in read] == [b"4", b"5", b"6", b"7", b"8", b"9"]


def test_group_shared_by_two_consumers_gets_every_message_exactly_once(
    topic: str, producer: Producer, make_consumer: MakeConsumer
) -> None:
    consumers = [make_consumer(topic), make_consumer(topic)]

    def shares() -> list[set[int]]:
        """Send a message to each queue and return which member got which."""
        probes = [message(topic, b"probe", sharding_key=chr(queue)) for queue in range(QUEUES)]
        send(producer, *probes)
        wanted = {probe.message_id for probe in probes}
        got: list[set[int]] = [set(), set()]
        deadline = time.monotonic() + 1
        while wanted and time.monotonic() < deadline:
            for share, consumer in zip(got, consumers, strict=True):
                messages = consumer.poll(0.02)
                consumer.settle(messages)
                share |= {each.queue_id for each in messages if each.message_id in wanted}
                wanted -= {each.message_id for each in messages}
        return got

    assert wait_until(lambda: sorted(map(len, shares())) == [2, 2], timeout_s=25)
    sent = [message(topic, b"%d" % at, sharding_key=f"key {at}") for at in range(300)]
    send(producer, *sent)
    read: list[str] = []
    deadline = time.monotonic() + 15
    while len(set(read)) < len(sent) and time.monotonic() < deadline:
        for consumer in consumers:
            messages = consumer.poll(0.02)
            consumer.settle(messages)
            read += [each.message_id for each in messages if each.body != b"probe"]
    assert sorted(read) == sorted(each.message_id for each in sent)


def test_message_that_was_sent_back_comes_again_under_its_own_topic(
    topic: str, producer: Producer, make_consumer: MakeConsumer
) -> None:
    consumer = make_consumer(topic)
    start(consumer, producer, topic)
    sent = message(topic, b"again", keys="k", properties={"p": "1"})
    send(producer, sent)
    (first,) = receive(consumer, 1)
    consumer.send_back(first, delay_level=1)
    consumer.settle([first])
    (second,) = receive(consumer, 1, timeout_s=30)
    assert (second.topic, second.body, second.message_id, second.reconsume_times) == (
        topic,
        b"again",
        sent.message_id,
        1,
    )
    assert second.retry_topic == f"%RETRY%GID_{topic}"
    assert second.properties["p"] == "1"


def test_message_that_was_sent_back_for_good_lands_in_the_group_s_dead_letter_topic(
    rocketmq: RocketMQ, topic: str, producer: Producer, make_consumer: MakeConsumer
) -> None:
    consumer = make_consumer(topic)
    start(consumer, producer, topic)
    sent = message(topic, b"dead")
    send(producer, sent)
    (read,) = receive(consumer, 1)
    consumer.send_back(read, delay_level=-1)
    rocketmq.register()
    (dead,) = consume(rocketmq.name_server, f"%DLQ%GID_{topic}", 1)
    assert (dead["body"], dead["msgId"]) == (b"dead", sent.message_id)


# --- outages ---


def test_producer_and_consumer_go_on_by_themselves_after_a_broker_was_killed(
    tmp_path: Path, rocketmq_version: str | None
) -> None:
    with RocketMQ(tmp_path, broker_config=PATIENT_BROKER, version=rocketmq_version) as cluster, ExitStack() as stack:
        cluster.create_topic("t", queues=QUEUES)
        producer, reader = Producer(Client([cluster.name_server])), Client([cluster.name_server])
        consumer = Consumer(reader, group="GID_t", topic="t")
        stack.callback(producer.close)
        stack.callback(consumer.close)
        start(consumer, producer, "t")
        send(producer, message("t", b"before"))
        (before,) = receive(consumer, 1)
        consumer.settle([before])
        cluster.broker.kill()
        (down,) = producer.send([message("t", b"down")], time.monotonic() + 1)
        assert down.error is not None
        assert down.error.retriable
        assert consumer.poll(0.2) == []
        assert consumer.problem is not None
        cluster.broker.start()
        send(producer, message("t", b"after"))
        messages = receive_body(consumer, b"after")
        assert b"after" in messages
        assert set(messages) <= {
            b"after",
            b"before",
            b"probe",
        }  # what was not committed when it was killed may come again


def receive_body(consumer: Consumer, body: bytes) -> list[bytes]:
    bodies: list[bytes] = []
    deadline = time.monotonic() + 20
    while body not in bodies:
        assert time.monotonic() < deadline, f"{body!r} did not come; problem: {consumer.problem!r}"
        bodies += [each.body for each in consumer.poll(0.5)]
    return bodies
