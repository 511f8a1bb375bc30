"""mqbridge run --workers: the rules in several processes, seen from outside as one."""

import json
import os
import signal
from pathlib import Path

from devstack.javatool import consume
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all


def test_rules_are_dealt_out_and_a_worker_that_dies_is_started_again(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    rules = data_rules(
        mosquitto,
        rocketmq,
        OutboundRules=[
            {"RuleId": f"out-{n}", "Source": {"Topic": f"parent{n}"}, "Destination": {"Topic": fresh_topic}}
            for n in range(3)
        ],
    )

    def payload(number: int) -> bytes:
        return json.dumps({"id": f"{number:032X}"}).encode()

    bridge = RunningBridge(tmp_path, rules, "--workers", "2")
    with bridge, connected(mosquitto) as (device, _):
        publish_all(device, [(f"parent{n % 3}/d1", payload(n), 1) for n in range(30)])
        assert wait_until(lambda: bridge.counter("mqbridge_records_total", outcome="delivered") == 30, timeout_s=10)
        workers = _children_of(bridge.process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        publish_all(device, [(f"parent{n % 3}/d1", payload(n), 1) for n in range(30, 60)])
        stored = consume(rocketmq.name_server, fresh_topic, 60, timeout_s=20)
        assert wait_until(lambda: bridge.readiness()[0] == 200, timeout_s=20)
    assert {each["msgId"] for each in stored} == {f"{n:032X}" for n in range(60)}
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers), "nothing is left running"


def _children_of(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
