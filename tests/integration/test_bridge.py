"""The whole way of a message, both ways, on real brokers, through `mqbridge run`."""

import json
from collections import Counter
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from devstack.javatool import OutgoingMessage, StoredMessage, consume, produce
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from tests.integration.running_bridge import (
    RunningBridge,
    connected,
    data_rules,
    publish_all,
    received_properties,
    user_properties,
)


def _rules(mosquitto: Mosquitto, rocketmq: RocketMQ, out: str, into: str) -> dict[str, object]:
    return data_rules(
        mosquitto,
        rocketmq,
        OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": out}}],
        InboundRules=[{"RuleId": "into", "Source": {"Topic": into}, "Destination": {"Topic": "devices"}}],
    )


def _payload(number: int) -> bytes:
    return json.dumps({"id": f"{number:032X}", "n": number}).encode()


def _ids(stored: list[StoredMessage]) -> Counter[str]:
    return Counter(str(each["msgId"]) for each in stored)


@pytest.fixture
def topics(rocketmq: RocketMQ, fresh_topic: str) -> tuple[str, str]:
    """Two topics of this test's own, for the way out and the way in."""
    names = f"{fresh_topic}_out", f"{fresh_topic}_in"
    rocketmq.create_topic(*names)
    return names


def test_publish_lands_in_rocketmq_with_every_property(
    mosquitto: Mosquitto,
    rocketmq: RocketMQ,
    topics: tuple[str, str],
    tmp_path: Path,
) -> None:
    """MQTT 5 and 3.1.1, QoS 0, 1 and 2, any bytes: Java's client reads what the structure mapping promises."""
    out, into = topics
    with RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into)):
        with connected(mosquitto) as (five, _), connected(mosquitto, version=4) as (three, _):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.UserProperty = [("k", "v"), ("k", "ü")]
            properties.MessageExpiryInterval = 3600
            properties.ContentType = "UTF-8"
            for info in (
                five.publish("devices/d1/up/", b"\x00\xff five", 2, properties=properties),
                three.publish("devices/d2", b"three", 1),
                three.publish("devices", b"bare", 0),
                five.publish("devices/d3//x", b"", 1),
                five.publish("other/d1", b"not ours", 1),
            ):
                info.wait_for_publish(5)
        stored = {bytes(each["body"]): each["properties"] for each in consume(rocketmq.name_server, out, 4)}

    # RocketMQ 5.x stores region and tracing with messages, 4.9 does not.
    system = {"CLUSTER", "UNIQ_KEY", "mqtt5MsgExpireInterval", "MSG_REGION", "TRACE_ON"}
    seen = {body: {k: v for k, v in found.items() if k not in system} for body, found in stored.items()}
    origin = {"mqbridge-origin": "mqtt:mqtt-test/devices"}
    assert seen == {
        b"\x00\xff five": {
            "qoslevel": "1",
            "topic": "devices/d1/up/",
            "mqttSecondTopic": "/d1/up/",
            "clientId": "d1",
            "mqtt5UserProperty": '[{"key":"k","value":"v"},{"key":"k","value":"ü"}]',
            "mqtt5ContentType": "UTF-8",
            **origin,
        },
        b"three": {"qoslevel": "1", "topic": "devices/d2", "mqttSecondTopic": "/d2", "clientId": "d2", **origin},
        b"bare": {"qoslevel": "0", "topic": "devices", **origin},
        b"": {"qoslevel": "1", "topic": "devices/d3//x", "mqttSecondTopic": "/d3//x", "clientId": "d3", **origin},
    }
    # The broker counts the time that a message waited in it.
    assert 3590 <= int(stored[b"\x00\xff five"]["mqtt5MsgExpireInterval"]) <= 3600


