"""The demo's brokers and bridge, on ports of its own (they stand in rules.yaml as well)."""

import sys
import urllib.request
from pathlib import Path

from devstack.mosquitto import Mosquitto
from devstack.ports import port_is_free
from devstack.processes import ManagedProcess
from devstack.rocketmq import RocketMQ

__all__ = [
    "HEALTH",
    "MQTT_PORT",
    "NAME_SERVER",
    "RULES",
    "TOPICS",
    "bridge",
    "brokers",
    "free_or_explain",
    "is_ready",
    "metric",
]

RULES = Path(__file__).with_name("rules.yaml")
MQTT_PORT, NAME_SERVER_PORT, BROKER_PORT, HEALTH_PORT = 21883, 29876, 30911, 28686
NAME_SERVER = f"127.0.0.1:{NAME_SERVER_PORT}"
HEALTH = f"http://127.0.0.1:{HEALTH_PORT}"
TOPICS = ("telemetry", "commands", "alarms", "alarms_brand_a", "client_status", "mqbridge_dlq")


def free_or_explain() -> None:
    """End the program with a clear word if one of the ports is taken."""
    ports = (MQTT_PORT, NAME_SERVER_PORT, BROKER_PORT - 2, BROKER_PORT, BROKER_PORT + 1, HEALTH_PORT)
    taken = [str(port) for port in ports if not port_is_free(port)]
    if taken:
        sys.exit(f"port {', '.join(taken)} in use: if that is `make demo-up`, end it with `make demo-down`")


def brokers(directory: Path, *, detached: bool = False) -> tuple[Mosquitto, RocketMQ]:
    """Return the demo's mosquitto and RocketMQ, not started."""
    return (
        # Its log on topics is how mosquitto tells who comes and goes.
        Mosquitto(directory / "mosquitto", port=MQTT_PORT, extra_config="log_dest topic", detached=detached),
        RocketMQ(directory / "rocketmq", name_server_port=NAME_SERVER_PORT, broker_port=BROKER_PORT, detached=detached),
    )


def bridge(directory: Path, *, detached: bool = False) -> ManagedProcess:
    """Return `mqbridge run` on the demo's rules, not started."""
    command = [
        sys.executable,
        "-m",
        "mqbridge_cli.main",
        "run",
        "--rules",
        str(RULES),
        "--listen",
        f"127.0.0.1:{HEALTH_PORT}",
        "--state-dir",
        str(directory / "state"),
    ]
    return ManagedProcess("mqbridge", command, log_path=directory / "mqbridge.log", detached=detached)


def is_ready() -> bool:
    """Tell whether every rule is running."""
    try:
        with urllib.request.urlopen(f"{HEALTH}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def metric(name: str, **labels: str) -> int:
    """Return the sum of the bridge's counters of that name and those labels; 0 if it does not answer."""
    try:
        with urllib.request.urlopen(f"{HEALTH}/metrics", timeout=1) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(name + "{") and all(label in line for label in wanted)
    )
