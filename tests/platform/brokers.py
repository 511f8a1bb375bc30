"""Brokers for the built functions, and the rules that the project ships for them."""

from typing import Any

from devstack.mosquitto import Mosquitto
from tests.platform.conftest import ROOT
from tests.unit.rocketmq_remoting.scripted_broker import ScriptedCluster


def rules_for(cluster: ScriptedCluster, mosquitto: Mosquitto) -> dict[str, Any]:
    """Return the rules that the project ships, with brokers that are there."""
    from mqbridge.rules.declarations import read_document

    rules: dict[str, Any] = read_document((ROOT / "config/rules.yaml").read_text(), "rules.yaml").data
    rules["Instances"] = {
        "Mqtt": [{"InstanceId": "mqtt", "Endpoint": f"mqtt://127.0.0.1:{mosquitto.port}"}],
        "RocketMQ": [{"InstanceId": "rocketmq", "NameServers": [cluster.name_server.address]}],
    }
    return rules


def bodies(cluster: ScriptedCluster) -> dict[str, list[bytes]]:
    return {topic: stored for (topic, _, _), stored in cluster.stored().items()}
