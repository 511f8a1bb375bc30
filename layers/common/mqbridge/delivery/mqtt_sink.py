"""MQTT as a sink: publish a batch, drive the network until every acknowledgement is in. No background thread.

Delivered is PUBACK or PUBCOMP; QoS 0 knows no answer, there it is "written to the connection".
"""

import os
import time
from collections.abc import Sequence

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqbridge.delivery.sinks import Outgoing, Sent
from mqbridge.messages import MqttMessage
from mqbridge.mqtt import KEEP_ALIVE_S, address_of, new_client
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rules import MqttInstance

__all__ = ["MqttSink"]

# The keep-alive does not run while a function is frozen: a connection that idled this long is made anew.
IDLE_LIMIT_S = KEEP_ALIVE_S / 2
MAX_CLIENT_ID_LENGTH = 64  # ApsaraMQ's limit
MAX_IN_FLIGHT = 1_000  # where the broker's Receive Maximum allows as many

_DELIVERED = Delivered()
# MQTT 5, 3.4.2.1: what publishing again will not change.
_PERMANENT_REASONS = frozenset({0x87, 0x90, 0x99})  # not authorized, topic name invalid, payload format invalid


class MqttSink:
    """A publisher to one MQTT broker, on one connection with a random client id."""

    def __init__(self, instance: MqttInstance) -> None:
        self._instance = instance
        self._connection: _Connection | None = None

    def send(self, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Publish MQTT messages in order; see `Sink.send`."""
        ours = [message for message in messages if isinstance(message, MqttMessage)]
        try:
            connection = self._connected(deadline)
        except (OSError, ValueError) as error:
            return [Failed("connect_failed", f"{self._instance.instance_id}: {error}")] * len(ours)
        sent = connection.publish(ours, deadline)
        if any(isinstance(outcome, Failed) for outcome in sent):
            # What is still under way there must not be sent behind our back after it was reported as failed.
            self.close()
        return sent

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, deadline: float) -> "_Connection":
        if self._connection is not None and not self._connection.is_alive():
            self.close()
        if self._connection is None:
            self._connection = _Connection(self._instance, deadline)
        return self._connection


class _Connection:
    def __init__(self, instance: MqttInstance, deadline: float) -> None:
        prefix = instance.client_id_prefix
        client_id = (prefix + os.urandom(16).hex())[:MAX_CLIENT_ID_LENGTH]
        self._client = client = new_client(instance, client_id, is_clean=True, kind=Client)
        self._is_five = instance.protocol_level == 5
        self._refusal: str | None = "no answer to CONNECT in time"
        self._acknowledged: dict[int, ReasonCode] = {}
        self._is_lost = False
        self._last_use = (time.monotonic(), time.time())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.max_inflight_messages_set(
            0
        )  # paho's own window cannot follow the broker's Receive Maximum; `publish` keeps one
        self._window = MAX_IN_FLIGHT
        client.connect_timeout = max(0.1, deadline - time.monotonic())
        client.connect(*address_of(instance), keepalive=KEEP_ALIVE_S)
        while self._refusal is not None and not self._is_lost and time.monotonic() < deadline:
            client.loop(0.05)
        if self._refusal is not None:
            self.close()
            raise ConnectionError(self._refusal)

    def is_alive(self) -> bool:
        """Tell whether the connection can be trusted with messages, after reading what the broker may have said meanwhile."""
        monotonic, wall = self._last_use
        if max(time.monotonic() - monotonic, time.time() - wall) > IDLE_LIMIT_S:
            return False
        self._client.loop(0)
        return not self._is_lost

    def publish(self, messages: Sequence[MqttMessage], deadline: float) -> list[Sent]:
        """Publish all and wait for the acknowledgements; what gets none in time has an unknown outcome."""
        outcomes: list[Sent | None] = []
        awaited: dict[int, int] = {}
        for message in messages:
            if self._is_lost or time.monotonic() >= deadline:
                outcomes.append(Failed("connection_lost", "not published"))
                continue
            try:
                info = self._client.publish(
                    message.topic, message.payload, message.qos, message.retain, self._properties(message)
                )
            except ValueError as error:  # paho refuses before anything is sent
                outcomes.append(Reject("illegal_message", str(error)))
                continue
            outcomes.append(None)
            if message.qos > 0:
                awaited[info.mid] = len(outcomes) - 1
                self._drive(awaited, outcomes, deadline, until=self._window - 1)
        self._drive(awaited, outcomes, deadline, until=0)
        self._last_use = (time.monotonic(), time.time())
        unwritten = self._is_lost or self._client.want_write()
        # A QoS 0 message has no acknowledgement: it counts once everything is written.
        default: Sent = Failed("connection_lost", "not written") if unwritten else _DELIVERED
        for at in awaited.values():
            outcomes[at] = Failed("outcome_unknown", "no acknowledgement in time", is_unknown=True)
        return [outcome or default for outcome in outcomes]

    def close(self) -> None:
        """Disconnect, without waiting for anything."""
        self._client.disconnect()
        self._client.loop(0)

    def _drive(self, awaited: dict[int, int], outcomes: list[Sent | None], deadline: float, *, until: int) -> None:
        """Serve the network until at most `until` acknowledgements are awaited and, if that is 0, everything is written."""
        while len(awaited) > until or (until == 0 and self._client.want_write()):
            if self._is_lost or time.monotonic() >= deadline:
                return
            self._client.loop(0.05)
            acknowledged, self._acknowledged = self._acknowledged, {}
            for mid, reason in acknowledged.items():
                if mid in awaited:
                    outcomes[awaited.pop(mid)] = _outcome_of(reason)

    def _properties(self, message: MqttMessage) -> Properties | None:
        if not self._is_five:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho does not annotate it
        if message.user_properties:
            properties.UserProperty = list(message.user_properties)
        if message.message_expiry_interval is not None:
            properties.MessageExpiryInterval = message.message_expiry_interval
        if message.content_type:
            properties.ContentType = message.content_type
        return properties

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        del client, userdata, flags
        if reason.is_failure:
            self._refusal = f"the broker refused the connection: {reason}"
            self._is_lost = True
            return
        self._refusal = None
        self._window = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags, reason, properties
        self._is_lost = True

    def _on_publish(
        self, client: Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        del client, userdata, properties
        self._acknowledged[mid] = reason


def _outcome_of(reason: ReasonCode) -> Sent:
    if not reason.is_failure:
        return _DELIVERED
    if reason.value in _PERMANENT_REASONS:
        return Reject("broker_forbids", f"the broker answered: {reason}")
    return Failed("broker_refused", f"the broker answered: {reason}")
