"""From one broker into the other, through `mqbridge run` and through Camel in turn, on the same RocketMQ.

Each round starts a peer on a fresh mosquitto and a fresh topic, warms it up, measures one burst, and counts by id what arrived.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mqtt_wire import Publisher, Subscriber
from benchmarks.peers import Peer, Usage, paho_counter, usage
from devstack import javatool, remoting
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from rocketmq_remoting import Client, Message, Producer, random_message_id

__all__ = ["Measured", "inbound", "outbound", "paho_ceiling"]

COUNT = 30_000
WARM_UP = 20_000  # a JVM needs them; a Python process would do with 1,000
DEVICES = 100
QUEUES = 8
PAYLOAD_BYTES = 200

_GET_TOPIC_STATS_INFO = 202  # RequestCode
_MAX_OFFSET = re.compile(rb'"maxOffset":(\d+)')
_LOOK_EVERY_S = 0.02
_IDLE_S = 10.0  # what has not come when nothing came for so long is lost
_REST_S = 0.5  # for what a peer does after its last message, and for duplicates
_READ_BACK_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One burst through one peer."""

    rate: float  # messages/s
    cpu_s: float  # of the peer's process, per 100,000 messages
    peak_rss_mb: float
    lost: int = 0
    duplicates: int = 0


def outbound(cluster: RocketMQ, peer: Peer, topic: str, directory: Path, count: int = COUNT) -> Measured:
    """Measure MQTT QoS 1 to stored in RocketMQ: from the first byte published to the last message in the broker's offsets."""
    cluster.create_topic(topic, queues=QUEUES)
    with Mosquitto(directory / "mosquitto") as mosquitto:
        process = peer("outbound", directory, mosquitto, cluster, topic)
        try:
            with Publisher(mosquitto.port, "generator") as publisher:
                publisher.burst(_readings("warm-up", WARM_UP))
                warm, _ = _wait_until_stored(cluster, topic, WARM_UP)
                time.sleep(_REST_S)
                before = usage(process.pid)
                begin = publisher.burst(_readings("burst", count))
                stored, end = _wait_until_stored(cluster, topic, warm + count)
                after = usage(process.pid)
            time.sleep(_REST_S)
        finally:
            process.stop()
    lost, duplicates = _lost_and_duplicates(_bodies(cluster, topic), count)
    return _measured(stored - warm, end - begin, before, after, lost, duplicates)


def inbound(cluster: RocketMQ, peer: Peer, topic: str, directory: Path, count: int = COUNT) -> Measured:
    """Measure RocketMQ to an MQTT subscriber at QoS 1: a backlog is written while the peer is paused, then it goes on."""
    cluster.create_topic(topic, queues=QUEUES)
    producer = Producer(Client([cluster.name_server]))
    with Mosquitto(directory / "mosquitto") as mosquitto:
        process = peer("inbound", directory, mosquitto, cluster, topic)
        try:
            with Subscriber(mosquitto.port, "counter", "devices/#") as subscriber:
                _warm_up_inbound(producer, topic, subscriber)
                before = usage(process.pid)
                process.pause()
                _write(producer, topic, "burst", count)
                warm = len(subscriber.payloads)
                begin = time.monotonic()
                process.resume()
                received = subscriber.receive(warm + count, idle_s=_IDLE_S) - warm
                end, after = subscriber.last_arrival, usage(process.pid)
                subscriber.receive_until(_never, idle_s=_REST_S)
        finally:
            process.stop()
            producer.close()
    lost, duplicates = _lost_and_duplicates(subscriber.payloads, count)
    return _measured(received, end - begin, before, after, lost, duplicates)


def paho_ceiling(directory: Path, count: int = COUNT) -> Measured:
    """Measure how fast a paho subscriber receives the same burst when it only counts."""
    warm_up = 1_000
    with Mosquitto(directory / "mosquitto") as mosquitto:
        process = paho_counter(directory, mosquitto, warm_up, warm_up + count)
        try:
            with Publisher(mosquitto.port, "generator") as publisher:
                publisher.burst(_readings("warm-up", warm_up))
                _counted_at(lambda: process.output, warm_up)
                before = usage(process.pid)
                begin = publisher.burst(_readings("burst", count))
                end, after = _counted_at(lambda: process.output, warm_up + count), usage(process.pid)
        finally:
            process.stop()
    return _measured(count, end - begin, before, after)


