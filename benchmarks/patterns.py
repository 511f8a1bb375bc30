"""Event patterns: decode and match events of about 900 bytes, beside other engines in Python. `python -m benchmarks.patterns`.

One process, one run; all take turns, five rounds, and a second is one of CPU time. The events differ in topic, device, address and values.
All engines get what msgspec decoded, but for the rows that say json. moto's engine is the one that
development installs with moto. LocalStack's is measured where it can be imported: its package `localstack-core` asks for its gateway
`rolo` and some thirty packages more, 120 MB, so development does not install it.
"""

import importlib.util
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.measuring import Bar, Result, table
from mqbridge import json_text, patterns

__all__ = ["EXACT", "FIVE", "FORTY", "events", "measure"]

ROUNDS = 5
SECONDS = 0.4  # of each engine in each round
BAR_FIVE = 150_000.0
BAR_FORTY = 76_000.0  # what AWS's event-ruler does on the JVM with patterns of all kinds
GOAL_EXACT = 256_000.0  # and with five exact ones
BAR_OTHERS = 15.0

Pattern = dict[str, Any]
Decode = Callable[[bytes], Any]
Match = Callable[[Any], object]

_STATES = ("running", "idle", "stopped", "fault", "maintenance")
_MODELS = ("TX-100", "TX-200", "RX-7", "rx-7b", "LoRa-Mini")


def events(count: int = 5_000) -> list[bytes]:
    """Return different events as a task sees them, as JSON of about 900 bytes; always the same ones."""
    chance = random.Random(900)  # noqa: S311, test data
    return [json_text.encode(_event(number, chance)).encode() for number in range(count)]


def _event(number: int, chance: random.Random) -> dict[str, Any]:
    site, device = chance.randrange(20), chance.randrange(1_000)
    channel = chance.choice(("up", "status", "alarm", "log"))
    body: dict[str, Any] = {
        "device": f"device-{device:04}",
        "site": f"site-{site:02}",
        "state": chance.choice(_STATES),
        "model": chance.choice(_MODELS),
        "firmware": f"{chance.randrange(4)}.{chance.randrange(10)}.{chance.randrange(10)}",
        "address": f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(1, 255)}",
        "temperature": round(chance.uniform(-20, 120), 2),
        "humidity": chance.randrange(100),
        "battery": chance.randrange(101),
        "alarm": chance.random() < 0.1,
        "tags": chance.sample(["indoor", "outdoor", "north", "south", "critical"], 2),
        "readings": [
            {"name": "vibration", "value": round(chance.uniform(0, 1), 4), "unit": "g"},
            {"name": "pressure", "value": round(chance.uniform(90, 110), 2), "unit": "kPa"},
        ],
        "location": {"building": f"B{chance.randrange(9)}", "floor": chance.randrange(12), "lat": 52.52, "lon": 13.4},
        "note": chance.choice(("nothing to report since the last maintenance", "sensor replaced: see Error log 4711")),
    }
    if chance.random() < 0.3:
        body["error"] = {"code": chance.randrange(10), "text": "overheated"}
    props = {
        "instanceId": "mqtt-local",
        "firstTopic": "devices",
        "secondTopic": f"/site-{site:02}/device-{device:04}/{channel}",
        "clientId": f"GID_sensor@@@device-{device:04}",
        "qos": chance.randrange(2),
        "retain": False,
        "protocolVersion": 5,
        "contentType": "application/json",
    }
    return {
        "specversion": "1.0",
        "id": f"{number:032X}",
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "subject": f"devices{props['secondTopic']}",
        "time": "2026-01-01T00:00:00Z",
        "data": {"props": props, "body": body, "userProperties": {"trace": f"{number:032x}", "region": "eu-1"}},
    }


def _body(**asked: Any) -> Pattern:
    return {"source": ["acs:mqtt"], "data": {"body": asked}}


def _topic(*asked: Any) -> Pattern:
    return {"data": {"props": {"secondTopic": list(asked)}}}


FIVE: list[Pattern] = [
    _body(temperature=[{"numeric": [">", 80, "<=", 100]}], state=["running"]),
    {**_topic({"prefix": "/site-01/"}, {"suffix": "/alarm"}), "type": ["mqtt:Topic:SendMessage"]},
    _body(error={"code": [{"exists": True}]}, alarm=[True]),
    _body(model=[{"anything-but": ["TX-100", "TX-200"]}], battery=[{"numeric": ["<", 20]}]),
    _body(tags=["critical"], location={"building": ["B1", "B2"]}),
]

EXACT: list[Pattern] = [
    _body(state=["running"], model=["TX-100"]),
    _body(state=["fault", "maintenance"]),
    _body(site=["site-03", "site-04"], alarm=[True]),
    {"source": ["acs:mqtt"], "data": {"props": {"qos": [1]}, "body": {"location": {"floor": [3]}}}},
    {"type": ["mqtt:Topic:SendMessage"], "data": {"body": {"firmware": ["1.2.3", "1.2.4"]}}},
]

