"""Load in both directions at a steady rate, and what was acknowledged of it: devices that publish, a back end that sends commands."""

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Set
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from devstack.processes import wait_until
from rocketmq_remoting import Client as RocketMQClient
from rocketmq_remoting import Message, OutcomeUnknown, Producer

__all__ = ["DEVICES", "BackEnd", "Devices", "Subscriber", "id_of"]

DEVICES = 10
_HOST = "127.0.0.1"
_TICK_S = 0.1
_SEND_TIMEOUT_S = 3.0
_BODY_BYTES = 200


def id_of(body: bytes) -> str:
    """Return the id that a payload carries."""
    return str(json.loads(body)["id"])


def _new_id() -> str:
    return f"{random.getrandbits(128):032X}"


def _body(message_id: str) -> bytes:
    head = json.dumps({"id": message_id, "pad": ""}).encode()
    return head[:-2] + b"x" * (_BODY_BYTES - len(head)) + head[-2:]


class Paced(threading.Thread, ABC):
    """Calls `send` with how many are due, ten times a second, until it is stopped."""

    def __init__(self, rate: float) -> None:
        super().__init__(daemon=True)
        self._rate = rate
        self._stopping = threading.Event()

    def run(self) -> None:
        """Keep the pace; what a slow call delayed is due with the next one."""
        began, done = time.monotonic(), 0
        while not self._stopping.wait(_TICK_S):
            due = int((time.monotonic() - began) * self._rate) - done
            self.send(due)
            done += due

    @abstractmethod
    def send(self, due: int) -> None:
        """Send `due` new messages."""

    def finish(self) -> None:
        """Send nothing new."""
        self._stopping.set()
        self.join()


class Devices(Paced):
    """MQTT 5 publishers at QoS 1, that connect again and publish again as paho does."""

    def __init__(self, port: int, rate: float) -> None:
        super().__init__(rate)
        self.sent = 0
        self._ids: dict[
            tuple[int, int], str
        ] = {}  # by device and packet identifier, of which none comes twice in a run this short
        self._acknowledged: dict[tuple[int, int], float] = {}
        self._clients = [self._client(port, device) for device in range(DEVICES)]

    @property
    def ids(self) -> set[str]:
        """The ids of everything published."""
        return set(self._ids.values())

    @property
    def acknowledged(self) -> dict[str, float]:
        """The ids that the broker acknowledged, with the time."""
        return {self._ids[key]: at for key, at in self._acknowledged.items()}

    def send(self, due: int) -> None:
        """Publish; without a connection paho keeps it until there is one."""
        for _ in range(due):
            device = self.sent % DEVICES
            message_id = _new_id()
            info = self._clients[device].publish(f"devices/d{device}/up", _body(message_id), 1)
            self._ids[device, info.mid] = message_id
            self.sent += 1

    def finish(self) -> None:
        """Publish nothing new, and wait until everything is acknowledged."""
        super().finish()
        wait_until(lambda: len(self._acknowledged) == self.sent, timeout_s=20)
        for client in self._clients:
            client.disconnect()
            client.loop_stop()

    def _client(self, port: int, device: int) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"device-{device}", protocol=MQTTProtocolVersion.MQTTv5)

        def note(client: Client, userdata: Any, mid: int, *_: Any) -> None:
            del client, userdata
            self._acknowledged[device, mid] = time.time()

        client.on_publish = note
        client.max_inflight_messages_set(0)
        client.reconnect_delay_set(1, 1)
        client.connect(_HOST, port)
        client.loop_start()
        return client


class BackEnd(Paced):
    """A RocketMQ producer of commands, that sends again what failed, until it is stored or nobody knows whether it is."""

    def __init__(self, name_server: str, topic: str, rate: float) -> None:
        super().__init__(rate)
        self.ids: set[str] = set()
        self.acknowledged: dict[str, float] = {}
        self._topic = topic
        self._producer = Producer(RocketMQClient([name_server]))
        self._waiting: deque[Message] = deque()

    def send(self, due: int) -> None:
        """Send what waits and what is due."""
        for _ in range(due):
            message_id = _new_id()
            place = {"mqttSecondTopic": f"/d{len(self.ids) % DEVICES}/set", "qoslevel": "1"}
            self._waiting.append(
                Message(topic=self._topic, body=_body(message_id), message_id=message_id, properties=place)
            )
            self.ids.add(message_id)
        messages = list(self._waiting)
        self._waiting.clear()
        for message, outcome in zip(
            messages, self._producer.send(messages, time.monotonic() + _SEND_TIMEOUT_S), strict=True
        ):
            if outcome.error is None:
                self.acknowledged[message.message_id] = time.time()
            elif not isinstance(outcome.error, OutcomeUnknown):
                self._waiting.append(message)

    def finish(self) -> None:
        """Send nothing new, and go on with what waits for a while."""
        super().finish()
        deadline = time.monotonic() + 20
        while self._waiting and time.monotonic() < deadline:
            self.send(0)
            time.sleep(_TICK_S)
        self._producer.close()


class Subscriber:
    """A device that is told everything: a paho client with a persistent session, as a context manager."""

    def __init__(self, port: int) -> None:
        self.arrived: list[tuple[str, float]] = []  # ids, with the time
        self._seen: set[str] = set()
        self._port = port
        self._subscribed = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="chaos-subscriber", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)

    def __enter__(self) -> Self:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho does not annotate it
        properties.SessionExpiryInterval = 3600
        self._client.connect(_HOST, self._port, clean_start=False, properties=properties)
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise TimeoutError("no SUBACK after 10 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_for(self, wanted: Set[str], deadline: float) -> None:
        """Wait until all of them have arrived, or the time is up."""
        wait_until(
            lambda: wanted <= {each for each, _ in self.arrived}, timeout_s=max(0.0, deadline - time.monotonic())
        )

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe("devices/+/set", options=SubscribeOptions(qos=1))

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        del client, userdata
        message_id = id_of(bytes(message.payload))
        self.arrived.append((message_id, time.time()))
        self._seen.add(message_id)
