"""The bridges that are compared, each as a process of its own, and what a process has used."""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.java_programs import camel_command, camel_version
from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.processes import ManagedProcess
from devstack.rocketmq import RocketMQ

__all__ = ["CAMEL", "MQBRIDGE", "Peer", "Usage", "camel", "mqbridge", "paho_counter", "usage"]

MQBRIDGE = "mqbridge run"
CAMEL = f"Camel {camel_version()}"

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used until now."""

    cpu_s: float
    peak_rss_mb: float


def usage(pid: int) -> Usage:
    """Read what the process has used so far, all its threads together."""
    # proc(5): the name, in parentheses, may contain anything; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, int(peak[1]) / 1024 if peak else 0.0)


Peer = Callable[[str, Path, Mosquitto, RocketMQ, str], ManagedProcess]


def mqbridge(
    direction: str,
    directory: Path,
    mosquitto: Mosquitto,
    cluster: RocketMQ,
    topic: str,
    program: Sequence[str] = ("mqbridge_cli.main",),
) -> ManagedProcess:
    """Start the runner with one rule at its defaults, and wait until it is ready. `program` is a module and its first arguments."""
    rules = {
        "Instances": {
            "Mqtt": [{"InstanceId": "mqtt-bench", "Endpoint": mosquitto.url, "ClientIdFrom": {"TopicLevel": 2}}],
            "RocketMQ": [{"InstanceId": "rmq-bench", "NameServers": [cluster.name_server]}],
        },
        **(
            {"OutboundRules": [{"RuleId": "bench", "Source": {"Topic": "devices"}, "Destination": {"Topic": topic}}]}
            if direction == "outbound"
            else {
                "InboundRules": [
                    {
                        "RuleId": "bench",
                        "Source": {"Topic": topic, "GroupId": f"GID_{topic}", "StartFrom": "FIRST"},
                        "Destination": {"Topic": "devices"},
                    }
                ]
            }
        ),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "rules.json"
    path.write_text(json.dumps(rules), encoding="utf-8")
    listen = f"127.0.0.1:{free_port()}"
    command = (sys.executable, "-m", *program, "run", "--rules", str(path), "--listen", listen)
    process = ManagedProcess("mqbridge", command, log_path=directory / "mqbridge.log")
    process.start(lambda: _answers(f"http://{listen}/readyz"))
    return process


def camel(direction: str, directory: Path, mosquitto: Mosquitto, cluster: RocketMQ, topic: str) -> ManagedProcess:
    """Start Camel with one route, and wait until it is ready."""
    url = mosquitto.url.replace("mqtt://", "tcp://")
    ends = (url, cluster.name_server, topic) if direction == "outbound" else (cluster.name_server, topic, url)
    process = ManagedProcess("camel", camel_command(direction, *ends), log_path=directory / "camel.log")
    process.start(lambda: "ready" in process.output, timeout_s=60.0)
    return process


def paho_counter(directory: Path, mosquitto: Mosquitto, *counts: int) -> ManagedProcess:
    """Start a subscriber that only counts and says when it has received each of `counts` messages."""
    command = (sys.executable, "-m", "benchmarks.paho_counter", str(mosquitto.port), *map(str, counts))
    process = ManagedProcess("paho-counter", command, log_path=directory / "paho_counter.log")
    process.start(lambda: "ready" in process.output)
    return process


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a loopback address of ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