# Five of each kind.
FORTY: list[Pattern] = [
    *EXACT,
    *(_topic({"prefix": f"/site-{site:02}/"}) for site in range(5)),
    *(_topic({"suffix": text}) for text in ("/alarm", "/status", "0/up", "7/log", "/device-0001/up")),
    *(
        _body(model=[{"equals-ignore-case": text}], state=[state])
        for text, state in zip(("tx-100", "tx-200", "RX-7B", "lora-mini", "zx"), _STATES, strict=True)
    ),
    *(
        _topic({"wildcard": text})
        for text in (
            "/site-1*/device-*1/up",
            "*/device-00*/alarm",
            "/site-*/device-02*",
            "*9/*9/status",
            "/s*-0*/d*-*7/l*g",
        )
    ),
    *(
        _body(temperature=[{"numeric": bounds}])
        for bounds in ([">", 100], ["<", -10], [">=", 20, "<", 30], [">", 0, "<=", 5], ["=", 42])
    ),
    _body(state=[{"anything-but": ["running", "idle"]}]),
    _body(site=[{"anything-but": {"prefix": "site-0"}}], alarm=[True]),
    _body(firmware=[{"anything-but": {"suffix": ".0"}}], battery=[{"numeric": ["<", 10]}]),
    _body(model=[{"anything-but": {"wildcard": "TX-*"}}], humidity=[{"numeric": [">", 90]}]),
    _body(device=[{"anything-but": {"equals-ignore-case": ["DEVICE-0001", "DEVICE-0002"]}}], state=["fault"]),
    _body(address=[{"cidr": "10.1.0.0/16"}], alarm=[{"exists": True}]),
    _body(error={"code": [{"exists": False}]}, note=[{"contains": "Error"}]),
    {"$or": [_topic("/site-05/device-0005/up"), _body(tags=["critical"], location={"floor": [{"numeric": [">", 9]}]})]},
    _body(readings={"name": ["vibration"], "value": [{"numeric": [">", 0.9]}]}),
    _body(note=[{"contains": "maintenance"}], state=["idle"]),
]


def measure() -> Iterator[Result]:
    """Yield the figures of one run, all engines in turn."""
    encoded = events()
    engines = dict(_engines())
    values: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, (decode, match) in engines.items():
            values[name].append(_rate(decode, match, encoded))

    def result(name: str, bar: Bar | None = None) -> Result:
        return Result(name, "events/s", tuple(values[name]), bar)

    yield result("decode alone, json")
    yield result("decode alone, msgspec")
    five = result("5 patterns, a set", Bar(BAR_FIVE))
    yield five
    yield result("5 patterns, one after the other")
    yield result("5 patterns, a set, json")
    for name in values:
        if name.startswith("5 patterns, beside: "):
            other = result(name)
            yield other
            yield Result(f"{five.name}, against {name.split(': ')[1]}", five.unit, five.values, Bar(BAR_OTHERS, other))
    yield result("5 exact patterns, a set", Bar(None, goal=GOAL_EXACT))
    yield result("40 patterns of all kinds, a set", Bar(BAR_FORTY))
    yield result("40 patterns of all kinds, a set that knows other texts only")
    yield result("40 patterns of all kinds, one after the other")


def _engines() -> Iterator[tuple[str, tuple[Decode, Match | None]]]:
    yield "decode alone, json", (json.loads, None)
    yield "decode alone, msgspec", (json_text.decode, None)
    for name, documents in (("5 patterns", FIVE), ("5 exact patterns", EXACT), ("40 patterns of all kinds", FORTY)):
        compiled = [patterns.compile(each) for each in documents]
        yield f"{name}, a set", (json_text.decode, patterns.compile_set(compiled).matching)
        yield f"{name}, one after the other", (json_text.decode, _one_by_one([each.matches for each in compiled]))
    unlucky = patterns.compile_set(map(patterns.compile, FORTY))
    for number in range(5_000):  # as many as it keeps of each field, and none of them comes again
        text = f"other-{number}"
        body = dict.fromkeys(("device", "model", "site", "firmware", "address", "note"), text)
        unlucky.matching({"source": "acs:mqtt", "data": {"props": {"secondTopic": text}, "body": body}})
    yield "40 patterns of all kinds, a set that knows other texts only", (json_text.decode, unlucky.matching)
    yield "5 patterns, a set, json", (json.loads, patterns.compile_set(map(patterns.compile, FIVE)).matching)
    for name, matches in _others():
        yield f"5 patterns, beside: {name}", (json_text.decode, _one_by_one(matches))


def _others() -> Iterator[tuple[str, list[Callable[[Any], bool]]]]:
    """Yield the other engines with the five patterns; what they find must be what is found here."""
    from moto.events.models import EventPattern

    engines: dict[str, list[Callable[[Any], bool]]] = {
        "moto": [EventPattern(json.dumps(each), each).matches_event for each in FIVE]
    }
    if importlib.util.find_spec("localstack"):
        module = importlib.import_module("localstack.services.events.event_rule_engine")
        engine, read = module.EventRuleEngine(), module.EventPatternCompiler().compile_event_pattern
        engines["LocalStack"] = [_of_localstack(engine, read(json.dumps(each))) for each in FIVE]
    expected = [patterns.compile(each).matches for each in FIVE]
    for name, matches in engines.items():
        for event in map(json_text.decode, events(500)):
            assert [each(event) for each in matches] == [each(event) for each in expected], (name, event)
        yield name, matches


def _of_localstack(engine: Any, pattern: Any) -> Callable[[Any], bool]:
    return lambda event: bool(engine.evaluate_pattern_on_event(pattern, event))


def _one_by_one(matches: Sequence[Callable[[Any], bool]]) -> Match:
    return lambda event: [each(event) for each in matches]


def _rate(decode: Decode, match: Match | None, encoded: list[bytes]) -> float:
    """Return how many events a second are decoded and matched; by CPU time, as other programs may want the core."""
    done, begin = 0, time.process_time()
    while True:
        for start in range(0, len(encoded), 250):
            part = encoded[start : start + 250]
            if match is None:
                for event in part:
                    decode(event)
            else:
                for event in part:
                    match(decode(event))
            done += len(part)
            if (took := time.process_time() - begin) >= SECONDS:
                return done / took


if __name__ == "__main__":
    print(table(list(measure())))
