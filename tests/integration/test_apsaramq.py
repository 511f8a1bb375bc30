"""An ApsaraMQ 4.0 endpoint: on the wire names carry the instance's id, in rules, logs and health they do not."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.javatool import consume, produce
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from rocketmq_remoting import Client, Consumer, StartFrom
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all, user_properties

INSTANCE = "MQ_INST_1_a"

# Not every system resolves names below "localhost", and the endpoint's name must begin with the instance's id.
RESOLVER = f"""\
import socket

plain = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **options: plain(
    "127.0.0.1" if host == "{INSTANCE}.localhost" else host, *rest, **options
)
"""


@pytest.fixture
def _resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the runner's process resolve the endpoint."""
    directory = tmp_path / "resolver"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(RESOLVER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH")))))


def rules(mosquitto: Mosquitto, rocketmq: RocketMQ, name: str) -> dict[str, Any]:
    document = data_rules(
        mosquitto,
        rocketmq,
        OutboundRules=[
            {
                "RuleId": "out",
                "Source": {"Topic": "devices"},
                "Destination": {"Topic": f"{name}_telemetry"},
                "RunOptions": {
                    "DeadLetterQueue": {"Arn": f"acs:mq:local:0:/instances/rmq-test/topic/{name}_dead"},
                },
            }
        ],
        InboundRules=[
            {
                "RuleId": "into",
                "Source": {"Topic": f"{name}_commands", "GroupId": f"GID_{name}"},
                "Destination": {"Topic": "devices"},
            }
        ],
    )
    port = rocketmq.name_server.rpartition(":")[2]
    document["Instances"]["RocketMQ"][0]["NameServers"] = [f"http://{INSTANCE}.localhost:{port}"]
    return document


@pytest.mark.usefixtures("_resolver")
def test_names_are_prefixed_on_the_wire_and_plain_elsewhere(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """Out, in, dead letters and the group's own; Java's client finds each under its full name."""
    telemetry, commands, dead = (f"{INSTANCE}%{fresh_topic}_{name}" for name in ("telemetry", "commands", "dead"))
    bridge = RunningBridge(tmp_path, rules(mosquitto, rocketmq, fresh_topic))
    try:
        bridge.start(until_ready=False)
        bridge.wait_for_state("out", "STARTING_FAILED")
        bridge.wait_for_state("into", "STARTING_FAILED")
        details = str(bridge.readiness()[1])
        rocketmq.create_topic(telemetry, commands, dead)
        bridge.wait_for_state("out", "RUNNING")
        bridge.wait_for_state("into", "RUNNING")
        with connected(mosquitto, "devices/d1/set") as (device, received):
            publish_all(device, [("devices/d1/up", b"up", 1)])
            too_large = user_properties(("k", "v" * 9_000))
            device.publish("devices/d1/up", b"rejected", 1, properties=too_large).wait_for_publish(5)
            produce(
                rocketmq.name_server,
                [
                    {"topic": commands, "body": body, "properties": {"mqttSecondTopic": "/d1/set", "qoslevel": qos}}
                    for body, qos in ((b"on", "1"), (b"refused", "7"))
                ],
            )
            assert wait_until(lambda: [bytes(each.payload) for each in received] == [b"on"], timeout_s=20)
        assert [each["body"] for each in consume(rocketmq.name_server, telemetry, 1)] == [b"up"]
        assert len(consume(rocketmq.name_server, dead, 1)) == 1
        assert wait_until(lambda: bridge.counter("mqbridge_errors_total", rule="into") == 1, timeout_s=10)
    finally:
        bridge.stop()
    rocketmq.register()
    refused = consume(rocketmq.name_server, f"%DLQ%{INSTANCE}%GID_{fresh_topic}", 1)
    assert [each["body"] for each in refused] == [b"refused"]
    assert f"{fresh_topic}_telemetry" in details
    assert f"{fresh_topic}_commands" in details
    assert f"{INSTANCE}%" not in details + (tmp_path / "mqbridge.log").read_text()


@pytest.mark.usefixtures("_resolver")
def test_message_of_the_retry_topic_is_mapped_under_its_plain_topic(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """The group's retry topic is %RETRY% and then the prefixed group; another member of the group sent the message back."""
    telemetry, commands = (f"{INSTANCE}%{fresh_topic}_{name}" for name in ("telemetry", "commands"))
    rocketmq.create_topic(telemetry, commands)
    produce(rocketmq.name_server, [{"topic": commands, "body": b"again", "properties": {"mqttSecondTopic": "/d1/set"}}])
    other = Consumer(
        Client([rocketmq.name_server]),
        group=f"{INSTANCE}%GID_{fresh_topic}",
        topic=commands,
        start_from=StartFrom.first(),
    )
    deadline = time.monotonic() + 20
    while not (messages := other.poll(0.2)):
        assert time.monotonic() < deadline, other.problem
    other.send_back(messages[0], delay_level=1)
    other.settle(messages)
    other.close()
    rocketmq.register()
    with connected(mosquitto, "devices/d1/set") as (_, received):
        with RunningBridge(tmp_path, rules(mosquitto, rocketmq, fresh_topic)):
            assert wait_until(lambda: [bytes(each.payload) for each in received] == [b"again"], timeout_s=30)
