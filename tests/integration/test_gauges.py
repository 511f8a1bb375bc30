"""What the runner says of its brokers and of dead letters, over an outage of a real RocketMQ."""

import json
from pathlib import Path

from devstack.javatool import produce
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from mqbridge.rules import load
from mqbridge_cli.runner.dead_letter_watch import DeadLetterWatch
from tests.identity import values_of
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all, user_properties

DEAD = "acs:mq:local:0:/instances/rmq-test/topic/dead"
OF_GROUP = "acs:mq::0:/instances/rmq-test/topic/%DLQ%GID_mqbridge_into"


def test_an_outage_shows_and_dead_letters_are_counted_with_their_age(
    mosquitto: Mosquitto, tmp_path: Path, rocketmq_version: str | None
) -> None:
    with RocketMQ(tmp_path / "rocketmq", version=rocketmq_version) as rocketmq:
        rocketmq.create_topic("out", "into", "dead")
        document = data_rules(
            mosquitto,
            rocketmq,
            OutboundRules=[
                {
                    "RuleId": "out",
                    "Source": {"Topic": "devices"},
                    "Destination": {"Topic": "out"},
                    "RunOptions": {"DeadLetterQueue": {"Arn": DEAD}},
                }
            ],
            InboundRules=[{"RuleId": "into", "Source": {"Topic": "into"}, "Destination": {"Topic": "commands"}}],
        )
        rules = load(document)
        watch = DeadLetterWatch(lambda: rules, every_s=0.2)
        bridge = RunningBridge(tmp_path, document)

        def gauge(name: str, label: str, value: str) -> float | None:
            return values_of(bridge.metrics()).get((name, ((label, value),)))

        def is_connected(broker: str) -> float | None:
            return gauge("mqbridge_broker_connected", "broker", broker)

        watch.start()
        try:
            with bridge, connected(mosquitto) as (device, _):
                assert wait_until(lambda: DEAD in watch.depths, timeout_s=10)
                assert {queue: depth.letters for queue, depth in watch.depths.items()} == {DEAD: 0}
                assert watch.depths[DEAD].oldest_ms is None
                assert (is_connected("mqtt:mqtt-test"), is_connected("rocketmq:rmq-test")) == (1, 1)
                for _ in range(3):
                    device.publish("devices/d1", b"{}", 1, properties=user_properties(("k", "v" * 40_000)))
                produce(
                    rocketmq.name_server,
                    [{"topic": "into", "body": b"bad", "properties": {"mqttSecondTopic": "/d1/#"}}] * 2,
                )
                counted = {DEAD: 3, OF_GROUP: 2}
                assert wait_until(
                    lambda: {queue: depth.letters for queue, depth in watch.depths.items()} == counted, timeout_s=20
                ), watch.depths
                assert all(depth.oldest_ms is not None for depth in watch.depths.values())

                rocketmq.broker.kill()
                publish_all(device, [("devices/d1", json.dumps({"id": f"{1:032X}"}).encode(), 1)])
                assert wait_until(lambda: is_connected("rocketmq:rmq-test") == 0, timeout_s=20)
                assert is_connected("mqtt:mqtt-test") == 1
                assert wait_until(lambda: not watch.depths, timeout_s=40), watch.depths
                rocketmq.broker.start()
                assert wait_until(lambda: is_connected("rocketmq:rmq-test") == 1, timeout_s=40)
                assert wait_until(
                    lambda: {queue: depth.letters for queue, depth in watch.depths.items()} == counted, timeout_s=20
                ), watch.depths
            # It looks at once when it starts; and of several processes one does.
            bridge = RunningBridge(tmp_path / "several", document, "--workers", "2")
            with bridge:
                assert wait_until(lambda: gauge("mqbridge_dead_letters", "queue", OF_GROUP) is not None, timeout_s=10)
                for queue, letters in counted.items():
                    assert gauge("mqbridge_dead_letters", "queue", queue) == letters
                    age_s = gauge("mqbridge_dead_letter_oldest_age_seconds", "queue", queue)
                    assert age_s is not None
                    assert 0 < age_s < 120
        finally:
            watch.stop()
