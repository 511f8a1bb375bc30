"""A broker that drops what it acknowledged is told on."""

from pathlib import Path

from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all

_LIMITED = "sys_interval 1\nmax_queued_messages 10\nmax_inflight_messages 5\n"


def test_messages_that_mosquitto_dropped_are_said_at_the_start(
    rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """With its defaults mosquitto loses what a bridge that is away does not take: the log says so when it is back."""
    rocketmq.create_topic(fresh_topic)
    with Mosquitto(tmp_path / "mosquitto", extra_config=_LIMITED) as mosquitto:
        rules = data_rules(
            mosquitto,
            rocketmq,
            OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": fresh_topic}}],
        )
        bridge = RunningBridge(tmp_path / "bridge", rules)
        with bridge:
            pass
        assert "has dropped messages" not in bridge.process.output
        with connected(mosquitto) as (device, _):
            publish_all(device, [("devices/d1/up", b"%d" % n, 1) for n in range(50)])
        with bridge:
            assert wait_until(lambda: "has dropped messages" in bridge.process.output, timeout_s=10)
            warning = next(line for line in bridge.process.output.splitlines() if "has dropped messages" in line)
    assert '"dropped":40' in warning
