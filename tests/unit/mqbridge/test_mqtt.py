"""Clients of configured MQTT instances: who they say they are."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from mqbridge.mqtt import address_of, new_client
from mqbridge.rules import MqttInstance, load
from tests.unit.mqbridge.support import document

ACCESS_KEY, SECRET_KEY = "LTAI-planted", "planted-secret-key"
CLIENT_ID = "GID_bridge@@@outbound-telemetry"


def instance(**settings: Any) -> MqttInstance:
    parts = document()
    parts["Instances"]["Mqtt"][0] |= settings
    return load(parts).mqtt[parts["Instances"]["Mqtt"][0]["InstanceId"]]


def identity(of: MqttInstance, client_id: str = CLIENT_ID) -> tuple[str | None, bytes | None]:
    """Return the user name and the password that a client would send."""
    client = new_client(of, client_id, is_clean=True)
    return client.username, client._password  # paho has no other way to see it


def test_apsaramq_signature_is_by_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """User `Signature|AccessKey|InstanceId`, password Base64(HMAC-SHA1(client id, SecretKey))."""
    monkeypatch.setenv("A", ACCESS_KEY)
    monkeypatch.setenv("S", SECRET_KEY)
    of = instance(InstanceId="mqtt-cn-1", Auth="ApsaraSignature", AccessKey="env:A", SecretKey="env:S")
    digest = hmac.new(SECRET_KEY.encode(), CLIENT_ID.encode(), hashlib.sha1).digest()
    assert identity(of) == (f"Signature|{ACCESS_KEY}|mqtt-cn-1", base64.b64encode(digest))


def test_apsaramq_signature_of_a_known_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `printf %s CLIENT_ID | openssl dgst -sha1 -hmac SECRET -binary | base64` prints."""
    monkeypatch.setenv("A", "LTAI")
    monkeypatch.setenv("S", "secret")
    of = instance(Auth="ApsaraSignature", AccessKey="env:A", SecretKey="env:S")
    assert identity(of, "GID_a@@@d1")[1] == b"/6PhO1Ha4Ymt2njxrGLPtb/poG4="


def test_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", "password")
    monkeypatch.setenv("U", "from the environment")
    assert identity(instance(Username="bridge", Password="env:P")) == ("bridge", b"password")
    assert identity(instance(Username="env:U")) == ("from the environment", None)
    assert identity(instance()) == (None, None)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("mqtt://broker", ("broker", 1883)),
        ("mqtts://broker", ("broker", 8883)),
        ("mqtts://[::1]:9999/", ("::1", 9999)),
    ],
)
def test_address_of_an_endpoint(endpoint: str, address: tuple[str, int]) -> None:
    assert address_of(instance(Endpoint=endpoint)) == address
