"""Twenty simulated devices: paho clients, half of them MQTT 5, half 3.1.1, publishing at QoS 0, 1 and 2."""

import json
import time
from dataclasses import dataclass

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

__all__ = ["Reading", "publish", "readings"]

DEVICES = 20
KINDS = ("temperature", "status/battery", "raw")
RATE = 500  # messages per second, so that there is something to see


@dataclass(frozen=True, slots=True)
class Reading:
    """One message that a device publishes; the payload is unique."""

    device: int
    topic: str
    payload: bytes
    qos: int
    user_properties: tuple[tuple[str, str], ...]

    @property
    def is_mqtt_5(self) -> bool:
        """Whether the device speaks MQTT 5."""
        return self.device % 2 == 1


def readings(count: int) -> list[Reading]:
    """Return what the devices will publish."""
    return [_reading(number) for number in range(count)]


def _reading(number: int) -> Reading:
    device = number % DEVICES
    kind = KINDS[number // DEVICES % len(KINDS)]
    if kind == "raw":
        payload = b"\x00\xff\xfe" + number.to_bytes(4, "big")
    else:
        payload = json.dumps({"n": number, "value": 20 + number % 10}).encode()
    properties = (("batch", str(number // 100)),) if device % 2 == 1 else ()
    return Reading(device, f"devices/d{device:02}/{kind}", payload, number // DEVICES % 3, properties)


def publish(port: int, messages: list[Reading]) -> None:
    """Publish at a steady rate, and return when the broker has acknowledged all."""
    clients = [_connected(port, device) for device in range(DEVICES)]
    began = time.monotonic()
    for number, reading in enumerate(messages):
        properties = None
        if reading.user_properties:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho does not annotate it
            properties.UserProperty = list(reading.user_properties)
        clients[reading.device].publish(reading.topic, reading.payload, reading.qos, properties=properties)
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
    for client in clients:
        client.disconnect()  # paho's thread writes everything first, and ends when the broker has answered
        client.loop_stop()


def _connected(port: int, device: int) -> Client:
    version = MQTTProtocolVersion.MQTTv5 if device % 2 == 1 else MQTTProtocolVersion.MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"GID_demo@@@d{device:02}", protocol=version)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client
