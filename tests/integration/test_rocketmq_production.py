"""What production asks of the client beyond understanding: compression, SQL92, a frozen process, a share of the group with Java."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.javatool import consume
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from rocketmq_remoting import Client, Consumer, Message, Producer, StartFrom, StoredMessage, random_message_id

FREEZER = """
import sys, time
from rocketmq_remoting import Client, Message, Producer, random_message_id

producer = Producer(Client([sys.argv[1]]))
for number in range(2):
    message = Message(topic=sys.argv[2], body=b"%d" % number, message_id=random_message_id(0))
    (outcome,) = producer.send([message], time.monotonic() + 5)
    print(repr(outcome.error), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def producer(rocketmq: RocketMQ) -> Iterator[Producer]:
    made = Producer(Client([rocketmq.name_server]))
    yield made
    made.close()


def _message(topic: str, body: bytes, **parts: object) -> Message:
    return Message(topic=topic, body=body, message_id=random_message_id(int(time.time() * 1000)), **parts)  # type: ignore[arg-type]


def test_large_body_is_compressed_and_java_reads_it(rocketmq: RocketMQ, fresh_topic: str, producer: Producer) -> None:
    """Over 4 KB, as Java's producer does; what would not shrink goes as it is. Both arrive as the same bytes."""
    rocketmq.create_topic(fresh_topic)
    shrinks, grows = b"0123456789" * 50_000, os.urandom(100_000)
    for body in (shrinks, grows):
        (outcome,) = producer.send([_message(fresh_topic, body)], time.monotonic() + 5)
        assert outcome.error is None
    stored = consume(rocketmq.name_server, fresh_topic, 2, timeout_s=10)
    assert sorted(bytes(each["body"]) for each in stored) == sorted((shrinks, grows))


@pytest.mark.parametrize(("max_batch_messages", "max_requests"), [(1, 32), (10, 4), (1_000, 64)])
def test_pipelined_messages_are_all_stored_where_it_is_said_and_those_of_a_key_in_order(
    rocketmq: RocketMQ, fresh_topic: str, max_batch_messages: int, max_requests: int
) -> None:
    rocketmq.create_topic(fresh_topic, queues=4)
    sent = [_message(fresh_topic, b"%d" % n, sharding_key=f"k{n % 21}" if n % 21 else "") for n in range(2_000)]
    producer = Producer(
        Client([rocketmq.name_server]), max_batch_messages=max_batch_messages, max_requests=max_requests
    )
    outcomes = producer.send(iter(sent), time.monotonic() + 20)
    producer.close()
    assert [outcome.error for outcome in outcomes] == [None] * len(sent)
    consumer = Consumer(
        Client([rocketmq.name_server]), group=f"GID_{fresh_topic}", topic=fresh_topic, start_from=StartFrom.first()
    )
    stored: list[StoredMessage] = []

    def enough() -> bool:
        polled = consumer.poll(0.2)
        consumer.settle(polled)
        stored.extend(polled)
        return len(stored) >= len(sent)

    assert wait_until(enough, timeout_s=20), consumer.problem
    consumer.close()
    places = {(each.queue_id, each.queue_offset): each for each in stored}
    assert len(places) == len(stored) == len(sent)
    for ours, outcome in zip(sent, outcomes, strict=True):
        assert outcome.queue is not None
        theirs = places[outcome.queue.queue_id, outcome.queue_offset]
        assert (theirs.body, theirs.message_id) == (ours.body, ours.message_id)
    in_order = [int(places[place].body) for place in sorted(places)]
    for key in range(1, 21):
        of_key = [number for number in in_order if number % 21 == key]
        assert of_key == sorted(of_key)


def test_sql92_subscription_gets_what_matches(rocketmq: RocketMQ, fresh_topic: str, producer: Producer) -> None:
    rocketmq.create_topic(fresh_topic)
    messages = [_message(fresh_topic, b"%d" % n, properties={"level": str(n)}) for n in range(10)]
    assert all(outcome.error is None for outcome in producer.send(messages, time.monotonic() + 5))
    consumer = Consumer(
        Client([rocketmq.name_server]),
        group=f"GID_{fresh_topic}",
        topic=fresh_topic,
        expression="level > 6",
        expression_type="SQL92",
        start_from=StartFrom.first(),
    )
    received: list[bytes] = []

    def enough() -> bool:
        received.extend(message.body for message in consumer.poll(0.2))
        return len(received) >= 3

    assert wait_until(enough, timeout_s=10), consumer.problem
    consumer.close()
    assert sorted(received) == [b"7", b"8", b"9"]


def test_process_that_was_frozen_sends_its_next_message_without_an_error(tmp_path: Path) -> None:
    """A function between two invocations does not see that the broker closes its connection. (The broker here is impatient: 2 s.)"""
    impatient = {"serverChannelMaxIdleTimeSeconds": "2"}
    with RocketMQ(tmp_path, broker_config=impatient) as cluster:
        cluster.create_topic("out")
        command = [sys.executable, "-c", FREEZER, cluster.name_server, "out"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "None\n"
            process.send_signal(signal.SIGSTOP)
            frozen_until = time.monotonic() + float(os.environ.get("MQBRIDGE_TEST_FREEZE_S", "5"))
            assert wait_until(lambda: time.monotonic() >= frozen_until, timeout_s=300)
            process.send_signal(signal.SIGCONT)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "None\n"
            process.stdin.write("\n")
        assert len(consume(cluster.name_server, "out", 2, timeout_s=10)) == 2
