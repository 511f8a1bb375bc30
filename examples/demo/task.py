"""The demo's message outflow task: what its sensors publish, and what must become of it."""

import json
from collections.abc import Hashable, Sequence

from devstack.javatool import StoredMessage, consume
from examples.demo import brokers
from examples.demo.devices import DEVICES, Reading

__all__ = ["alarms", "expected_alarms", "poison_reasons", "sensor_readings"]

# Every temperature above this passes the task's filter.
HOT = 80
BRANDS = ("BrandA-7", "BrandB-1")
ALARM_TOPICS = ("alarms", "alarms_brand_a")
# Not JSON, as the task's BodyDataType says: it can never be delivered.
POISON = b"\x00 temperature: 99"

Alarm = tuple[Hashable, ...]


def sensor_readings(count: int) -> list[Reading]:
    """Return what the sensors will publish; one message in the middle is poison."""
    readings = [_reading(number) for number in range(count)]
    readings[count // 2] = Reading(1, "sensors/d01/up", POISON, 1, ())
    return readings


def _reading(number: int) -> Reading:
    device = number % DEVICES
    body = {
        "n": number,
        "temperature": 60 + number % 41,
        "brand": BRANDS[number % len(BRANDS)],
        "phone": f"138{number:08}",
    }
    properties = (("site", f"hall {device % 3}"),) if device % 2 == 1 else ()
    return Reading(device, f"sensors/d{device:02}/up", json.dumps(body).encode(), 1, properties)


def expected_alarms(readings: Sequence[Reading]) -> list[Alarm]:
    """Return what the readings must become: topic, body, tag, keys and user properties of each that is hot."""
    alarms: list[Alarm] = []
    for reading in readings:
        body = {} if reading.payload == POISON else json.loads(reading.payload)
        if body.get("temperature", 0) > HOT:
            body["phone"] = f"{body['phone'][:3]}***{body['phone'][-2:]}"
            topic = "alarms_brand_a" if body["brand"].startswith("BrandA") else "alarms"
            tag, key = f"hot-{body['brand']}", f"d{reading.device:02}"
            alarms.append(
                (topic, json.dumps(body, sort_keys=True), tag, key, dict(reading.user_properties).get("site"))
            )
    return alarms


def alarms(expected: Sequence[Alarm]) -> list[Alarm]:
    """Return what RocketMQ's own Java client reads in the topics of the alarms."""
    counts = {topic: sum(alarm[0] == topic for alarm in expected) for topic in ALARM_TOPICS}
    return [
        _alarm(each)
        for topic, count in counts.items()
        for each in consume(brokers.NAME_SERVER, topic, count, timeout_s=15, grace_s=1)
    ]


def _alarm(stored: StoredMessage) -> Alarm:
    body = json.dumps(json.loads(stored["body"]), sort_keys=True)
    return (stored["topic"], body, stored["tags"], stored["keys"], stored["properties"].get("site"))


def poison_reasons() -> list[str]:
    """Return why each message in the dead-letter queue is there: rule, stage and reason."""
    letters = consume(brokers.NAME_SERVER, "mqbridge_dlq", 1, timeout_s=15, grace_s=0.5)
    envelopes = [json.loads(letter["properties"]["mqbridge-dead-letter"]) for letter in letters]
    return [f"{each['rule']}: {each['stage']}: {each['reason']}" for each in envelopes]
