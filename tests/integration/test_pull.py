"""Pull mode on real brokers: a scheduled invocation of the inbound function drains RocketMQ into MQTT, and loses nothing."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from functions.inbound.app import handler
from mqbridge.delivery import OpenSinks
from mqbridge.handler import Bridge, using
from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge.triggers import Undelivered
from rocketmq_remoting import Client, Consumer, Drain, Message, Producer, StartFrom, StoredMessage, random_message_id
from tests.identity import faults_of
from tests.integration.running_bridge import connected, data_rules

PULL = {"mqbridge": "pull"}


class Context:
    """What Lambda passes: so many seconds from now."""

    def __init__(self, left_s: float) -> None:
        self._end = time.monotonic() + left_s

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


def rules_of(mosquitto: Mosquitto, rocketmq: RocketMQ, topic: str, **more: Any) -> dict[str, Any]:
    source = {"Topic": topic, "GroupId": f"GID_{topic}", "StartFrom": "FIRST"}
    rule = {"RuleId": "commands", "Source": source, "Destination": {"Topic": "devices"}, **more}
    return data_rules(mosquitto, rocketmq, InboundRules=[rule])


@contextmanager
def environment(document: Mapping[str, Any]) -> Iterator[Bridge]:
    """An execution environment of the function: its own rules, connections, memory, and counters, which have to add up."""
    rules = load(dict(document))
    sinks, counters = OpenSinks(rules), Counters()
    try:
        yield Bridge(rules, sinks, counters)
    finally:
        sinks.close()
    assert faults_of(counters.snapshot()) == []


def pull(bridge: Bridge, left_s: float = 30.0) -> dict[str, int]:
    with using(bridge):
        summary: dict[str, int] = handler(PULL, Context(left_s))
    return summary


def send(rocketmq: RocketMQ, topic: str, bodies: Sequence[str], properties: Mapping[str, str] | None = None) -> None:
    """Store the bodies in turn in all queues of the topic, each for a device of its queue; return when consumers can see them."""
    before = stored(rocketmq, topic)
    messages = [
        Message(
            topic=topic,
            body=body.encode(),
            message_id=random_message_id(int(time.time() * 1000)),
            sharding_key=f"key-{at % 16}",
            properties={"mqttSecondTopic": f"/d{at % 16}/set", **(properties or {})},
        )
        for at, body in enumerate(bodies)
    ]
    producer = Producer(Client([rocketmq.name_server]))
    outcomes = producer.send(messages, time.monotonic() + 10)
    producer.close()
    assert not [each for each in outcomes if each.error]
    # A broker has stored a message some time before it shows it (ReputMessageService).
    assert wait_until(lambda: stored(rocketmq, topic) == before + len(bodies), timeout_s=10)


def stored(rocketmq: RocketMQ, topic: str) -> int:
    """Return how many messages of a topic consumers can see."""
    client = Client([rocketmq.name_server])
    looking = Drain(client, group="GID_looking", topic=topic, start_from=StartFrom.first())
    looking.open(time.monotonic() + 5)
    looking.pull(time.monotonic() + 5)
    count = looking.left
    looking.close(time.monotonic() + 5)
    client.close()
    return count


def gathered(found: list[StoredMessage], more: list[StoredMessage]) -> list[StoredMessage]:
    found += more
    return found


def unconsumed(rocketmq: RocketMQ, topic: str) -> list[StoredMessage]:
    """Return what a member that joins the group now is given."""
    consumer = Consumer(Client([rocketmq.name_server]), group=f"GID_{topic}", topic=topic, start_from=StartFrom.first())
    found: list[StoredMessage] = []
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        found += consumer.poll(0.2)
    consumer.close()
    return found


def test_a_thousand_messages_of_four_queues_are_delivered_once_and_in_order(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str
) -> None:
    rocketmq.create_topic(fresh_topic)
    send(rocketmq, fresh_topic, [str(at) for at in range(1_000)])
    with (
        connected(mosquitto, "devices/#") as (_, received),
        environment(rules_of(mosquitto, rocketmq, fresh_topic)) as bridge,
    ):
        summary = pull(bridge)
        assert wait_until(lambda: len(received) >= 1_000, timeout_s=10)
        began = time.monotonic()
        assert pull(bridge)["pulled"] == 0
        assert time.monotonic() - began < 1.0  # an empty poll waits for nothing
    assert (summary["pulled"], summary["delivered"], summary["left"]) == (1_000, 1_000, 0)
    by_topic: dict[str, list[int]] = {}
    for each in received:
        by_topic.setdefault(each.topic, []).append(int(each.payload))
    assert sorted(at for numbers in by_topic.values() for at in numbers) == list(range(1_000))
    assert all(numbers == sorted(numbers) for numbers in by_topic.values())
    assert unconsumed(rocketmq, fresh_topic) == []


def test_two_pulls_at_once_share_the_queues_and_lose_and_repeat_nothing(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str
) -> None:
    rocketmq.create_topic(fresh_topic)
    document = rules_of(mosquitto, rocketmq, fresh_topic)
    summaries: list[dict[str, int]] = []

    def pull_again_and_again(bridge: Bridge) -> None:
        while sum(each["delivered"] for each in summaries) < 1_200:
            summaries.append(pull(bridge))

    with connected(mosquitto, "devices/#") as (_, received), environment(document) as one, environment(document) as two:
        threads = [threading.Thread(target=pull_again_and_again, args=(each,), daemon=True) for each in (one, two)]
        for thread in threads:
            thread.start()
        for first in range(0, 1_200, 100):
            send(rocketmq, fresh_topic, [str(first + at) for at in range(100)])
        for thread in threads:
            thread.join(30)
        assert wait_until(lambda: len(received) >= 1_200, timeout_s=10)
    assert sorted(int(each.payload) for each in received) == list(range(1_200))
    assert any(each["queues_taken"] for each in summaries)  # they did meet


def test_what_another_pull_holds_is_left_to_it_at_once(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str
) -> None:
    rocketmq.create_topic(fresh_topic)
    send(rocketmq, fresh_topic, ["on"] * 20)
    client = Client([rocketmq.name_server])
    other = Drain(client, group=f"GID_{fresh_topic}", topic=fresh_topic, start_from=StartFrom.first())
    with environment(rules_of(mosquitto, rocketmq, fresh_topic)) as bridge:
        other.open(time.monotonic() + 5)
        began = time.monotonic()
        summary = pull(bridge)
        assert (summary["pulled"], summary["queues_taken"]) == (0, 4)
        assert time.monotonic() - began < 1.0
        other.close(time.monotonic() + 5)
        assert pull(bridge)["delivered"] == 20
    client.close()


def test_a_group_that_has_members_is_left_to_them(mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str) -> None:
    """Who moves from the runner to pull mode, or back, need not hurry; the offsets are the same."""
    rocketmq.create_topic(fresh_topic)
    send(rocketmq, fresh_topic, ["on"] * 20)
    member = Consumer(
        Client([rocketmq.name_server]), group=f"GID_{fresh_topic}", topic=fresh_topic, start_from=StartFrom.first()
    )
    found: list[StoredMessage] = []
    with environment(rules_of(mosquitto, rocketmq, fresh_topic)) as bridge:
        assert wait_until(lambda: len(gathered(found, member.poll(0.1))) == 20, timeout_s=10)
        summary = pull(bridge)
        assert (summary["pulled"], summary["rules_consumed"]) == (0, 1)
        member.settle(found[:15])
        member.close()
        assert pull(bridge)["delivered"] >= 5


def test_while_the_mqtt_broker_is_away_nothing_is_committed_and_then_all_is_delivered(
    rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    send(rocketmq, fresh_topic, [str(at) for at in range(100)])
    with Mosquitto(tmp_path) as mosquitto, environment(rules_of(mosquitto, rocketmq, fresh_topic)) as bridge:
        mosquitto.stop()
        with pytest.raises(Undelivered, match="commands: connect_failed"):
            pull(bridge)
        mosquitto.start()
        with (
            connected(mosquitto, "devices/#") as (_, received),
            environment(rules_of(mosquitto, rocketmq, fresh_topic)) as another,
        ):
            summary = pull(another)
            assert (summary["delivered"], summary["left"]) == (100, 0)
            assert wait_until(lambda: len(received) == 100, timeout_s=10)
        assert wait_until(lambda: pull(bridge)["queues_waiting"] == 0, timeout_s=10)
        assert pull(bridge)["pulled"] == 0


def test_a_pull_ends_in_time_and_the_next_goes_on(mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str) -> None:
    rocketmq.create_topic(fresh_topic)
    send(rocketmq, fresh_topic, [str(at) for at in range(5_000)])
    with (
        connected(mosquitto, "devices/#") as (_, received),
        environment(rules_of(mosquitto, rocketmq, fresh_topic)) as bridge,
    ):
        began = time.monotonic()
        first = pull(bridge, left_s=4.2)
        assert time.monotonic() - began < 4.2
        assert 0 < first["delivered"] < 5_000
        assert first["delivered"] + first["left"] == 5_000
        second = pull(bridge, left_s=30.0)
        assert second["delivered"] == first["left"]
        assert wait_until(lambda: len(received) >= 5_000, timeout_s=20)
    assert sorted(int(each.payload) for each in received) == list(range(5_000))


def test_a_poison_message_ends_in_the_group_s_dead_letters_and_holds_nothing_up(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str
) -> None:
    """Without a dead-letter queue of its rule it goes where RocketMQ itself would put it."""
    rocketmq.create_topic(fresh_topic)
    send(rocketmq, fresh_topic, ["before"] * 4)
    send(rocketmq, fresh_topic, ["poison"], {"qoslevel": "9"})
    send(rocketmq, fresh_topic, ["after"] * 4)
    with environment(rules_of(mosquitto, rocketmq, fresh_topic)) as bridge:
        summary = pull(bridge)
        assert pull(bridge)["pulled"] == 0
    assert (summary["delivered"], summary["refused"], summary["left"]) == (8, 1, 0)
    client = Client([rocketmq.name_server])
    letters = Drain(client, group="GID_letters", topic=f"%DLQ%GID_{fresh_topic}", start_from=StartFrom.first())
    letters.open(time.monotonic() + 5)
    assert [each.body for each in letters.pull(time.monotonic() + 5)] == [b"poison"]
    letters.close(time.monotonic() + 5)
    client.close()
