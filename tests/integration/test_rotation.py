"""Secrets rotated on real brokers, while what uses them runs."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from devstack.cache import program
from devstack.processes import wait_until
from devstack.rocketmq import RocketMQ
from mqbridge import rocketmq as our_rocketmq
from mqbridge import secrets
from mqbridge.delivery import OpenSinks, Sent
from mqbridge.messages import MqttMessage, RocketMQMessage
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rocketmq import open_client
from mqbridge.rules import Rules, load
from rocketmq_remoting import Client, Consumer, Credentials, Message, Producer, StartFrom, random_message_id
from tests.certificates import Authority
from tests.integration.aws_server import REGION, pretended
from tests.integration.running_bridge import RunningBridge, connected, publish_all
from tests.integration.secured import ADMIN, BRIDGE, SecuredMosquitto, locked_rocketmq

Plant = Callable[[Credentials], None]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Locked:
    """A RocketMQ whose broker takes one pair of keys from the bridge, another when told."""

    def __init__(self, cluster: RocketMQ, authority: Authority) -> None:
        self._cluster = cluster
        self._authority = authority
        self._accounts = cluster.home / "conf" / "plain_acl.yml"
        self._keys = BRIDGE
        self._count = 0

    def rules(self, access_key: str, secret_key: str) -> Rules:
        return load({"Instances": {"RocketMQ": [self.instance(access_key, secret_key)]}})

    def instance(self, access_key: str, secret_key: str) -> dict[str, Any]:
        return {
            "InstanceId": "rmq-test",
            "NameServers": [self._cluster.name_server],
            "AccessKey": access_key,
            "SecretKey": secret_key,
            "Tls": {"CaFile": str(self._authority.path)},
        }

    def rotate(self) -> Credentials:
        """Have the broker take other keys, the old ones no more, and return them."""
        self._count += 1
        keys = Credentials(access_key=f"rotated-key-{self._count}", secret_key=f"rotated-secret-{self._count}")
        text = self._accounts.read_text()
        for old, new in ((self._keys.access_key, keys.access_key), (self._keys.secret_key, keys.secret_key)):
            text = text.replace(old, new)
        beside = self._accounts.with_suffix(".new")
        beside.write_text(text)
        os.replace(beside, self._accounts)  # the broker looks at the file twice a second
        self._keys = keys
        assert wait_until(lambda: self.takes(keys), timeout_s=20)
        return keys

    @property
    def keys(self) -> Credentials:
        return self._keys

    def takes(self, keys: Credentials, topic: str = "out") -> bool:
        producer = Producer(self.client(keys))
        message = Message(topic=topic, body=b"probe", message_id=random_message_id(0))
        (sent,) = producer.send([message], time.monotonic() + 5)
        producer.close()
        return sent.error is None

    def client(self, keys: Credentials) -> Client:
        return Client([self._cluster.name_server], credentials=keys, tls=self._authority.context())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Locked]:
    with locked_rocketmq(tmp_path_factory.mktemp("locked"), authority) as running:
        running.create_topic("out", "into")
        yield Locked(running, authority)


@pytest.fixture(params=["environment", "file", "Secrets Manager"])
def stored(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[str, str, Plant]]:
    """References to an access key and a secret key, and what puts other keys there."""
    secrets._cached.clear()
    if request.param == "environment":

        def in_environment(keys: Credentials) -> None:
            monkeypatch.setenv("RMQ_ACCESS_KEY", keys.access_key)
            monkeypatch.setenv("RMQ_SECRET_KEY", keys.secret_key)

        yield "env:RMQ_ACCESS_KEY", "env:RMQ_SECRET_KEY", in_environment
    elif request.param == "file":

        def in_files(keys: Credentials) -> None:
            (tmp_path / "access").write_text(f"{keys.access_key}\n")
            (tmp_path / "secret").write_text(f"{keys.secret_key}\n")

        yield f"file:{tmp_path / 'access'}", f"file:{tmp_path / 'secret'}", in_files
    else:
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        with pretended(monkeypatch):
            client: Any = boto3.session.Session().client("secretsmanager")
            client.create_secret(Name="rocketmq", SecretString="{}")

            def in_secrets_manager(keys: Credentials) -> None:
                text = f'{{"AccessKey": "{keys.access_key}", "SecretKey": "{keys.secret_key}"}}'
                client.put_secret_value(SecretId="rocketmq", SecretString=text)
                a_while_passes()

            yield "secretsmanager:rocketmq#AccessKey", "secretsmanager:rocketmq#SecretKey", in_secrets_manager
    secrets._cached.clear()


def a_while_passes() -> None:
    """So long that AWS may be asked again once a broker has refused something."""
    for known in secrets._cached.values():
        known.asked_at -= secrets.ASK_AGAIN_S


def send(sinks: OpenSinks, count: int = 1, lane: str = "") -> list[Sent]:
    messages = [
        RocketMQMessage(
            instance_id="rmq-test", topic="out", body=b"b", sharding_key=lane, message_id=random_message_id(0)
        )
        for _ in range(count)
    ]
    return sinks.send("rocketmq", "rmq-test", messages, time.monotonic() + 10)


def test_keys_rotated_at_the_broker_are_found_by_the_first_refusal(
    cluster: Locked, stored: tuple[str, str, Plant]
) -> None:
    """Nothing is rejected but what is sent between the broker's change and the store's."""
    access_key, secret_key, plant = stored
    plant(cluster.keys)
    sinks = OpenSinks(cluster.rules(access_key, secret_key))
    try:
        assert send(sinks) == [Delivered()]
        rotated = cluster.rotate()
        (between,) = send(sinks)
        assert isinstance(between, Reject)
        assert between.reason == "broker_forbids"
        plant(rotated)
        assert send(sinks, 3, lane="device") == [Delivered()] * 3
        plant(cluster.rotate())
        assert send(sinks) == [Delivered()]
    finally:
        sinks.close()


def test_a_consumer_goes_on_with_rotated_keys(cluster: Locked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the runner's inbound rules consume. It looks at the file every 30 s; here twice a second."""
    monkeypatch.setattr(our_rocketmq, "LOOK_AGAIN_S", 0.5)
    (tmp_path / "access").write_text(cluster.keys.access_key)
    (tmp_path / "secret").write_text(cluster.keys.secret_key)
    rules = cluster.rules(f"file:{tmp_path / 'access'}", f"file:{tmp_path / 'secret'}")
    consumer = Consumer(
        open_client(rules.rocketmq["rmq-test"]), group="GID_mqbridge_into", topic="into", start_from=StartFrom.first()
    )

    def polled() -> list[bytes]:
        messages = consumer.poll(0.2)
        consumer.settle(messages)
        return [each.body for each in messages]

    try:
        assert cluster.takes(ADMIN, "into")
        assert wait_until(lambda: polled() == [b"probe"], timeout_s=30)
        rotated = cluster.rotate()
        assert wait_until(lambda: not polled() and consumer.problem is not None, timeout_s=30)
        assert cluster.takes(ADMIN, "into")
        (tmp_path / "access").write_text(rotated.access_key)
        (tmp_path / "secret").write_text(rotated.secret_key)
        assert wait_until(lambda: polled() == [b"probe"], timeout_s=30)
        assert wait_until(lambda: not polled() and consumer.problem is None, timeout_s=10)
    finally:
        consumer.close()


