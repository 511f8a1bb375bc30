"""AWS IoT Core as the MQTT side, as far as it can be had here: mutual TLS and ALPN to a real broker, iot-data to moto's server."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.iotdata.models import iotdata_backends

from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.processes import wait_until
from functions.inbound.app import handler as inbound
from mqbridge import secrets
from mqbridge.delivery import OpenSinks, Sent
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Delivered, Failed
from mqbridge.rules import load
from mqbridge_cli.main import main
from tests.certificates import Authority, Identity
from tests.integration.aws_server import ACCOUNT, REGION, pretended
from tests.integration.handling import handling
from tests.integration.running_bridge import connected
from tests.integration.tls_front import TlsFront, tls_front


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def device(authority: Authority) -> Identity:
    """A certificate as AWS IoT Core gives one to a client."""
    return authority.issue("device")


@pytest.fixture
def front(mosquitto: Mosquitto, authority: Authority) -> Iterator[TlsFront]:
    """What listens on port 443 of AWS IoT Core: TLS with a client's certificate, and MQTT only for who names the protocol."""
    protocols = ["x-amzn-mqtt-ca", "mqtt"]
    with tls_front(mosquitto.port, authority.issue("localhost"), authority.path, protocols) as made:
        yield made


def rules_with(endpoint: str, **settings: Any) -> Any:
    return load(
        {
            "Instances": {
                "Mqtt": [{"InstanceId": "iot", "Endpoint": endpoint, **settings}],
                "RocketMQ": [{"InstanceId": "rmq", "NameServers": ["127.0.0.1:1"]}],
            },
            "InboundRules": [{"RuleId": "into", "Source": {"Topic": "commands"}, "Destination": {"Topic": "devices"}}],
        }
    )


def published(rules: Any, count: int = 1, **message: Any) -> list[Sent]:
    """Publish through the sink of the rules' instance."""
    sinks = OpenSinks(rules)
    made = [MqttMessage(instance_id="iot", topic=f"devices/d{at}", payload=b"on", **message) for at in range(count)]
    try:
        return sinks.send("mqtt", "iot", made, time.monotonic() + 10)
    finally:
        sinks.close()


# MQTT.


@pytest.mark.parametrize("protocol", ["x-amzn-mqtt-ca", "mqtt"])
def test_mqtt_on_port_443_by_alpn_with_certificates_from_secrets_manager(
    protocol: str,
    mosquitto: Mosquitto,
    front: TlsFront,
    authority: Authority,
    device: Identity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key is in no file, and in no layer."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(secrets, "_cached", {})
    with pretended(monkeypatch), connected(mosquitto, "devices/#") as (_, received):
        secret = {"certificate": device.certificate_path.read_text(), "key": device.key_path.read_text()}
        client = boto3.session.Session().client("secretsmanager")
        client.create_secret(Name="mqbridge/iot", SecretString=json.dumps(secret))
        tls = {
            "CaFile": str(authority.path),
            "Cert": "secretsmanager:mqbridge/iot#certificate",
            "Key": "secretsmanager:mqbridge/iot#key",
            "Alpn": protocol,
        }
        rules = rules_with(f"mqtts://localhost:{front.port}", Tls=tls)
        assert published(rules, 3) == [Delivered()] * 3
        assert wait_until(lambda: len(received) == 3, timeout_s=5)
    assert front.agreed == [(protocol, "localhost")]


def test_without_the_protocol_s_name_the_connection_fails(
    front: TlsFront, authority: Authority, device: Identity
) -> None:
    tls = {
        "CaFile": str(authority.path),
        "CertFile": str(device.certificate_path),
        "KeyFile": str(device.key_path),
    }
    (outcome,) = published(rules_with(f"mqtts://localhost:{front.port}", Tls=tls))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "connect_failed"
    assert front.agreed == [(None, "localhost")]


def test_mutual_tls_with_a_key_by_reference_to_a_real_broker(
    tmp_path: Path, authority: Authority, device: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, port = authority.issue("127.0.0.1"), free_port()
    listener = [
        f"listener {port} 127.0.0.1",
        f"cafile {authority.path}",
        f"certfile {server.certificate_path}",
        f"keyfile {server.key_path}",
        "require_certificate true",
    ]
    monkeypatch.setenv("CA", authority.path.read_text())
    monkeypatch.setenv("KEY", device.key_path.read_text())
    with Mosquitto(tmp_path, extra_config="\n".join(listener)):
        tls = {"Ca": "env:CA", "CertFile": str(device.certificate_path), "Key": "env:KEY"}
        assert published(rules_with(f"mqtts://127.0.0.1:{port}", Tls=tls)) == [Delivered()]
        monkeypatch.setenv("KEY", authority.issue("another").key_path.read_text())
        (outcome,) = published(rules_with(f"mqtts://127.0.0.1:{port}", Tls=tls))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "cannot_connect"
    assert "env:KEY" in outcome.detail


def test_a_broker_that_takes_no_qos_2_gets_qos_1(tmp_path: Path) -> None:
    """AWS IoT Core says Maximum QoS 1 when it is connected to, and ends the connection over a message of QoS 2; so does mosquitto."""
    port = free_port()
    with (
        Mosquitto(tmp_path, extra_config=f"listener {port} 127.0.0.1\nmax_qos 1") as broker,
        connected(broker, "devices/#") as (_, received),
    ):
        rules = rules_with(f"mqtt://127.0.0.1:{port}")
        assert published(rules, qos=2) == [Delivered()]
        assert published(rules, qos=0) == [Delivered()]
        assert wait_until(lambda: len(received) == 2, timeout_s=5)


# iot-data.


def test_commands_are_published_by_the_iot_data_api(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rules_with(f"iot-data://a1b2c3-ats.iot.{REGION}.amazonaws.com")
    commands = [
        {
            "topic": "commands",
            "userProperties": {"mqttSecondTopic": f"/d{at % 20}", "qoslevel": "9" if at == 50 else str(at % 3)},
            "body": str(at),
        }
        for at in range(100)
    ]
    records = [
        {
            "messageId": f"m-{at}",
            "eventSource": "aws:sqs",
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
            "body": json.dumps(command),
        }
        for at, command in enumerate(commands)
    ]
    with pretended(monkeypatch):
        with handling(rules):
            response = inbound({"Records": records}, None)
        got = iotdata_backends[ACCOUNT][REGION].published_payloads
    assert [each["itemIdentifier"] for each in response["batchItemFailures"]] == ["m-50"]
    by_topic: dict[str, list[int]] = {}
    for topic, payload in got:
        by_topic.setdefault(topic, []).append(int(payload))
    assert sorted(at for numbers in by_topic.values() for at in numbers) == [at for at in range(100) if at != 50]
    assert all(numbers == sorted(numbers) for numbers in by_topic.values())


def test_the_runner_says_that_it_cannot_subscribe_by_iot_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.json"
    instances = {
        "Mqtt": [{"InstanceId": "iot", "Endpoint": "iot-data://a1b2c3-ats.iot.eu-west-1.amazonaws.com"}],
        "RocketMQ": [{"InstanceId": "rmq", "NameServers": ["127.0.0.1:1"]}],
    }
    rule = {"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "out"}}
    path.write_text(json.dumps({"Instances": instances, "OutboundRules": [rule]}))
    assert main(["run", "--rules", str(path), "--listen", f"127.0.0.1:{free_port()}"]) == 2
    assert "only publishes, from functions; to subscribe takes an mqtts endpoint" in capsys.readouterr().err
