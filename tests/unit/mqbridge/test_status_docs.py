"""docs/status.md: its rules are valid, its example runs, and every reason stands in its table."""

import re
from typing import Any

import pytest

from mqbridge.flows import status
from mqbridge.outcomes import Drop, Reject
from mqbridge.rules import load
from mqbridge.rules.documents import read_document
from mqbridge.triggers import read
from tests.unit.mqbridge.support import ROOT

PAGE = (ROOT / "docs" / "status.md").read_text()
(YAML,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RULES = load(read_document(YAML, "status.yaml").data)


def test_the_example_of_a_reader_runs() -> None:
    names: dict[str, Any] = {}
    exec(PYTHON, names)
    assert names["change"] is None


AWS = {
    "clientId": "GID_sensor@@@d1",
    "timestamp": 1,
    "eventType": "connected",
    "sessionIdentifier": "s",
    "versionNumber": 1,
}


@pytest.mark.parametrize(
    ("event", "kind", "reason"),
    [
        ({**AWS, "clientId": "GID_other@@@d1"}, Drop, "no_rule"),
        ({**AWS, "eventType": "subscribed"}, Drop, "foreign_event_type"),
        ({**AWS, "eventType": "exploded"}, Reject, "foreign_event_type"),
        ({**AWS, "clientId": ""}, Reject, "client_id_missing"),
        ({**AWS, "timestamp": "now"}, Reject, "invalid_time"),
        ({**AWS, "sessionIdentifier": "", "versionNumber": None}, Reject, "channel_id_missing"),
        ({"payload_b64": "b24=", "topic": "devices/d1"}, Reject, "not_a_status_event"),
    ],
)
def test_what_becomes_of_other_events(event: dict[str, Any], kind: type, reason: str) -> None:
    (planned,) = status.plan(read(event).records, RULES)
    assert isinstance(planned.outcome, kind)
    assert isinstance(planned.outcome, Drop | Reject)
    assert planned.outcome.reason == reason
    word = "dropped" if kind is Drop else "rejected"
    assert f"{word}: `{reason}`" in PAGE


def test_the_body_of_the_page_is_what_is_sent() -> None:
    event = {**AWS, "timestamp": 1717000000123, "ipAddress": "203.0.113.9:51234", "versionNumber": 0}
    event["sessionIdentifier"] = "a4666d2a7d844ae4ac5d7b38c9cb7967"
    (planned,) = status.plan(read(event).records, RULES)
    (message,) = getattr(planned.outcome, "messages")  # noqa: B009  # whichever outcome it is
    assert f"`{message.body.decode()}`" in PAGE
