"""Our producer beside RocketMQ's own Java client 4.9.7: the same messages, into the same topic, in turn."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.java_programs import send_bench_command
from benchmarks.measuring import Bar, Result
from devstack.rocketmq import RocketMQ
from rocketmq_remoting import Client, Message, Producer, check_message, random_message_id
from rocketmq_remoting.codes import RequestCode
from rocketmq_remoting.connection import Connection
from rocketmq_remoting.exchange import wait
from rocketmq_remoting.frames import Frame

__all__ = ["sends"]

TOPIC = "bench"
QUEUES = 8
BATCH = 100
BODY = bytes(200)
IN_FLIGHT = 128
ROUNDS = 3
BATCHED, SINGLES = 100_000, 20_000  # messages a run
DEADLINE_S = 60.0


def sends() -> Iterator[Result]:
    """Yield messages/s of our batches and pipelined sends, and of Java's batches and synchronous sends."""
    rates: dict[str, list[float]] = {"batch": [], "java batch": [], "pipelined": [], "sync": [], "java sync": []}
    with tempfile.TemporaryDirectory() as name, RocketMQ(Path(name)) as cluster:
        cluster.create_topic(TOPIC, queues=QUEUES)
        java_batch = _java_sender(cluster, "batch", warm_up=BATCHED, count=BATCHED)
        java_sync = _java_sender(cluster, "sync", warm_up=SINGLES, count=SINGLES)
        client = Client([cluster.name_server])
        producer = Producer(client)
        with java_batch as send_java_batches, java_sync as send_java_singles:
            _in_batches(producer, BATCHED)
            _pipelined(client, SINGLES)
            for _ in range(ROUNDS):
                rates["batch"].append(_rate(BATCHED, lambda: _in_batches(producer, BATCHED)))
                rates["java batch"].append(send_java_batches())
                rates["pipelined"].append(_rate(SINGLES, lambda: _pipelined(client, SINGLES)))
                rates["java sync"].append(send_java_singles())
                rates["sync"].append(_rate(SINGLES, lambda: _one_by_one(producer, SINGLES)))
        producer.close()

    def result(name: str, key: str, bar: Bar | None = None) -> Result:
        return Result(name, "messages/s", tuple(rates[key]), bar)

    what = "200 bytes with 6 properties"
    java = result(f"Java client 4.9.7, batches of {BATCH} x {what}", "java batch")
    yield result(f"our Producer, batches of {BATCH} x {what}", "batch", Bar(1.2, against=java))
    yield java
    java = result("Java client 4.9.7, single sends, one thread, synchronous", "java sync")
    yield result(f"our Client, single sends, {IN_FLIGHT} in flight", "pipelined", Bar(1.4, against=java))
    yield result("our Producer, single sends, synchronous", "sync", Bar(None, against=java))
    yield java


def _message(number: int, now_ms: int) -> Message:
    device = f"d{number % 100}"
    return Message(
        topic=TOPIC,
        body=BODY,
        message_id=random_message_id(now_ms),
        properties={
            "mqttSecondTopic": f"/{device}/up",
            "topic": f"devices/{device}/up",
            "qoslevel": "1",
            "clientId": f"GID_bench@@@{device}",
            "mqbridge-origin": "mqtt:mqtt-bench/devices",
            "mqtt5ContentType": "application/json",
        },
    )


def _in_batches(producer: Producer, count: int) -> None:
    now_ms = int(time.time() * 1000)
    for start in range(0, count, BATCH):
        _send(producer, [_message(number, now_ms) for number in range(start, start + BATCH)])


def _one_by_one(producer: Producer, count: int) -> None:
    now_ms = int(time.time() * 1000)
    for number in range(count):
        _send(producer, [_message(number, now_ms)])


def _send(producer: Producer, messages: list[Message]) -> None:
    for outcome in producer.send(messages, time.monotonic() + DEADLINE_S):
        assert outcome.error is None


def _pipelined(client: Client, count: int) -> None:
    """Send singly with a window of requests in flight. Producer has no such call, since it makes batches; this is what it would do."""
    deadline = time.monotonic() + DEADLINE_S
    route = client.route(TOPIC, deadline)
    connection = client.connection(route.addresses[route.writable[0].broker_name])
    connection.open(deadline)
    now_ms = int(time.time() * 1000)
    in_flight: set[int] = set()

    def has_room(limit: int) -> Callable[[], bool]:
        def settled() -> bool:
            for opaque in [each for each in in_flight if connection.has_answer(each)]:
                answer = connection.take(opaque)
                assert isinstance(answer, Frame), answer
                assert answer.code == 0, answer.remark
                in_flight.discard(opaque)
            return len(in_flight) <= limit

        return settled

    for number in range(count):
        if len(in_flight) >= IN_FLIGHT:
            wait({connection}, has_room(IN_FLIGHT // 2), deadline)
        queue_id = route.writable[number % len(route.writable)].queue_id
        in_flight.add(_submit(connection, queue_id, _message(number, now_ms), now_ms))
    wait({connection}, has_room(0), deadline)
    assert not in_flight


def _submit(connection: Connection, queue_id: int, message: Message, now_ms: int) -> int:
    fields = {
        "a": "mqbridge",
        "b": message.topic,
        "c": "TBW102",
        "d": "4",
        "e": str(queue_id),
        "f": "0",
        "g": str(now_ms),
        "h": "0",
        "i": check_message(message).decode(),
        "j": "0",
        "k": "false",
        "m": "false",
    }
    return connection.submit(RequestCode.SEND_MESSAGE_V2, fields, message.body)


def _rate(count: int, action: Callable[[], None]) -> float:
    begin = time.perf_counter()
    action()
    return count / (time.perf_counter() - begin)


@contextmanager
def _java_sender(cluster: RocketMQ, mode: str, *, warm_up: int, count: int) -> Iterator[Callable[[], float]]:
    """Yield a function that has the warm Java program send `count` messages and returns its messages/s."""
    command = send_bench_command(cluster.name_server, TOPIC, mode, str(warm_up), str(count))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        ready = stdout.readline().strip()
        assert ready == "ready", f"SendBench said {ready!r}"

        def send() -> float:
            stdin.write("\n")
            stdin.flush()
            return float(json.loads(stdout.readline())["rate"])

        yield send
        stdin.close()  # which ends it
