"""A client for a configured MQTT instance: address, TLS, user or signature. Not connected yet."""

import base64
import hmac
from contextlib import suppress
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from mqbridge.mqtt.driven import DrivenClient
from mqbridge.rules import MqttInstance, Tls
from mqbridge.secrets import UnresolvedSecret, expire, resolve, resolve_if_reference
from mqbridge.tls import references, tls_context

__all__ = ["KEEP_ALIVE_S", "address_of", "expire_secrets", "new_client"]

KEEP_ALIVE_S = 60
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def address_of(instance: MqttInstance) -> tuple[str, int]:
    """Return host and port of the instance's endpoint."""
    parts = urlsplit(instance.endpoint)
    return str(parts.hostname), parts.port or _PORTS[parts.scheme]


def new_client(
    instance: MqttInstance,
    client_id: str,
    *,
    is_clean: bool,
) -> DrivenClient:
    """Return a client that is ready to connect. Under MQTT 5 `is_clean` is Clean Start, given again to connect().

    Raises:
        UnresolvedSecret: a secret that the instance refers to cannot be had.
        OSError: a file that its Tls names cannot be read.
        ValueError: its endpoint is no MQTT broker's.
    """
    if instance.is_iot_data:
        raise ValueError(
            f"{instance.instance_id}: {instance.endpoint} only publishes, from functions; to subscribe takes an mqtts endpoint"
        )
    is_five = instance.protocol_level == 5
    client = DrivenClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if is_five else is_clean,
        protocol=MQTTProtocolVersion.MQTTv5 if is_five else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    _set_user(client, instance, client_id)

    def look_again(client: Client, userdata: object) -> None:
        """Take what the secrets say now: this may be a connection made anew, hours after the first."""
        del userdata
        with suppress(UnresolvedSecret):  # those from before may still do; if not, the broker says so
            _set_user(client, instance, client_id)

    client.on_pre_connect = look_again
    if instance.endpoint.startswith("mqtts:"):
        client.tls_set_context(tls_context(instance.tls or Tls()))
    return client


def expire_secrets(instance: MqttInstance) -> bool:
    """Have the stores of the instance's secrets asked again, since the broker refused them; tell whether any will be."""
    own = (instance.username, instance.password, instance.access_key, instance.secret_key)
    return expire((*own, *references(instance.tls)))


def _set_user(client: Client, instance: MqttInstance, client_id: str) -> None:
    if instance.auth == "ApsaraSignature":
        # ApsaraMQ for MQTT, signature authentication: the client id signed with the secret key.
        signature = hmac.digest(resolve(str(instance.secret_key)).encode(), client_id.encode(), "sha1")
        user = f"Signature|{resolve(str(instance.access_key))}|{instance.instance_id}"
        client.username_pw_set(user, base64.b64encode(signature).decode())
    elif instance.username is not None:
        password = resolve(instance.password) if instance.password else None
        client.username_pw_set(resolve_if_reference(instance.username), password)
