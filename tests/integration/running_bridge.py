"""`mqbridge run` as a process of its own, and MQTT clients to talk to it through a broker."""

import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.processes import ManagedProcess, wait_until
from devstack.rocketmq import RocketMQ
from tests.identity import faults_of, values_of

__all__ = [
    "RunningBridge",
    "connected",
    "data_rules",
    "publish_all",
    "received_properties",
    "user_properties",
]


def data_rules(mosquitto: Mosquitto, rocketmq: RocketMQ, **sections: Any) -> dict[str, Any]:
    """Return a rules document for these brokers; `sections` are added as they are."""
    return {
        "Instances": {
            "Mqtt": [
                {
                    "InstanceId": "mqtt-test",
                    "Endpoint": mosquitto.url,
                    "ClientIdFrom": {"TopicLevel": 2},
                    "MessageIdFrom": {"JsonPath": "$.id"},
                }
            ],
            "RocketMQ": [{"InstanceId": "rmq-test", "NameServers": [rocketmq.name_server]}],
        },
        **sections,
    }


class RunningBridge:
    """The runner on a rules document, started and stopped like a service. Before it is stopped its accounts have to add up."""

    def __init__(self, directory: Path, rules: Mapping[str, Any], *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._health = f"http://127.0.0.1:{free_port()}"
        rules_path = directory / "rules.json"
        rules_path.write_text(json.dumps(rules))
        listen = self._health.removeprefix("http://")
        command = [sys.executable, "-m", "mqbridge_cli.main", "run", "--rules", str(rules_path), "--listen", listen]
        self.process = ManagedProcess("mqbridge", (*command, *options), log_path=directory / "mqbridge.log")

    def __enter__(self) -> "RunningBridge":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.stop()
        else:
            self.process.stop()

    def stop(self) -> None:
        """Assert that the metrics account for every record, if the process is there to tell, and stop it.

        What is on its way at the moment may be between two of the numbers, and is not for long.
        """
        try:
            if self.process.alive:
                assert wait_until(lambda: not self._faults(), timeout_s=5), self._faults()
        finally:
            self.process.stop()

    def _faults(self) -> list[str]:
        return faults_of(values_of(self.metrics()))

    def start(self, *, until_ready: bool = True) -> None:
        """Start, and wait until every rule runs."""
        self.process.start((lambda: self.readiness()[0] == 200) if until_ready else (lambda: self.readiness()[0] > 0))

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status of /readyz and its document; 0 while nothing answers."""
        try:
            with urllib.request.urlopen(f"{self._health}/readyz", timeout=2) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def state(self, rule: str) -> str:
        """Return a rule's state as /readyz says it."""
        entries = self.readiness()[1].get("rules", [])
        return next((entry["state"] for entry in entries if entry["rule"] == rule), "")

    def metrics(self) -> str:
        """Return what /metrics says."""
        with urllib.request.urlopen(f"{self._health}/metrics", timeout=2) as answer:
            text: str = answer.read().decode()
        return text

    def counter(self, name: str, **labels: str) -> int:
        """Return the sum of a counter's series with these labels."""
        lines = self.metrics().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in lines
            if line.startswith(name + "{") and all(each in line for each in wanted)
        )

    def wait_for_state(self, rule: str, state: str, timeout_s: float = 20) -> None:
        """Wait until the rule is in `state`."""
        assert wait_until(lambda: self.state(rule) == state, timeout_s=timeout_s), self.readiness()


@contextmanager
def connected(
    mosquitto: Mosquitto,
    *filters: str,
    version: int = 5,
    client_id: str = "",
    login: tuple[str, str] | None = None,
) -> Iterator[tuple[Client, list[MQTTMessage]]]:
    """Yield an MQTT client that is subscribed to `filters` at QoS 1, and the list of what it receives."""
    protocol = MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    received: list[MQTTMessage] = []
    ready = threading.Event()
    client.on_message = lambda _client, _userdata, message: received.append(message)
    client.on_subscribe = lambda *_: ready.set()
    client.max_inflight_messages_set(0)
    if login is not None:
        client.username_pw_set(*login)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    try:
        if filters:
            if version == 5:
                client.subscribe([(each, SubscribeOptions(qos=1, noLocal=True)) for each in filters])
            else:
                client.subscribe([(each, 1) for each in filters])
            assert ready.wait(5), "no SUBACK"
        yield client, received
    finally:
        client.disconnect()
        client.loop_stop()


def publish_all(client: Client, messages: list[tuple[str, bytes, int]], timeout_s: float = 20) -> None:
    """Publish (topic, payload, QoS) triples and wait until the broker has acknowledged each."""
    infos = [client.publish(topic, payload, qos) for topic, payload, qos in messages]
    for info in infos:
        info.wait_for_publish(timeout_s)
        assert info.is_published()


def user_properties(*pairs: tuple[str, str]) -> Properties:
    """Return the properties of a PUBLISH with these user properties."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho does not annotate it
    properties.UserProperty = list(pairs)
    return properties


def received_properties(message: MQTTMessage) -> dict[str, Any]:
    """Return the MQTT 5 properties that came with a message."""
    return dict(vars(message.properties))
