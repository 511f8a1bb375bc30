"""Our producer beside RocketMQ's own Java client 4.9.7: the same messages, into the same topic, in turn."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Run:
    """Messages/s of one run: making them included, and while only the time inside send() counts."""

    rate: float
    inside_rate: float


def sends() -> Iterator[Result]:
    """Yield messages/s of our batches and pipelined sends, and of Java's batches and synchronous sends."""
    runs: dict[str, list[_Run]] = {"batch": [], "java batch": [], "pipelined": [], "sync": [], "java sync": []}
    with tempfile.TemporaryDirectory() as name, RocketMQ(Path(name)) as cluster:
        cluster.create_topic(TOPIC, queues=QUEUES)
        java_batch = _java_sender(cluster, "batch", warm_up=BATCHED, count=BATCHED)
        java_sync = _java_sender(cluster, "sync", warm_up=SINGLES, count=SINGLES)
        client = Client([cluster.name_server])
        producer = Producer(client)
        with java_batch as send_java_batches, java_sync as send_java_singles:
            _send(producer, BATCHED, BATCH)
            _pipelined(client, SINGLES)
            for _ in range(ROUNDS):
                runs["batch"].append(_timed(BATCHED, lambda: _send(producer, BATCHED, BATCH)))
                runs["java batch"].append(send_java_batches())
                runs["pipelined"].append(_timed(SINGLES, lambda: _pipelined(client, SINGLES)))
                runs["java sync"].append(send_java_singles())
                runs["sync"].append(_timed(SINGLES, lambda: _send(producer, SINGLES, 1)))
        producer.close()

    def result(name: str, key: str, bar: Bar | None = None) -> Result:
        return Result(name, "messages/s", tuple(run.rate for run in runs[key]), bar)

    def inside(name: str, key: str, bar: Bar | None = None) -> Result:
        return Result(name, "messages/s", tuple(run.inside_rate for run in runs[key]), bar)

    what = f"batches of {BATCH} x {len(BODY)} bytes with 6 properties"
    java = result(f"Java client 4.9.7, {what}", "java batch")
    yield result(f"our Producer, {what}", "batch", Bar(1.2, against=java))
    yield java
    java = inside("Java, the time inside send() only, without making the messages", "java batch")
    yield inside("ours, the time inside send() only, without making the messages", "batch", Bar(None, against=java))
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


def _send(producer: Producer, count: int, at_once: int) -> float:
    """Send `count` messages, `at_once` in each call; return the seconds spent inside the calls."""
    inside_s = 0.0
    now_ms = int(time.time() * 1000)
    for start in range(0, count, at_once):
        messages = [_message(number, now_ms) for number in range(start, start + at_once)]
        begin = time.perf_counter()
        outcomes = producer.send(messages, time.monotonic() + DEADLINE_S)
        inside_s += time.perf_counter() - begin
        for outcome in outcomes:
            assert outcome.error is None, outcome.error
    return inside_s


def _pipelined(client: Client, count: int) -> float:
    """Send singly with a window of requests in flight. Producer has no such call, since it makes batches; this is what it would do."""
    begin = time.perf_counter()
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
    return time.perf_counter() - begin


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


def _timed(count: int, action: Callable[[], float]) -> _Run:
    begin = time.perf_counter()
    inside_s = action()
    return _Run(count / (time.perf_counter() - begin), count / inside_s)


@contextmanager
def _java_sender(cluster: RocketMQ, mode: str, *, warm_up: int, count: int) -> Iterator[Callable[[], _Run]]:
    """Yield a function that has the warm Java program send `count` messages and returns how fast it was."""
    command = send_bench_command(cluster.name_server, TOPIC, mode, str(warm_up), str(count))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        ready = stdout.readline().strip()
        assert ready == "ready", f"SendBench said {ready!r}"

        def send() -> _Run:
            stdin.write("\n")
            stdin.flush()
            answer = json.loads(stdout.readline())
            return _Run(answer["rate"], answer["inside_rate"])

        yield send
        stdin.close()  # which ends it