def test_rocketmq_message_reaches_the_device(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path
) -> None:
    """Sub-topic, QoS, P2P and the MQTT 5 properties of what Java's client sends arrive at MQTT 5 and 3.1.1 subscribers."""
    out, into = topics
    sent: list[OutgoingMessage] = [
        {
            "topic": into,
            "body": b"\x00on",
            "properties": {
                "mqttSecondTopic": "/d1/set",
                "qoslevel": "1",
                "mqtt5UserProperty": '[{"key":"k","value":"v"}]',
                "mqtt5MsgExpireInterval": "3600",
                "mqtt5ContentType": "UTF-8",
            },
        },
        {"topic": into, "body": b"p2p", "properties": {"mqttSecondTopic": "p2p/GID_a@@@d1", "mqttRealTopic": "cmd"}},
        {"topic": into, "body": b"bare"},
    ]
    with RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into)):
        with connected(mosquitto, "devices/#") as (_, five), connected(mosquitto, "devices/#", version=4) as (_, three):
            produce(rocketmq.name_server, sent)
            assert wait_until(lambda: len(five) >= 3 and len(three) >= 3, timeout_s=10)
    by_topic = {message.topic: message for message in five}
    assert {topic: bytes(message.payload) for topic, message in by_topic.items()} == {
        "devices/d1/set": b"\x00on",
        "devices/p2p/GID_a@@@d1": b"p2p",
        "devices": b"bare",
    }
    assert sorted((each.topic, bytes(each.payload)) for each in three) == sorted(
        (each.topic, bytes(each.payload)) for each in five
    )
    assert by_topic["devices/d1/set"].qos == 1
    command = received_properties(by_topic["devices/d1/set"])
    assert ("k", "v") in command["UserProperty"]
    assert command["ContentType"] == "UTF-8"
    assert 3590 <= command["MessageExpiryInterval"] <= 3600
    assert ("mqttRealTopic", "cmd") in received_properties(by_topic["devices/p2p/GID_a@@@d1"])["UserProperty"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_circle_of_rules_ends(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path, version: str
) -> None:
    """Out and in through the same topics would run for ever; one message in comes out once, whatever the bridge speaks."""
    out, _ = topics
    rules = _rules(mosquitto, rocketmq, out, out)
    rules["Instances"]["Mqtt"][0]["ProtocolVersion"] = version  # type: ignore[index]  # the document is plain JSON
    parent = f"circle{version.replace('.', '')}"
    rules["OutboundRules"][0]["Source"]["Topic"] = parent  # type: ignore[index]
    rules["InboundRules"][0]["Destination"]["Topic"] = parent  # type: ignore[index]
    with RunningBridge(tmp_path, rules) as bridge, connected(mosquitto, f"{parent}/#") as (device, received):
        publish_all(device, [(f"{parent}/d1/up", b"once", 1)])
        produce(
            rocketmq.name_server, [{"topic": out, "body": b"command", "properties": {"mqttSecondTopic": "/d1/set"}}]
        )
        # The command comes back from MQTT to the outbound rule, the reading from RocketMQ to the inbound rule: each dropped there,
        # or, under 3.1.1, where a command carries no mark, once more out and then dropped.
        assert wait_until(lambda: bridge.counter("mqbridge_dropped_total", reason="loop") >= 2, timeout_s=10)
        before = bridge.counter("mqbridge_events_received_total")
        marker = b"after"
        publish_all(device, [(f"{parent}/d1/up", marker, 1)])
        assert wait_until(lambda: bridge.counter("mqbridge_dropped_total", reason="loop") >= 3, timeout_s=10)
        # Two events for the marker (out, and back to the inbound rule): had the first two been circling, there would be far more.
        assert bridge.counter("mqbridge_events_received_total") == before + 2
        assert [bytes(each.payload) for each in received] == [b"command"]


def test_nothing_is_lost_while_the_rocketmq_broker_is_away(
    mosquitto: Mosquitto, tmp_path: Path, rocketmq_version: str | None
) -> None:
    """What devices publish during an outage waits, and arrives once each after it, with the ids that it had."""
    with RocketMQ(tmp_path / "rocketmq", version=rocketmq_version) as rocketmq:
        rocketmq.create_topic("out", "into")
        with RunningBridge(tmp_path, _rules(mosquitto, rocketmq, "out", "into")), connected(mosquitto) as (device, _):
            publish_all(device, [(f"devices/d{n % 5}/up", _payload(n), 1) for n in range(100)])
            rocketmq.broker.kill()
            publish_all(device, [(f"devices/d{n % 5}/up", _payload(n), 1) for n in range(100, 300)])
            rocketmq.broker.start()
            publish_all(device, [(f"devices/d{n % 5}/up", _payload(n), 1) for n in range(300, 400)])
            stored = consume(rocketmq.name_server, "out", 400, timeout_s=30)
    assert set(_ids(stored)) == {f"{n:032X}" for n in range(400)}
    for device_number in range(5):
        of_device = [each for each in stored if each["properties"]["clientId"] == f"d{device_number}"]
        first_seen = list(
            dict.fromkeys(str(each["msgId"]) for each in sorted(of_device, key=lambda each: each["queueOffset"]))
        )
        assert first_seen == sorted(first_seen), "a device's messages keep their order over an outage"


def test_runner_killed_and_restarted_loses_nothing(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path
) -> None:
    """kill -9 in the middle of the flow: the MQTT session and the group's offsets hold what was not delivered."""
    out, into = topics
    bridge = RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into))
    commands: list[OutgoingMessage] = [
        {"topic": into, "body": b"%d" % n, "properties": {"mqttSecondTopic": "/d1/set"}} for n in range(100)
    ]
    with connected(mosquitto, "devices/d1/set") as (device, received):
        with bridge:
            publish_all(device, [("devices/d1/up", _payload(n), 1) for n in range(200)])
            bridge.process.kill()
        publish_all(device, [("devices/d1/up", _payload(n), 1) for n in range(200, 400)])
        produce(rocketmq.name_server, commands)
        with bridge:
            stored = consume(rocketmq.name_server, out, 400, timeout_s=20)
            assert wait_until(
                lambda: {bytes(each.payload) for each in received} >= {b"%d" % n for n in range(100)}, timeout_s=10
            )
    assert set(_ids(stored)) == {f"{n:032X}" for n in range(400)}


