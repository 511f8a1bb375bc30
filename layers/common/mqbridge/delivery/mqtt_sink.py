"""MQTT as a sink: publish a batch, drive the network until every acknowledgement is in. No background thread.

Delivered is PUBACK or PUBCOMP; QoS 0 knows no answer, there it is "written to the connection". To a broker that takes no QoS 2 a message is
published at the QoS that it takes.
"""

import itertools
import os
import socket
import time
from collections.abc import Sequence

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqbridge.aws_iot import MAX_QOS
from mqbridge.delivery.sinks import Outgoing, Sent
from mqbridge.messages import MqttMessage
from mqbridge.mqtt import KEEP_ALIVE_S, Publish, address_of, expire_secrets, new_client
from mqbridge.outcomes import Answer, Delivered, Failed, Reject
from mqbridge.patience import within
from mqbridge.rules import MqttInstance
from mqbridge.secrets import UnresolvedSecret

__all__ = ["MqttSink"]

# The keep-alive does not run while a function is frozen: a connection that idled this long is made anew.
IDLE_LIMIT_S = KEEP_ALIVE_S / 2
MAX_CLIENT_ID_LENGTH = 64  # ApsaraMQ's limit
MAX_IN_FLIGHT = 1_000  # where the broker's Receive Maximum allows as many

FIRST_FAILURE = 0x80

_DELIVERED = Delivered()
# MQTT 5, 3.4.2.1: what publishing again will not change.
_PERMANENT_REASONS = frozenset({0x87, 0x90, 0x99})  # not authorized, topic name invalid, payload format invalid

# 3.2.2.2: bad user name or password, not authorized. paho gives 3.1.1's return codes 4 and 5 these names and numbers too.
_NOT_LET_IN = frozenset({0x86, 0x87})


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
        except UnresolvedSecret as error:
            return [Failed("cannot_connect", f"{self._instance.instance_id}: {error}")] * len(ours)
        except (OSError, ValueError) as error:
            answer = error.answer if isinstance(error, _Refused) else None
            return [Failed("connect_failed", f"{self._instance.instance_id}: {error}", answer=answer)] * len(ours)
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
            self._connection = self._new_connection(deadline)
        return self._connection

    def _new_connection(self, deadline: float) -> "_Connection":
        try:
            return _Connection(self._instance, deadline)
        except _NotLetIn:
            if not expire_secrets(self._instance):
                raise
            return _Connection(self._instance, deadline)  # once more, with what the secrets say now


class _Refused(ConnectionError):
    """The broker refused the connection, or ended it; `answer` has its reason code, if it gave one."""

    def __init__(self, detail: str, answer: Answer | None) -> None:
        super().__init__(detail)
        self.answer = answer


class _NotLetIn(_Refused):
    """The broker refused the connection for who asked for it."""


