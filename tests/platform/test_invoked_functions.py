"""mqbridge run --invoke lambda: from a real mosquitto through the built function, as Lambda runs it, into a real RocketMQ."""

import json
from pathlib import Path

import pytest

from devstack.javatool import consume
from devstack.lambda_service import HostBuild
from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all
from tests.platform.accounted import AccountedService


def payload(number: int) -> bytes:
    return json.dumps({"id": f"{number:032X}"}).encode()


def test_the_runner_has_the_built_function_carry_out_what_it_reads(
    host_build: HostBuild, rocketmq: RocketMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service goes away meanwhile, and comes back: nothing is lost, and what was stored is told by the function's answers."""
    rocketmq.create_topic("invoked")
    for name, value in {"REGION": "eu-central-1", "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    port = free_port()
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        rule = {"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "invoked"}}
        rules = data_rules(mosquitto, rocketmq, OutboundRules=[rule])
        (tmp_path / "rules.json").write_text(json.dumps(rules))
        function = host_build.function("Outbound", rules_layer=tmp_path)
        bridge = RunningBridge(
            tmp_path / "bridge", rules, "--invoke", "lambda", "--endpoint-url", f"http://127.0.0.1:{port}"
        )
        with bridge, connected(mosquitto) as (device, _):
            with AccountedService([function], port=port) as before:
                publish_all(device, [(f"devices/d{n % 5}", payload(n), 1) for n in range(200)])
                assert wait_until(
                    lambda: bridge.counter("mqbridge_records_total", outcome="settled") == 200, timeout_s=20
                )
            publish_all(device, [(f"devices/d{n % 5}", payload(n), 1) for n in range(200, 230)])
            assert wait_until(
                lambda: bridge.counter("mqbridge_errors_total", error_type="unreachable") > 0, timeout_s=20
            )
            with AccountedService([function], port=port) as after:
                assert wait_until(
                    lambda: bridge.counter("mqbridge_records_total", outcome="settled") == 230, timeout_s=30
                )
            delivered = "mqbridge_records_total", (("flow", "outbound"), ("outcome", "delivered"), ("rule", "out"))
            assert before.written()[delivered] >= 200, "each, and what the runner had no answer of again"
            assert after.written()[delivered] >= 30
            metrics = bridge.metrics()
            assert 'outcome="delivered"' not in metrics, "only the function knows"
            assert bridge.counter("mqbridge_records_unsettled") == 0
            assert bridge.readiness()[0] == 200
        log = [json.loads(line) for line in bridge.process.output.splitlines() if line.startswith("{")]
    failed = [line for line in log if line["message"] == "invocation failed"]
    assert {line["error_type"] for line in failed} == {"unreachable"}
    assert all(line["rule"] == "out" and line["event_ids"] for line in failed)
    stored = consume(rocketmq.name_server, "invoked", 230)
    assert sorted(str(each["msgId"]) for each in stored) == [f"{n:032X}" for n in range(230)]
    for device_id in range(5):
        places = [
            each["queueOffset"]
            for each in sorted(stored, key=lambda each: str(each["msgId"]))
            if int(str(each["msgId"]), 16) % 5 == device_id
        ]
        assert places == sorted(places), "a device's messages keep their order"
