"""Keys that are rotated while a sink is open: looked at again when a broker refuses them, and after a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mqbridge.delivery import OpenSinks
from mqbridge.delivery.rocketmq_sink import RocketMQSink
from mqbridge.messages import RocketMQMessage
from mqbridge.mqtt import new_client
from mqbridge.rocketmq import RenewedCredentials
from mqbridge.rules import RocketMQInstance, load
from mqbridge.secrets import UnresolvedSecret
from rocketmq_remoting import (
    BrokerBusy,
    BrokerForbids,
    Credentials,
    HeldBack,
    IllegalMessage,
    Message,
    RocketMQError,
    SendOutcome,
)
from tests.unit.mqbridge.support import document

OLD = Credentials(access_key="access-old", secret_key="secret-old")
NEW = Credentials(access_key="access-new", secret_key="secret-new")


def instance(**settings: Any) -> RocketMQInstance:
    parts = document()
    parts["Instances"]["RocketMQ"][0] |= {"AccessKey": "env:ACCESS", "SecretKey": "env:SECRET", **settings}
    return load(parts).rocketmq["rmq-local"]


def plant(monkeypatch: pytest.MonkeyPatch, keys: Credentials) -> None:
    monkeypatch.setenv("ACCESS", keys.access_key)
    monkeypatch.setenv("SECRET", keys.secret_key)


# --- Credentials that follow their secrets ---


class Store:
    def __init__(self) -> None:
        self.keys: Credentials | None = OLD
        self.looks = 0
        self.now = 1_767_225_600.0

    def look(self) -> Credentials:
        self.looks += 1
        if self.keys is None:
            raise UnresolvedSecret("env:SECRET: there is no such secret, or it is empty")
        return self.keys

    def credentials(self) -> RenewedCredentials:
        return RenewedCredentials(self.look, lambda: self.now)


def signed_by(credentials: Credentials) -> str:
    fields = {"a": "b"}
    signed = credentials.sign(fields, b"body")
    (who,) = [keys for keys in (OLD, NEW) if keys.sign(fields, b"body") == signed]
    return who.access_key


def test_requests_are_signed_with_what_the_secrets_say_half_a_minute_later_at_the_latest() -> None:
    store = Store()
    credentials = store.credentials()
    store.keys = NEW
    assert signed_by(credentials) == "access-old"
    store.now += 29.9
    assert signed_by(credentials) == "access-old"
    assert store.looks == 1
    store.now += 0.1
    assert signed_by(credentials) == "access-new"


def test_keys_stay_while_a_secret_cannot_be_had() -> None:
    store = Store()
    credentials = store.credentials()
    store.keys = None
    store.now += 30
    assert signed_by(credentials) == "access-old"
    assert signed_by(credentials) == "access-old"
    assert store.looks == 2


def test_a_secret_that_cannot_be_had_at_first_is_said() -> None:
    store = Store()
    store.keys = None
    with pytest.raises(UnresolvedSecret):
        store.credentials()


def test_answers_to_requests_of_before_do_not_show_the_keys_either() -> None:
    store = Store()
    credentials = store.credentials()
    store.keys = NEW
    credentials.look()
    assert credentials.conceal("access-old secret-old access-new secret-new") == "*** *** *** ***"
    assert "secret" not in repr(credentials)
    assert credentials.current == NEW


# --- The sink, before a scripted broker ---


@dataclass
class Broker:
    """Refuses what `keys` did not sign; `answers` are given before that is looked at, by topic."""

    keys: Credentials = OLD
    answers: dict[str, RocketMQError] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    opened: int = 0
    closed: int = 0

    def open(self, instance: RocketMQInstance, credentials: RenewedCredentials | None) -> "Producer":
        self.opened += 1
        is_native = instance.client == "native"
        return Producer(self, credentials, credentials.current if credentials is not None and is_native else None)


@dataclass
class Producer:
    broker: Broker
    credentials: RenewedCredentials | None
    fixed: Credentials | None

    def send(self, messages: Sequence[Message], deadline: float) -> list[SendOutcome]:
        assert deadline == 123.0
        keys = self.fixed or (self.credentials.current if self.credentials is not None else None)
        failed: set[tuple[str, str]] = set()
        outcomes = []
        for message in messages:
            lane = message.topic, message.sharding_key
            error = self.broker.answers.get(message.topic)
            if lane in failed:
                error = HeldBack("behind")
            elif error is None and keys != self.broker.keys:
                error = BrokerForbids(1, "AclException: Check signature failed")
            if error is None:
                self.broker.stored.append(message.body.decode())
            elif message.sharding_key:
                failed.add(lane)
            outcomes.append(SendOutcome(error=error))
        return outcomes

    def close(self) -> None:
        self.broker.closed += 1


def message(body: str, topic: str = "t", lane: str = "") -> RocketMQMessage:
    return RocketMQMessage(
        instance_id="rmq-local", topic=topic, body=body.encode(), sharding_key=lane, message_id="0" * 32
    )


def said(sink: RocketMQSink, *messages: RocketMQMessage) -> list[str]:
    return [getattr(each, "reason", "delivered") for each in sink.send(messages, 123.0)]


@pytest.mark.parametrize("client", ["remoting", "native"])
def test_what_is_refused_for_its_keys_is_sent_again_with_those_of_now(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    plant(monkeypatch, OLD)
    sink = RocketMQSink(instance(Client=client), broker.open)
    assert said(sink, message("1")) == ["delivered"]
    broker.keys = NEW
    assert said(sink, message("2")) == ["broker_forbids"]  # the secret is still the old one: it is refused once
    plant(monkeypatch, NEW)
    assert said(sink, message("3"), message("4", lane="a"), message("5", lane="a")) == ["delivered"] * 3
    assert said(sink, message("6")) == ["delivered"]
    assert broker.stored == ["1", "3", "4", "5", "6"]
    # librocketmq has its keys from the start.
    assert (broker.opened, broker.closed) == ((2, 1) if client == "native" else (1, 0))


def test_only_what_was_refused_and_what_waited_behind_it_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing overtakes what failed for another reason."""
    broker = Broker(keys=NEW, answers={"busy": BrokerBusy(2, "busy"), "bad": IllegalMessage("Tags", "a", "b")})
    plant(monkeypatch, OLD)
    retried: list[tuple[str, int]] = []
    sink = RocketMQSink(instance(), broker.open, lambda error_type, amount: retried.append((error_type, amount)))
    plant(monkeypatch, NEW)
    sent = said(
        sink,
        message("1", "busy", "a"),
        message("2", "t", "a"),
        message("3", "busy", "a"),
        message("4", "bad"),
        message("5", "t", "a"),
        message("6", "t", "b"),
    )
    assert sent == ["broker_busy", "delivered", "held_back", "illegal_message", "delivered", "delivered"]
    assert broker.stored == ["2", "5", "6"]
    assert retried == [("broker_forbids", 3)]