def test_a_password_rotated_at_the_broker_is_found_by_the_first_connection_it_refuses(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Secrets Manager, whose answers are kept for 300 s; files and variables are read for every connection."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    secrets._cached.clear()
    made = SecuredMosquitto.made(tmp_path, authority, authority.issue("127.0.0.1"), {"bridge": "before"})
    with made.broker, pretended(monkeypatch):
        client: Any = boto3.session.Session().client("secretsmanager")
        client.create_secret(Name="mqtt", SecretString="before")
        instance = {
            "InstanceId": "mqtt-test",
            "Endpoint": made.tls,
            "Username": "bridge",
            "Password": "secretsmanager:mqtt",
            "Tls": {"CaFile": str(authority.path)},
        }
        sinks = OpenSinks(load({"Instances": {"Mqtt": [instance]}}))

        def publish() -> Sent:
            message = MqttMessage(instance_id="mqtt-test", topic="devices/d1", payload=b"p")
            return sinks.send("mqtt", "mqtt-test", [message], time.monotonic() + 10)[0]

        try:
            assert publish() == Delivered()
            restart_with_password(made, tmp_path, "after")
            refused = publish()
            assert isinstance(refused, Failed)
            assert "refused the connection" in refused.detail
            client.put_secret_value(SecretId="mqtt", SecretString="after")
            a_while_passes()
            assert publish() == Delivered()
        finally:
            sinks.close()
            secrets._cached.clear()


def restart_with_password(secured: SecuredMosquitto, directory: Path, password: str) -> None:
    """Restart the broker; from now on the bridge comes in with another password."""
    secured.broker.stop()
    command = (program("mosquitto_passwd"), "-b", str(directory / "passwords"), "bridge", password)
    subprocess.run(command, check=True, capture_output=True)
    secured.broker.start()


def test_the_runner_goes_on_with_what_was_rotated(cluster: Locked, authority: Authority, tmp_path: Path) -> None:
    """Its MQTT session with a new password, its sink with new keys; no message is lost, none goes to the dead letters."""
    passwords = {"bridge": "before", "device": "device"}
    made = SecuredMosquitto.made(tmp_path, authority, authority.issue("127.0.0.1"), passwords)
    (tmp_path / "password").write_text("before")
    (tmp_path / "access").write_text(cluster.keys.access_key)
    (tmp_path / "secret").write_text(cluster.keys.secret_key)
    mqtt = {
        "InstanceId": "mqtt-test",
        "Endpoint": made.tls,
        "Username": "bridge",
        "Password": f"file:{tmp_path / 'password'}",
        "Tls": {"CaFile": str(authority.path)},
    }
    rocketmq = cluster.instance(f"file:{tmp_path / 'access'}", f"file:{tmp_path / 'secret'}")
    document = {
        "Instances": {"Mqtt": [mqtt], "RocketMQ": [rocketmq]},
        "OutboundRules": [{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "out"}}],
    }
    with made.broker, RunningBridge(tmp_path / "bridge", document) as bridge:

        def publish_and_wait(delivered: int) -> None:
            with connected(made.broker, login=("device", "device")) as (client, _):
                publish_all(client, [("devices/d1", b"p", 1)])
            assert wait_until(
                lambda: bridge.counter("mqbridge_records_total", outcome="delivered") == delivered, timeout_s=20
            ), bridge.metrics()

        publish_and_wait(1)
        restart_with_password(made, tmp_path, "after")
        bridge.wait_for_state("out", "RECONNECTING")
        (tmp_path / "password").write_text("after")
        bridge.wait_for_state("out", "RUNNING")
        rotated = cluster.rotate()
        (tmp_path / "access").write_text(rotated.access_key)
        (tmp_path / "secret").write_text(rotated.secret_key)
        publish_and_wait(2)
        assert bridge.counter("mqbridge_records_total", outcome="failed") == 0
