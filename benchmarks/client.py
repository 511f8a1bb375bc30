"""Our producer beside RocketMQ's own Java client 4.9.7: the same messages, into the same topic, in turn."""

import gc
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
from mqbridge.garbage import collect_rarely
from rocketmq_remoting import Client, Message, Producer, SendOutcome, random_message_id

__all__ = ["sends"]

TOPIC = "bench"
QUEUES = 8
BATCH = 100
BODY = bytes(200)
IN_FLIGHT = 128  # of the pipelined single sends
ROUNDS = 5
BATCHED, SINGLES = 100_000, 20_000  # messages a run
LIST = 10_000  # messages in a list that is made before it is sent
# So that Java's compiler has finished with the client before anything is measured; Python has no such thing, and one run warms it up.
JAVA_WARM_UP_BATCHED, JAVA_WARM_UP_SINGLES = 500_000, 30_000
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Run:
    """Messages/s of one run: making them included, and while only the time inside send() counts."""

    rate: float
    inside_rate: float


def sends() -> Iterator[Result]:
    """Yield messages/s of our batches and single sends, pipelined and not, and of Java's batches and synchronous sends."""
    runs: dict[str, list[_Run]] = {}
    with tempfile.TemporaryDirectory() as name, RocketMQ(Path(name)) as cluster:
        cluster.create_topic(TOPIC, queues=QUEUES)
        java_batch = _java_sender(cluster, "batch", warm_up=JAVA_WARM_UP_BATCHED, count=BATCHED)
        java_sync = _java_sender(cluster, "sync", warm_up=JAVA_WARM_UP_SINGLES, count=SINGLES)
        batches = Producer(Client([cluster.name_server]), max_batch_messages=BATCH)
        singles = Producer(Client([cluster.name_server]), max_batch_messages=1, max_requests=IN_FLIGHT)
        with java_batch as send_java_batches, java_sync as send_java_singles, _collecting_rarely():
            peers: dict[str, Callable[[], _Run]] = {
                "batch": lambda: _send_as_made(batches, BATCHED),
                "java batch": send_java_batches,
                "lists": lambda: _send_lists(batches, BATCHED, LIST),
                "pipelined": lambda: _send_as_made(singles, SINGLES),
                "java sync": send_java_singles,
                "sync": lambda: _send_lists(singles, SINGLES, 1),
            }
            for send in peers.values():
                send()
            for _ in range(ROUNDS):
                for peer, send in peers.items():
                    runs.setdefault(peer, []).append(send())
        batches.close()
        singles.close()

    def result(name: str, key: str, bar: Bar | None = None) -> Result:
        return Result(name, "messages/s", tuple(run.rate for run in runs[key]), bar)

    def inside(name: str, key: str, bar: Bar | None = None) -> Result:
        return Result(name, "messages/s", tuple(run.inside_rate for run in runs[key]), bar)

    what = f"batches of {BATCH} x {len(BODY)} bytes with 6 properties"
    java = result(f"Java client 4.9.7, {what}", "java batch")
    yield result(f"our Producer, {what}", "batch", Bar(1.2, against=java))
    yield result(f"our Producer, the same from lists of {LIST:,} messages", "lists", Bar(None, against=java))
    yield java
    java = inside("Java, the time inside send() only, without making the messages", "java batch")
    yield inside("ours from lists, the time inside send() only", "lists", Bar(None, against=java))
    yield java
    java = result("Java client 4.9.7, single sends, one thread, synchronous", "java sync")
    yield result(f"our Producer, single sends, {IN_FLIGHT} in flight", "pipelined", Bar(1.4, against=java))
    yield result("our Producer, single sends, synchronous", "sync", Bar(None, against=java))
    yield java


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Have garbage collected as mqbridge does, and as docs/rocketmq_remoting.md advises who sends much."""
    usual = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


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


def _send_as_made(producer: Producer, count: int) -> _Run:
    """Send `count` messages in one call, which takes them from a generator while earlier ones are on their way."""
    now_ms = int(time.time() * 1000)
    begin = time.perf_counter()
    outcomes = producer.send((_message(number, now_ms) for number in range(count)), time.monotonic() + DEADLINE_S)
    rate = count / (time.perf_counter() - begin)
    _require_stored(outcomes, count)
    return _Run(rate, rate)


def _send_lists(producer: Producer, count: int, at_once: int) -> _Run:
    """Send `count` messages, a list of `at_once` in each call."""
    inside_s = 0.0
    now_ms = int(time.time() * 1000)
    begin = time.perf_counter()
    for start in range(0, count, at_once):
        messages = [_message(number, now_ms) for number in range(start, start + at_once)]
        begin_inside = time.perf_counter()
        outcomes = producer.send(messages, time.monotonic() + DEADLINE_S)
        inside_s += time.perf_counter() - begin_inside
        _require_stored(outcomes, at_once)
    return _Run(count / (time.perf_counter() - begin), count / inside_s)


def _require_stored(outcomes: list[SendOutcome], count: int) -> None:
    assert len(outcomes) == count
    for outcome in outcomes:
        assert outcome.error is None, outcome.error


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