def test_a_refusal_with_keys_that_are_right_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, OLD)
    broker = Broker(answers={"denied": BrokerForbids(16, "no permission")})
    sink = RocketMQSink(instance(), broker.open)
    assert said(sink, message("1", "denied"), message("2")) == ["broker_forbids", "delivered"]
    assert broker.opened == 1


def test_a_refusal_without_keys_is_final() -> None:
    broker = Broker()
    parts = load(document()).rocketmq["rmq-local"]
    assert said(RocketMQSink(parts, broker.open), message("1")) == ["broker_forbids"]


def test_native_keeps_its_producer_while_another_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, OLD)
    broker = Broker(keys=NEW)
    sink = RocketMQSink(instance(Client="native"), broker.open)
    plant(monkeypatch, NEW)

    def fails(instance: RocketMQInstance, credentials: RenewedCredentials | None) -> Producer:
        del instance, credentials
        raise FileNotFoundError("ca.pem")

    sink._opened = fails
    assert said(sink, message("1")) == ["broker_forbids"]
    assert broker.closed == 0


# --- MQTT ---


def test_a_connection_made_anew_has_the_password_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner's clients live as long as it does. While the secret cannot be had, the password stays."""
    parts = document()
    parts["Instances"]["Mqtt"][0] |= {"Endpoint": "mqtt://127.0.0.1:1", "Username": "bridge", "Password": "env:P"}
    monkeypatch.setenv("P", "old")
    client = new_client(load(parts).mqtt["mqtt-local"], "id", is_clean=True)
    for planted, used in (("new", b"new"), ("", b"new"), ("newer", b"newer")):
        monkeypatch.setenv("P", planted)
        with pytest.raises(ConnectionRefusedError):
            client.connect("127.0.0.1", 1)
        assert client._password == used


# --- Rules that change ---


class Closing:
    def __init__(self) -> None:
        self.is_closed = False

    def send(self, messages: Any, deadline: float) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.is_closed = True


def test_sinks_of_instances_that_stay_as_they_are_stay_open() -> None:
    parts = document()
    parts["Instances"]["Mqtt"].append({"InstanceId": "mqtt-2", "Endpoint": "mqtt://127.0.0.1:2"})
    sinks = OpenSinks(load(parts))
    kinds = {("mqtt", "mqtt-local"), ("mqtt", "mqtt-2"), ("rocketmq", "rmq-local")}
    opened = {each: Closing() for each in kinds}
    sinks._open.update(opened)
    changed = document()
    changed["Instances"]["RocketMQ"][0]["NameServers"] = ["127.0.0.1:1"]
    sinks.follow(load(changed))
    assert {each for each in kinds if opened[each].is_closed} == {("mqtt", "mqtt-2"), ("rocketmq", "rmq-local")}
    assert set(sinks._open) == {("mqtt", "mqtt-local")}