def _measured(count: int, took_s: float, before: Usage, after: Usage, lost: int = 0, duplicates: int = 0) -> Measured:
    return Measured(
        rate=count / took_s,
        cpu_s=(after.cpu_s - before.cpu_s) / count * 100_000,
        peak_rss_mb=after.peak_rss_mb,
        lost=lost,
        duplicates=duplicates,
    )


def _readings(run: str, count: int) -> Sequence[tuple[str, bytes]]:
    """Return what devices publish: topics and 200 bytes of JSON each."""
    readings = []
    for number in range(count):
        device = f"d{number % DEVICES}"
        reading = {"id": f"{run}-{number}", "device": device, "temperature": 20 + number % 10, "note": ""}
        reading["note"] = "x" * (PAYLOAD_BYTES - len(json.dumps(reading)))
        readings.append((f"devices/{device}/up", json.dumps(reading).encode()))
    return readings


def _write(producer: Producer, topic: str, run: str, count: int) -> None:
    """Write messages into RocketMQ, in batches."""
    now_ms = int(time.time() * 1000)
    messages = [
        Message(
            topic=topic,
            body=body,
            message_id=random_message_id(now_ms),
            sharding_key=mqtt_topic,
            properties={"mqttSecondTopic": mqtt_topic.removeprefix("devices"), "qoslevel": "1"},
        )
        for mqtt_topic, body in _readings(run, count)
    ]
    for outcome in producer.send(messages, time.monotonic() + 30.0):
        if outcome.error is not None:
            raise outcome.error


def _warm_up_inbound(producer: Producer, topic: str, subscriber: Subscriber) -> None:
    """Write one message at a time until something comes, since a consumer joins its group when it likes; then a whole burst."""
    for _ in range(60):
        _write(producer, topic, "probe", 1)
        if subscriber.receive(1, idle_s=1.0):
            break
    subscriber.receive_until(_never, idle_s=1.0)
    wanted = len(subscriber.payloads) + WARM_UP
    _write(producer, topic, "warm-up", WARM_UP)
    if subscriber.receive(wanted, idle_s=_IDLE_S) < wanted:
        raise TimeoutError("not everything of the warm-up came through")
    subscriber.receive_until(_never, idle_s=_REST_S)


def _never() -> bool:
    return False


def _wait_until_stored(cluster: RocketMQ, topic: str, count: int) -> tuple[int, float]:
    """Wait until `count` messages are stored, or their number stays as it is; return it and when it last changed."""
    known, changed_at = -1, time.monotonic()
    while True:
        stored, now = _stored(cluster, topic), time.monotonic()
        if stored != known:
            known, changed_at = stored, now
        if stored >= count or now - changed_at > _IDLE_S:
            return known, changed_at
        time.sleep(_LOOK_EVERY_S)


def _stored(cluster: RocketMQ, topic: str) -> int:
    answer = remoting.call(cluster.broker_address, _GET_TOPIC_STATS_INFO, {"topic": topic})
    return sum(map(int, _MAX_OFFSET.findall(answer)))


def _bodies(cluster: RocketMQ, topic: str) -> list[bytes]:
    """Read a topic back with RocketMQ's own Java client."""
    stored = _stored(cluster, topic)
    messages = javatool.consume(cluster.name_server, topic, stored, timeout_s=_READ_BACK_S)
    if len(messages) < stored:
        raise TimeoutError(f"read only {len(messages)} of {stored} messages back within {_READ_BACK_S:g} s")
    return [message["body"] for message in messages]


def _lost_and_duplicates(bodies: Iterable[bytes], count: int) -> tuple[int, int]:
    seen = Counter(str(json.loads(body)["id"]) for body in bodies)
    times = [seen[f"burst-{number}"] for number in range(count)]
    return times.count(0), sum(max(0, each - 1) for each in times)


def _counted_at(output: Callable[[], str], count: int) -> float:
    """Return when the counter had received `count` messages, which it says in its output."""
    line = re.compile(rf"^{count} (\S+)$", re.MULTILINE)
    if not wait_until(lambda: line.search(output()) is not None, timeout_s=60.0):
        raise TimeoutError(f"the paho subscriber did not receive {count} messages")
    found = line.search(output())
    return float(found[1]) if found else 0.0
