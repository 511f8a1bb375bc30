"""Status rules in the runner, on a real mosquitto and a real RocketMQ: clients that come, leave, die and take over."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.cache import program
from devstack.javatool import consume
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from mqbridge.messages import StatusNotice
from mqbridge.presence import Presence, read_notice
from tests.integration.running_bridge import RunningBridge, connected, data_rules, publish_all

LOGGING = "log_dest topic"


@pytest.fixture
def logging_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto"), extra_config=LOGGING) as broker:
        yield broker


def status_rules(
    mosquitto: Mosquitto, rocketmq: RocketMQ, topic: str, presence_from: dict[str, Any], **source: str
) -> dict[str, Any]:
    rule = {"RuleId": "presence", "Source": source or {"GroupId": "GID_test"}, "Destination": {"Topic": topic}}
    rules = data_rules(mosquitto, rocketmq, StatusRules=[rule])
    rules["Instances"]["Mqtt"][0]["PresenceFrom"] = presence_from
    return rules


def notices(rocketmq: RocketMQ, topic: str, count: int) -> list[StatusNotice]:
    """Return what RocketMQ's own Java client reads; a message's tag and key must be those of its body."""
    found = []
    for message in consume(rocketmq.name_server, topic, count, timeout_s=15, grace_s=0.5):
        notice = read_notice(message["body"])
        assert (message["tags"], message["keys"]) == (notice.event_type, notice.client_id)
        found.append(notice)
    return found


def told_of(client_id: str, found: list[StatusNotice]) -> list[str]:
    return [each.event_type for each in found if each.client_id == client_id]


@contextmanager
def device(mosquitto: Mosquitto, client_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a subscribed mosquitto_sub of that client id."""
    before = mosquitto.log_path.read_text(errors="replace").count(f"as {client_id} (")
    command = [program("mosquitto_sub"), "-p", str(mosquitto.port), "-i", client_id, "-t", "nothing"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert wait_until(
            lambda: mosquitto.log_path.read_text(errors="replace").count(f"as {client_id} (") > before, timeout_s=5
        )
        try:
            yield process
        finally:
            process.kill()


def delivered(bridge: RunningBridge) -> int:
    return bridge.counter("mqbridge_records_total", flow="status", outcome="delivered")


def told_by_the_command(directory: Path) -> list[str]:
    """Return who is online, as `mqbridge presence` says."""
    command = [sys.executable, "-m", "mqbridge_cli.main", "presence", "--rules", str(directory / "rules.json")]
    done = subprocess.run(
        [*command, "--once", "--format", "json"], capture_output=True, text=True, timeout=30, check=True
    )
    return [json.loads(line)["clientId"] for line in done.stdout.splitlines()]


def test_the_command_follows_who_comes_and_goes(
    logging_mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    rocketmq.create_topic(fresh_topic)
    rules = status_rules(logging_mosquitto, rocketmq, fresh_topic, {"Broker": "Mosquitto"})
    told = tmp_path / "told"
    command = [sys.executable, "-m", "mqbridge_cli.main", "presence", "--rules", str(tmp_path / "rules.json")]
    with (
        RunningBridge(tmp_path, rules),
        told.open("wb") as output,
        subprocess.Popen(command, stdout=output) as following,
    ):
        try:
            assert wait_until(lambda: "0 online" in told.read_text(), timeout_s=10)
            with connected(logging_mosquitto, "nothing", client_id="GID_test@@@d1"):
                assert wait_until(lambda: "online   GID_test@@@d1" in told.read_text(), timeout_s=10)
            assert wait_until(lambda: "offline  GID_test@@@d1" in told.read_text(), timeout_s=10)
        finally:
            following.terminate()


def test_mosquitto_s_log_tells_who_comes_leaves_dies_and_takes_over(
    logging_mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    broker = logging_mosquitto
    rocketmq.create_topic(fresh_topic)
    rules = status_rules(broker, rocketmq, fresh_topic, {"Broker": "Mosquitto"})
    with RunningBridge(tmp_path, rules) as bridge:
        with connected(broker, "nothing", client_id="GID_test@@@leaves"):
            pass
        with device(broker, "GID_test@@@dies") as process:
            process.kill()
            process.wait()
        with device(broker, "GID_test@@@twice"):
            with connected(broker, "nothing", client_id="GID_test@@@twice"):
                pass
        with connected(broker, "nothing", client_id="GID_other@@@d1"):
            pass
        with connected(broker, "nothing", client_id="GID_test@@@stays"):
            # Two events of who leaves, two of who dies, four of the take-over, one of who stays.
            assert wait_until(lambda: delivered(bridge) >= 9, timeout_s=10), bridge.metrics()
            found = notices(rocketmq, fresh_topic, 10)
            online = told_by_the_command(tmp_path)
    assert online == ["GID_test@@@stays"]
    assert told_of("GID_test@@@leaves", found) == ["connect", "disconnect", "tcpclean"]
    assert told_of("GID_test@@@dies", found) == ["connect", "tcpclean"]
    assert {each.client_id for each in found} == {f"GID_test@@@{name}" for name in ("leaves", "dies", "twice", "stays")}
    twice = [each for each in found if each.client_id == "GID_test@@@twice"]
    assert [each.event_type for each in twice[:3]] == ["connect", "tcpclean", "connect"]
    assert twice[0].channel_id == twice[1].channel_id != twice[2].channel_id
    assert all(each.client_ip.startswith("127.0.0.1:") for each in found)
    presence = Presence()
    for notice in found:
        presence.add(notice)
    assert presence.is_online("GID_test@@@stays")
    assert not presence.is_online("GID_test@@@leaves")
    assert not presence.is_online("GID_test@@@dies")


def test_who_comes_back_while_the_runner_is_away_is_online(
    logging_mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """The session waits at the broker, and with it, for 20 s, what the log says."""
    rocketmq.create_topic(fresh_topic)
    rules = status_rules(logging_mosquitto, rocketmq, fresh_topic, {"Broker": "Mosquitto"}, ClientIdPrefix="plain-")
    bridge = RunningBridge(tmp_path, rules)
    with bridge:
        pass
    with connected(logging_mosquitto, "nothing", client_id="plain-1"), bridge:
        assert wait_until(lambda: delivered(bridge) >= 1, timeout_s=10)
        assert told_of("plain-1", notices(rocketmq, fresh_topic, 1)) == ["connect"]


def test_who_was_there_before_a_restart_is_told_to_leave(
    logging_mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    """Of an end the log names only the client: which connection it was is remembered in the state directory, over a crash too."""
    rocketmq.create_topic(fresh_topic)
    rules = status_rules(logging_mosquitto, rocketmq, fresh_topic, {"Broker": "Mosquitto"})
    bridge = RunningBridge(tmp_path, rules, "--state-dir", str(tmp_path / "state"))
    with bridge:
        with connected(logging_mosquitto, "nothing", client_id="GID_test@@@d1"):
            assert wait_until(lambda: delivered(bridge) >= 1, timeout_s=10)
            bridge.process.kill()
            bridge.start()
        assert wait_until(lambda: delivered(bridge) >= 1, timeout_s=10)
        found = notices(rocketmq, fresh_topic, 3)
    assert told_of("GID_test@@@d1", found) == ["connect", "disconnect", "tcpclean"]
    assert len({each.channel_id for each in found}) == 1


def test_events_on_topics_are_told_and_others_are_dead_letters(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, tmp_path: Path
) -> None:
    dead = f"{fresh_topic}_dlq"
    rocketmq.create_topic(fresh_topic, dead)
    rules = status_rules(
        mosquitto, rocketmq, fresh_topic, {"Topics": ["presence/+/connected", "presence/+/disconnected"]}
    )
    rules["Defaults"] = {"RunOptions": {"DeadLetterQueue": {"Arn": f"acs:mq:local:0:/instances/rmq-test/topic/{dead}"}}}
    client = {"clientid": "GID_test@@@d1", "connected_at": 1_700_000_000_000}
    with RunningBridge(tmp_path, rules) as bridge, connected(mosquitto) as (broker, _):
        events = [
            ("presence/d1/connected", {**client, "event": "client.connected", "timestamp": 1}),
            (
                "presence/d1/disconnected",
                {**client, "event": "client.disconnected", "reason": "normal", "timestamp": 2},
            ),
            ("presence/d1/disconnected", {"event": "client.disconnected", "timestamp": 2}),
            ("presence/d1/other", {"event": "client.connected"}),
        ]
        publish_all(broker, [(topic, json.dumps(event).encode(), 1) for topic, event in events])
        assert wait_until(lambda: delivered(bridge) >= 2, timeout_s=10)
        found = notices(rocketmq, fresh_topic, 3)
        (letter,) = consume(rocketmq.name_server, dead, 1, timeout_s=10)
    assert told_of("GID_test@@@d1", found) == ["connect", "disconnect", "tcpclean"]
    assert len({each.channel_id for each in found}) == 1
    assert json.loads(letter["properties"]["mqbridge-dead-letter"])["reason"] == "client_id_missing"
