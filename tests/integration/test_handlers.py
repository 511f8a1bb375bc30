"""The handlers into real brokers: bad input and broken brokers cost the record concerned, never its neighbours."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.javatool import consume
from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from functions.inbound.app import handler as inbound
from functions.outbound.app import handler as outbound
from mqbridge.rules import load
from tests.integration.handling import handling
from tests.integration.running_bridge import connected, data_rules


def _sqs(*bodies: Any) -> dict[str, Any]:
    """Return an SQS batch; the ids are m-0, m-1 ..."""
    return {
        "Records": [
            {
                "messageId": f"m-{at}",
                "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for at, body in enumerate(bodies)
        ]
    }


def _iot(payload: bytes, topic: str = "devices/d1/up", **columns: Any) -> dict[str, Any]:
    return {"payload_b64": base64.b64encode(payload).decode(), "topic": topic, **columns}


def _failed(response: Any) -> list[str]:
    return [each["itemIdentifier"] for each in response["batchItemFailures"]]


def test_bad_records_fail_alone_and_their_neighbours_are_stored(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str
) -> None:
    rocketmq.create_topic(fresh_topic)
    rules = load(
        data_rules(
            mosquitto,
            rocketmq,
            OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": fresh_topic}}],
        )
    )
    event = _sqs(
        _iot(b"first"),
        {"payload_b64": "%%%", "topic": "devices/d1/up"},
        _iot(b"separator", client_id="d\x02TAGS\x01x"),
        _iot(b"x" * (4 * 1024 * 1024)),
        _iot(b"properties", user_properties=[{"key": "k", "value": "v" * 9_000}]),
        "not JSON at all",
        _iot(b"nobody's", topic="elsewhere/d1"),
        _iot(b"last \x00\xff"),
    )
    with handling(rules):
        response = outbound(event, None)
    assert _failed(response) == ["m-1", "m-2", "m-3", "m-4", "m-5"]
    stored = consume(rocketmq.name_server, fresh_topic, 2, timeout_s=10)
    assert sorted(bytes(each["body"]) for each in stored) == [b"first", b"last \x00\xff"]


def test_batch_of_a_thousand_is_stored_once_each(mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str) -> None:
    rocketmq.create_topic(fresh_topic)
    rules = load(
        data_rules(
            mosquitto,
            rocketmq,
            OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": fresh_topic}}],
        )
    )
    with handling(rules):
        response = outbound(_sqs(*(_iot(b"%d" % n, f"devices/d{n % 10}/up") for n in range(1_000))), None)
    assert _failed(response) == []
    stored = consume(rocketmq.name_server, fresh_topic, 1_000, timeout_s=10)
    assert sorted(int(each["body"]) for each in stored) == list(range(1_000))


def test_missing_topic_and_silent_name_server_are_failures_to_retry(
    mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each says which rule and record; what goes elsewhere in the same batch is stored."""
    rocketmq.create_topic(fresh_topic)
    document = data_rules(
        mosquitto,
        rocketmq,
        OutboundRules=[
            {
                "RuleId": "good",
                "Source": {"Topic": "good"},
                "Destination": {"InstanceId": "rmq-test", "Topic": fresh_topic},
            },
            {
                "RuleId": "missing",
                "Source": {"Topic": "missing"},
                "Destination": {"InstanceId": "rmq-test", "Topic": "no_such"},
            },
            {
                "RuleId": "silent",
                "Source": {"Topic": "silent"},
                "Destination": {"InstanceId": "rmq-gone", "Topic": "t"},
            },
        ],
    )
    gone = {"InstanceId": "rmq-gone", "NameServers": [f"127.0.0.1:{free_port()}"]}
    document["Instances"]["RocketMQ"].append(gone)
    rules = load(document)
    with handling(rules):
        response = outbound(_sqs(*(_iot(b"x", f"{parent}/d1") for parent in ("silent", "good", "missing"))), None)
    assert _failed(response) == ["m-0", "m-2"]
    assert len(consume(rocketmq.name_server, fresh_topic, 1, timeout_s=10)) == 1
    said = [vars(each) for each in caplog.records]
    assert {(each["rule"], each["event_id"], each["error_type"]) for each in said} == {
        ("silent", "m-0", "connect_failed"),
        ("missing", "m-2", "route_not_found"),
    }


