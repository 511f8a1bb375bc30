"""An outbound rule's source: one MQTT session of its own, acknowledged by hand after the batch is settled.

QoS 1 whatever the publisher used, unless the instance says otherwise. The session is persistent, so what is published while the runner
is away waits at the broker. Receive Maximum is the first back-pressure: the broker stops sending while that many records are not
acknowledged. Not every broker keeps to it (mosquitto 2.0.11 had sent 200 after 100 acknowledgements where 10 were allowed), MQTT 3.1.1
does not have it, and QoS 0 knows no such thing. So the second is ours: while too much is unsettled nothing is read.
"""

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from mqbridge.cloud_events import mqtt_event
from mqbridge.mqtt import KEEP_ALIVE_S, Publish, address_of, new_client
from mqbridge.rules import MqttInstance
from mqbridge.telemetry import Counters
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.state import RuleState, State
from rocketmq_remoting import random_message_id

__all__ = ["MqttSource", "client_id_of", "share_name_of"]

MAX_CLIENT_ID_LENGTH = 64
RECONNECT_MIN_S, RECONNECT_MAX_S = 1.0, 4.0
SESSION_TAKEN_OVER = 0x8E
# Some brokers (mosquitto 2.0, and all under 3.1.1) end the older of two sessions with one client id without a word. So many connections
# in a row that each lived so shortly look like it: then this client comes back more and more rarely, until one lasts.
SHORT_LIVED_S, SHORT_LIVED_IN_A_ROW = 10.0, 4
# A broker that crashes in a loop looks like it, too: it must not keep this client away for long.
STAY_AWAY_MAX_S = 60
SETTLE_TIMEOUT_S = 3.0
RETAIN_NOT_SENT = 2  # Retain Handling: a restart must not export old values again
CONNECT_TIMEOUT_S = 5.0
# Nothing is read while this many times the credit is unsettled. A broker that keeps to Receive Maximum never gets there with QoS 1 and 2,
# and what it sends at QoS 0 besides has as much room.
READ_CREDITS = 2


def client_id_of(instance: MqttInstance, flow: str, rule: str, share: str = "") -> str:
    """Return the rule's client id: the same at every start, and no other rule's or sharing runner's."""
    client_id = f"{instance.client_id_prefix}{flow}-{rule}" + (f"-{share}" if share else "")
    if len(client_id) <= MAX_CLIENT_ID_LENGTH:
        return client_id
    digest = hashlib.sha256(client_id.encode()).hexdigest()[:12]
    return f"{client_id[: MAX_CLIENT_ID_LENGTH - 13]}-{digest}"


def share_name_of(flow: str, rule: str) -> str:
    """Return the name under which the broker deals a rule's messages out among all runners that share it; no other rule's.

    A task may be named as a data rule is, and no data rule has a dot in its name.
    """
    return f"mqbridge-outflow.{rule}" if flow == "outflow" else f"mqbridge-{rule}"