class _Connection:
    def __init__(self, instance: MqttInstance, deadline: float) -> None:
        client_id = (instance.client_id_prefix + os.urandom(16).hex())[:MAX_CLIENT_ID_LENGTH]
        self._client = client = new_client(instance, client_id, is_clean=True)
        self._refusal: str | None = "no answer to CONNECT in time"
        self._is_not_let_in = False
        self._is_five = instance.protocol_level == 5
        self._window = MAX_IN_FLIGHT
        self._max_packet_bytes: int | None = None
        # What knows no QoS 2 ends the connection over it; AWS IoT Core does not say so under 3.1.1.
        self._max_qos = MAX_QOS if instance.is_aws_iot else 2
        self._packet_ids = itertools.cycle(range(1, 65_536))
        self._outcomes: list[Sent | None] = []
        self._awaited: dict[int, int] = {}  # places in the outcomes by packet identifier
        self._is_lost = False
        self._answer: Answer | None = None  # of what refused or ended the connection
        self._last_use = (time.monotonic(), time.time())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_acknowledged = self._on_acknowledged
        # In a thread that may be left behind: what it connects to then is of no use to anybody.
        within(
            deadline - time.monotonic(), lambda: self._connect(address_of(instance), deadline), lambda _: self.close()
        )
        while self._refusal is not None and not self._is_lost and time.monotonic() < deadline:
            client.drive(0.05)
        if self._refusal is not None:
            refused = (_NotLetIn if self._is_not_let_in else _Refused)(self._refusal, self._answer)
            self.close()  # which has words of its own for the end of a connection
            raise refused

    def is_alive(self) -> bool:
        """Tell whether the connection can be trusted with messages, after reading what the broker may have said meanwhile."""
        monotonic, wall = self._last_use
        if max(time.monotonic() - monotonic, time.time() - wall) > IDLE_LIMIT_S:
            return False
        return self._client.drive(0.0) and not self._is_lost

    def publish(self, messages: Sequence[MqttMessage], deadline: float) -> list[Sent]:
        """Publish all and wait for the acknowledgements; what gets none in time has an unknown outcome."""
        self._outcomes, self._awaited = [], {}
        for message in messages:
            if self._is_lost or time.monotonic() >= deadline:
                self._outcomes.append(Failed("connection_lost", "not published", answer=self._answer))
            else:
                self._outcomes.append(None)
                self._publish(message)
                self._drive(deadline, until=self._window - 1)
        self._drive(deadline, until=0)
        self._last_use = (time.monotonic(), time.time())
        for at in self._awaited.values():
            self._outcomes[at] = Failed(
                "outcome_unknown", "no acknowledgement in time", is_unknown=True, answer=self._answer
            )
        # A QoS 0 message has no acknowledgement: it counts once everything is written.
        unwritten = self._is_lost or self._client.has_unsent
        default: Sent = Failed("connection_lost", "not written", answer=self._answer) if unwritten else _DELIVERED
        return [outcome or default for outcome in self._outcomes]

    def close(self) -> None:
        """Disconnect, without waiting for anything."""
        self._client.disconnect()
        self._client.write_out()

    def _connect(self, address: tuple[str, int], deadline: float) -> None:
        """Connect to the first of the host's addresses that answers; each gets its share of the time."""
        host, port = address
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._client.connect_timeout = max(0.1, (deadline - time.monotonic()) / len(addresses))
        self._client.connect(host, port, keepalive=KEEP_ALIVE_S)

    def _publish(self, message: MqttMessage) -> None:
        qos = min(message.qos, self._max_qos)
        packet_id = next(self._packet_ids) if qos else 0
        publish = Publish(
            message.topic,
            message.payload,
            qos,
            message.retain,
            False,
            packet_id,
            list(message.user_properties),
            message.message_expiry_interval,
            message.content_type,
        )
        try:
            if self._max_packet_bytes is not None and len(message.payload) > self._max_packet_bytes:
                raise ValueError(
                    f"a payload of {len(message.payload)} bytes: the broker takes {self._max_packet_bytes}"
                )
            self._client.send_publish(publish)
        except ValueError as error:
            self._outcomes[-1] = Reject("illegal_message", str(error))
        else:
            if packet_id:
                self._awaited[packet_id] = len(self._outcomes) - 1

    def _drive(self, deadline: float, *, until: int) -> None:
        """Serve the network until at most `until` acknowledgements are awaited and, if that is 0, everything is written."""
        while len(self._awaited) > until or (until == 0 and self._client.has_unsent):
            if self._is_lost or time.monotonic() >= deadline:
                return
            self._client.drive(0.05)

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        del client, userdata, flags
        if reason.is_failure:
            self._refusal = f"the broker refused the connection: {reason}"
            self._is_not_let_in = reason.value in _NOT_LET_IN
            self._answer = Answer(reason.value) if self._is_five else None  # of 3.1.1's paho makes one of 5
            self._is_lost = True
            return
        self._refusal = None
        self._window = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self._max_qos = min(self._max_qos, getattr(properties, "MaximumQoS", 2))

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        if flags.is_disconnect_packet_from_server:
            self._answer = Answer(reason.value)
        if self._refusal is not None and not self._is_lost:
            # Under TLS 1.3 a broker that misses a client's certificate says so only after the handshake, if it says anything.
            self._refusal = f"the broker closed the connection before it answered CONNECT: {reason}"
        self._is_lost = True

    def _on_acknowledged(self, packet_id: int, reason: int) -> None:
        at = self._awaited.pop(packet_id, None)
        if at is not None:
            self._outcomes[at] = _outcome_of(reason)


def _outcome_of(reason: int) -> Sent:
    if reason < FIRST_FAILURE:
        return _DELIVERED
    detail = f"the broker answered with reason code {reason:#x}"
    if reason in _PERMANENT_REASONS:
        return Reject("broker_forbids", detail, answer=Answer(reason))
    return Failed("broker_refused", detail, answer=Answer(reason))