def test_hung_broker_is_reported_in_time(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A broker that takes the bytes and never answers: the outcome is unknown, said before the function's time is up."""

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 3_000

    with RocketMQ(tmp_path) as cluster:
        cluster.create_topic("out")
        rules = load(
            data_rules(
                mosquitto,
                cluster,
                OutboundRules=[{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "out"}}],
            )
        )
        with handling(rules) as counters:
            assert _failed(outbound(_sqs(_iot(b"before")), Context())) == []
            cluster.broker.pause()
            began = time.monotonic()
            assert _failed(outbound(_sqs(_iot(b"during")), Context())) == ["m-0"]
            assert time.monotonic() - began < 3
            cluster.broker.resume()
            assert _failed(outbound(_sqs(_iot(b"after")), Context())) == []
    values = {
        dict(labels).get("rule"): value for (name, labels), value in counters.snapshot().items() if "unknown" in name
    }
    assert values == {"out": 1}


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_commands_are_published_at_their_qos(mosquitto: Mosquitto, rocketmq: RocketMQ, version: str) -> None:
    """More commands than the broker's Receive Maximum, at QoS 0, 1 and 2, bad ones among them."""
    document = data_rules(
        mosquitto,
        rocketmq,
        InboundRules=[{"RuleId": "into", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
    )
    document["Instances"]["Mqtt"][0]["ProtocolVersion"] = version
    rules = load(document)
    commands = [
        {
            "topic": "commands",
            "userProperties": {"mqttSecondTopic": f"/d{n}", "qoslevel": "3" if n == 50 else str(n % 3)},
            "body": str(n),
        }
        for n in range(300)
    ]
    with connected(mosquitto, "devices/#") as (_, received):
        with handling(rules):
            response = inbound(_sqs(*commands), None)
        assert wait_until(lambda: len(received) >= 299, timeout_s=10)
    assert _failed(response) == ["m-50"]
    assert sorted(int(each.payload) for each in received) == [n for n in range(300) if n != 50]


def test_commands_fail_while_the_mqtt_broker_is_away_and_go_out_after_it(rocketmq: RocketMQ, tmp_path: Path) -> None:
    """The connection of a warm function may be dead: noticed, reported, made again."""
    command = {"topic": "commands", "userProperties": {"mqttSecondTopic": "/d1"}, "body": "on"}
    with Mosquitto(tmp_path) as mosquitto:
        rules = load(
            data_rules(
                mosquitto,
                rocketmq,
                InboundRules=[{"RuleId": "into", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
            )
        )
        with handling(rules):
            assert _failed(inbound(_sqs(command), None)) == []
            mosquitto.stop()
            assert _failed(inbound(_sqs(command, command), None)) == ["m-0", "m-1"]
            mosquitto.start()
            assert _failed(inbound(_sqs(command), None)) == []


def test_wrong_password_is_a_failure_that_names_the_instance_and_no_secret(
    rocketmq: RocketMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLANTED", "s3cr3t-planted")
    (tmp_path / "passwords").touch()
    extra = f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}"
    with Mosquitto(tmp_path / "m", extra_config=extra) as locked:
        document = {
            "Instances": {
                "Mqtt": [
                    {
                        "InstanceId": "mqtt-locked",
                        "Endpoint": locked.url,
                        "Username": "u",
                        "Password": "env:PLANTED",
                    }
                ],
                "RocketMQ": [{"InstanceId": "rmq-test", "NameServers": [rocketmq.name_server]}],
            },
            "InboundRules": [{"RuleId": "into", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
        }
        rules = load(document)
        with handling(rules):
            assert _failed(inbound(_sqs({"topic": "commands", "body": "on"}), None)) == ["m-0"]
    output = str([vars(each) for each in caplog.records])
    assert "mqtt-locked" in output
    assert "Not authorized" in output
    assert "s3cr3t-planted" not in output
