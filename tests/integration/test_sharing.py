"""Several runners of the same rules, each started with a --share of its own."""

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from devstack.javatool import consume, produce
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all


def test_two_runners_share_both_directions(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """Both run at the same time, each delivers a part, and everything arrives once."""
    out, into = f"{fresh_topic}_out", f"{fresh_topic}_in"
    rocketmq.create_topic(out, into)
    rules = data_rules(
        mosquitto,
        rocketmq,
        OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": out}}],
        InboundRules=[
            {
                "RuleId": "into",
                "Source": {"Topic": into, "GroupId": f"GID_{fresh_topic}"},
                "Destination": {"Topic": "devices"},
            }
        ],
    )
    ids = [f"{n:032X}" for n in range(100)]
    with ExitStack() as opened:
        runners = [
            opened.enter_context(RunningBridge(tmp_path / name, rules, "--share", name)) for name in ("one", "two")
        ]
        device, received = opened.enter_context(connected(mosquitto, "devices/d1/set"))
        publish_all(device, [("devices/d1/up", json.dumps({"id": each}).encode(), 1) for each in ids])
        stored = consume(rocketmq.name_server, out, len(ids), timeout_s=10)
        commands = [b"%d" % n for n in range(40)]
        produce(
            rocketmq.name_server,
            [{"topic": into, "body": each, "properties": {"mqttSecondTopic": "/d1/set"}} for each in commands],
        )
        assert wait_until(lambda: len(received) >= len(commands), timeout_s=10)
        parts = {
            flow: [runner.counter("mqbridge_records_total", flow=flow, outcome="delivered") for runner in runners]
            for flow in ("outbound", "inbound")
        }
    assert Counter(str(each["msgId"]) for each in stored) == Counter(ids)
    assert Counter(bytes(each.payload) for each in received) == Counter(commands)
    assert all(part > 0 for each in parts.values() for part in each), parts
