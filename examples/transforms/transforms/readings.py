"""What devices measure, in one unit."""

from typing import Any

Event = dict[str, Any]


def in_celsius(event: Event) -> Event | list[Event] | None:
    """Return the event with its temperature in degrees Celsius: one for each reading of a list, none for what is no reading."""
    body = event["data"]["body"]
    if isinstance(body, list):
        return [_with_body(event, _in_celsius(reading)) for reading in body]
    return _with_body(event, _in_celsius(body)) if "temperature" in body else None


def _with_body(event: Event, body: dict[str, Any]) -> Event:
    return {**event, "data": {**event["data"], "body": body}}


def _in_celsius(reading: dict[str, Any]) -> dict[str, Any]:
    if reading["unit"] == "C":
        return reading
    return {**reading, "temperature": round((reading["temperature"] - 32) / 1.8, 1), "unit": "C"}