def test_sigterm_drains(mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path) -> None:
    """Stopping in the middle of a burst delivers or leaves every message, and what is left comes at the next start, once."""
    out, into = topics
    bridge = RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into))
    with connected(mosquitto) as (device, _):
        with bridge:
            for n in range(2_000):
                device.publish(f"devices/d{n % 7}/up", _payload(n), 1)
            assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") > 0, timeout_s=10)
        with bridge:
            stored = consume(rocketmq.name_server, out, 2_000, timeout_s=20)
    assert _ids(stored) == Counter({f"{n:032X}": 1 for n in range(2_000)})


def test_missing_topic_is_said_and_nothing_is_consumed(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], fresh_topic: str, tmp_path: Path
) -> None:
    """A rule whose topic does not exist says so in /readyz, the other one runs; once the topic is there, the rule starts."""
    _, into = topics
    late = f"{fresh_topic}_late"
    bridge = RunningBridge(tmp_path, _rules(mosquitto, rocketmq, late, into))
    try:
        bridge.start(until_ready=False)
        bridge.wait_for_state("out", "STARTING_FAILED")
        bridge.wait_for_state("into", "RUNNING")
        status, details = bridge.readiness()
        assert status == 503
        assert late in next(each["detail"] for each in details["rules"] if each["rule"] == "out")
        rocketmq.create_topic(late)
        bridge.wait_for_state("out", "RUNNING")
    finally:
        bridge.stop()


def test_mqtt_broker_restart_is_survived(rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path) -> None:
    """The bridge reconnects by itself, and says once that it was away."""
    out, into = topics
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        with RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into)) as bridge:
            mosquitto.stop()
            bridge.wait_for_state("out", "RECONNECTING")
            mosquitto.start()
            bridge.wait_for_state("out", "RUNNING")
            with connected(mosquitto) as (device, _):
                publish_all(device, [("devices/d1/up", _payload(1), 1)])
            assert _ids(consume(rocketmq.name_server, out, 1, timeout_s=10)) == {f"{1:032X}": 1}
        log = (tmp_path / "mqbridge.log").read_text()
    assert log.count('"state":"RECONNECTING"') == 1