class MqttSource:
    """Subscribe to a parent topic and everything below it; with `share`, to this runner's part of it."""

    def __init__(
        self,
        *,
        instance: MqttInstance,
        topic: str,
        rule: str,
        flow: str,
        inbox: Inbox,
        credit: int,
        state: RuleState,
        counters: Counters,
        share: str = "",
        keep_alive_s: int = KEEP_ALIVE_S,
    ) -> None:
        self._instance = instance
        self._topic = topic
        self._shared = f"$share/{share_name_of(flow, rule)}/" if share else ""
        self._no_longer_ours: set[str] = set()
        self._rule = rule
        self._inbox = inbox
        self._credit = credit
        self._state = state
        self._counters = counters
        self._protocol_level = instance.protocol_level
        self._is_five = self._protocol_level == 5
        self._lock = threading.RLock()  # the worker and the keeper both drive the client, never at the same time
        self._unsettled: dict[int, Item] = {}  # by packet identifier
        self._is_reading = True
        self._keep_alive_s = keep_alive_s
        self._has_arrived = False
        self._connect_at = 0.0
        self._retry_delay_s = RECONNECT_MIN_S
        self._running_since: float | None = None
        self._short_lived = 0
        self._client = new_client(instance, client_id_of(instance, flow, rule, share), is_clean=False)
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_received = self._on_received
        self._client.has_room_for = self._has_room_for

    def pump(self, timeout_s: float) -> None:
        """Serve the connection, making it if there is none, and wait up to `timeout_s` for messages."""
        with self._lock:
            deadline = time.monotonic() + timeout_s
            self._has_arrived = False
            while True:
                remaining_s = deadline - time.monotonic()
                if not self._client.drive(max(0.0, remaining_s)):
                    self._connect(max(0.0, remaining_s))
                if self._has_arrived or time.monotonic() >= deadline:
                    return

    def settle(self, items: Sequence[Item]) -> None:
        """Acknowledge, in the order of arrival."""
        with self._lock:
            for item in items:
                packet_id, qos = item.token
                # After the session was lost the broker gives the same identifier to another message: that one is not ours to settle.
                if qos > 0 and self._unsettled.get(packet_id) is item:
                    del self._unsettled[packet_id]
                    self._client.acknowledge(packet_id, qos)
            self._client.write_out()

    def refuse(self, item: Item) -> bool:
        """Keep the record unacknowledged: MQTT has no other place for it. A QoS 0 message nobody keeps."""
        return bool(item.token[1] == 0)

    def stop_reading(self) -> None:
        """Ignore what still arrives; it is not acknowledged, so the broker sends it to the next session."""
        self._is_reading = False

    def close(self) -> None:
        """Disconnect, once the broker has taken every acknowledgement; the session stays. What came at QoS 0 nobody keeps."""
        with self._lock:
            self._client.leave(SETTLE_TIMEOUT_S)
        for item in self._inbox.waiting():
            if item.token[1] == 0:
                self._counters.add(
                    "mqbridge_dropped_total", rule=self._rule, reason="qos0_not_kept", intentional="false"
                )

    def _connect(self, patience_s: float) -> None:
        """Dial if it is time to; otherwise wait, not longer than `patience_s`."""
        wait_s = self._connect_at - time.monotonic()
        if wait_s > 0 or not self._is_reading:
            time.sleep(min(patience_s, max(0.0, wait_s)) if self._is_reading else patience_s)
            return
        self._connect_at = time.monotonic() + self._retry_delay_s
        self._retry_delay_s = min(RECONNECT_MAX_S, 2 * self._retry_delay_s)
        host, port = address_of(self._instance)
        try:
            if self._is_five:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho does not annotate it
                properties.SessionExpiryInterval = self._instance.session_expiry_s
                properties.ReceiveMaximum = self._credit
                self._client.connect(host, port, self._keep_alive_s, clean_start=False, properties=properties)
            else:
                self._client.connect(host, port, self._keep_alive_s)
        except (OSError, ValueError) as error:
            self._state.change(
                State.RECONNECTING, f"cannot connect to {self._instance.endpoint}: {error}", "connect_failed"
            )

    # paho's callbacks, all while the client is driven.

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        del client, userdata, properties
        if reason.is_failure:
            self._state.change(State.RECONNECTING, f"the MQTT broker refused the connection: {reason}", "refused")
            return
        if not flags.session_present:
            # The broker forgot what it had sent: its identifiers start anew.
            self._unsettled.clear()
            self._client.forget_session()
        self._subscribe()

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        del client, userdata, mid, properties
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._state.change(State.STARTING_FAILED, f"the MQTT broker refused the subscription: {refused[0]}")
        elif self._is_reading:
            self._runs()

    def _runs(self) -> None:
        self._running_since = time.monotonic()
        self._retry_delay_s = RECONNECT_MIN_S
        self._state.change(State.RUNNING)

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        del client, userdata, flags, properties
        if reason.value == SESSION_TAKEN_OVER:
            # Two clients with one id would throw each other out for ever, each losing what the other was sent.
            self._connect_at = float("inf")
            self._state.change(State.TAKEN_OVER, "another client connected with this rule's client id")
        elif self._is_reading:
            self._come_back(str(reason))

    def _come_back(self, reason: str) -> None:
        # Who duels lets the other subscribe first: a connection cut before that is no sign.
        lived_s = float("inf") if self._running_since is None else time.monotonic() - self._running_since
        self._running_since = None
        self._short_lived = self._short_lived + 1 if lived_s < SHORT_LIVED_S else 0
        if self._short_lived < SHORT_LIVED_IN_A_ROW:
            self._connect_at = time.monotonic() + RECONNECT_MIN_S
            self._state.change(State.RECONNECTING, f"the MQTT connection was lost: {reason}", "connection_lost")
            return
        delay_s = min(STAY_AWAY_MAX_S, RECONNECT_MAX_S * 2 ** (self._short_lived - SHORT_LIVED_IN_A_ROW))
        self._connect_at = time.monotonic() + delay_s
        self._state.change(
            State.TAKEN_OVER,
            f"{self._short_lived} connections in a row ended within {SHORT_LIVED_S:g} s: "
            f"does another client use this rule's client id? Trying again in {delay_s} s",
        )

    def _subscribe(self) -> None:
        if self._is_five:
            options = SubscribeOptions(qos=self._instance.subscribe_qos, retainHandling=RETAIN_NOT_SENT)
            self._client.subscribe(self._filter(self._topic), options=options)
        else:
            self._client.subscribe(self._filter(self._topic), qos=self._instance.subscribe_qos)

    def _filter(self, topic: str) -> str:
        return f"{self._shared}{topic}/#"  # matches the parent itself as well (MQTT 5, 4.7.1.2)

    def _leave_to_others(self, topic: str) -> None:
        """End a subscription that the session has from when the rule had another source; what comes by it, no rule wants."""
        if topic not in self._no_longer_ours:
            self._no_longer_ours.add(topic)
            self._client.unsubscribe(self._filter(topic))

    def _has_room_for(self, publish: Publish) -> bool:
        if self._inbox.unsettled < READ_CREDITS * self._credit:
            return True
        # After a reconnect the broker sends again what we still have: that takes no room. Left unread, it would be taken for new once
        # ours is settled.
        return self._is_known(publish, self._item(publish))

    def _on_received(self, publish: Publish) -> None:
        if not self._is_reading:
            return
        if self._running_since is None and self._state.snapshot.state is not State.STARTING_FAILED:
            self._runs()  # SUBACK may be behind all that waited for this session
        parent = publish.topic.partition("/")[0]
        if parent != self._topic:
            self._leave_to_others(parent)
        if publish.retain and not self._is_five:
            # Under 3.1.1 the broker cannot be told to keep retained messages: this is an old value, sent because we subscribed.
            self._counters.add("mqbridge_dropped_total", rule=self._rule, reason="retained", intentional="true")
            if publish.qos > 0:
                self._client.acknowledge(publish.packet_id, publish.qos)
            return
        item = self._item(publish)
        if publish.qos > 0:
            if self._is_known(publish, item):
                return  # redelivered after a reconnect, and we still have it
            self._unsettled[publish.packet_id] = item
        self._has_arrived = True
        self._inbox.put(item, time.monotonic())

    def _is_known(self, publish: Publish, item: Item) -> bool:
        known = self._unsettled.get(publish.packet_id) if publish.dup and publish.qos > 0 else None
        if known is None:
            return False
        ours, new = known.event, item.event
        return bool(ours["subject"] == new["subject"] and ours["data"]["body"] == new["data"]["body"])

    def _item(self, publish: Publish) -> Item:
        now_ms = int(time.time() * 1000)
        client_id = self._client_id(publish)
        event = mqtt_event(
            rule=self._rule,
            event_id=self._message_id(publish) or random_message_id(now_ms),
            time_ms=now_ms,
            instance_id=self._instance.instance_id,
            protocol_version=self._protocol_level,
            publish=publish,
            client_id=client_id,
        )
        return Item(event=event, lane=client_id or publish.topic, token=(publish.packet_id, publish.qos))

    def _client_id(self, publish: Publish) -> str:
        where = self._instance.client_id_from
        if where is None:
            return ""
        if where.user_property is not None:
            return next((value for name, value in publish.user_properties if name == where.user_property), "")
        levels = publish.topic.split("/")
        level = where.topic_level or 0
        return levels[level - 1] if level <= len(levels) else ""

    def _message_id(self, publish: Publish) -> str:
        where = self._instance.message_id_from
        if where is None:
            return ""
        if where.user_property is not None:
            return next((value for name, value in publish.user_properties if name == where.user_property), "")
        try:
            found: Any = json.loads(publish.payload)
            for name in str(where.json_path).split(".")[1:]:
                found = found[name]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return ""
        return found if isinstance(found, str) else json.dumps(found) if isinstance(found, int | float) else ""