def test_two_runners_with_one_client_id_do_not_duel(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path
) -> None:
    """Two clients of one id would throw each other out for ever, and mosquitto 2.0 does not say why: one stays away and says so."""
    out, into = topics
    rules = _rules(mosquitto, rocketmq, out, into)
    with RunningBridge(tmp_path / "one", rules) as first:
        second = RunningBridge(tmp_path / "two", rules)
        try:
            second.start(until_ready=False)
            assert wait_until(
                lambda: sorted([first.state("out"), second.state("out")]) == ["RUNNING", "TAKEN_OVER"], timeout_s=30
            )
        finally:
            second.stop()


def test_rejected_record_goes_to_the_dead_letter_queue_and_its_neighbours_arrive(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], fresh_topic: str, tmp_path: Path
) -> None:
    """User properties beyond 8 KB cannot be mapped: the event is kept as it came, with the reason, and the others go on."""
    out, into = topics
    dead = f"{fresh_topic}_dead"
    rocketmq.create_topic(dead)
    queue = {"Arn": f"acs:mq:local:0:/instances/rmq-test/topic/{dead}"}
    rules = _rules(mosquitto, rocketmq, out, into) | {"Defaults": {"RunOptions": {"DeadLetterQueue": queue}}}
    with RunningBridge(tmp_path, rules) as bridge, connected(mosquitto) as (device, _):
        publish_all(device, [("devices/d1/up", _payload(1), 1)])
        bad = device.publish("devices/d1/up", _payload(2), 1, properties=user_properties(("k", "v" * 9_000)))
        bad.wait_for_publish(5)
        publish_all(device, [("devices/d1/up", _payload(3), 1)])
        stored = consume(rocketmq.name_server, out, 2, timeout_s=10)
        letters = consume(rocketmq.name_server, dead, 1, timeout_s=10)
        assert bridge.counter("mqbridge_records_total", outcome="dead_lettered") == 1
    assert set(_ids(stored)) == {f"{1:032X}", f"{3:032X}"}
    envelope = json.loads(letters[0]["properties"]["mqbridge-dead-letter"])
    assert envelope["rule"] == "out"
    assert envelope["reason"] == "user_properties_too_large"
    assert json.loads(letters[0]["body"])["data"]["body"] == _payload(2).decode()


def test_command_that_can_never_be_published_lands_in_the_groups_own_dead_letters(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path
) -> None:
    """Without a dead-letter queue RocketMQ's own, %DLQ%group, keeps it; the commands behind it are not held up."""
    out, into = topics
    with (
        RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into)),
        connected(mosquitto, "devices/#") as (_, received),
    ):
        produce(
            rocketmq.name_server,
            [
                {"topic": into, "body": b"bad", "properties": {"mqttSecondTopic": "/d1/#"}},
                {"topic": into, "body": b"good", "properties": {"mqttSecondTopic": "/d1/set"}},
            ],
        )
        assert wait_until(lambda: len(received) >= 1, timeout_s=10)
        dead = consume(rocketmq.name_server, "%DLQ%GID_mqbridge_into", 1, timeout_s=10)
    assert [bytes(each.payload) for each in received] == [b"good"]
    assert [bytes(each["body"]) for each in dead] == [b"bad"]


def test_an_echoing_device_that_changes_the_message_is_heard(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topics: tuple[str, str], tmp_path: Path
) -> None:
    """A device answers a command with its user properties and another payload: that is its own message, not a loop."""
    out, into = topics
    with (
        RunningBridge(tmp_path, _rules(mosquitto, rocketmq, out, into)),
        connected(mosquitto, "devices/d1/set") as (device, received),
    ):
        produce(rocketmq.name_server, [{"topic": into, "body": b"on", "properties": {"mqttSecondTopic": "/d1/set"}}])
        assert wait_until(lambda: len(received) == 1, timeout_s=10)
        marks = received_properties(received[0])["UserProperty"]
        answer = device.publish("devices/d1/ack", b"on", 1, properties=user_properties(*marks))
        answer.wait_for_publish(5)
        stored = consume(rocketmq.name_server, out, 1, timeout_s=10)
    assert [(each["properties"]["topic"], bytes(each["body"])) for each in stored] == [("devices/d1/ack", b"on")]
