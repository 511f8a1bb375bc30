"""The handler of status rules as platforms call it: event fixtures, real rules, sinks that only remember."""

import json
from typing import Any

import pytest

from functions.outbound.status import handler
from mqbridge.presence import Presence, read_notice
from mqbridge.testing import capture
from mqbridge.triggers import Undelivered
from tests.unit.mqbridge.support import DLQ, EVENTS, document

RULE = {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "client_status"}}


def rules(**more: Any) -> dict[str, Any]:
    return document(StatusRules=[RULE], **more)


WITH_QUEUE = rules(Defaults={"RunOptions": {"DeadLetterQueue": dict(DLQ)}})


def fixture(name: str) -> Any:
    return json.loads((EVENTS / f"status-{name}.json").read_text())


def test_of_an_sqs_batch_what_can_never_succeed_goes_to_the_dead_letter_queue() -> None:
    with capture(WITH_QUEUE) as sent:
        assert handler(fixture("sqs"), None) == {"batchItemFailures": []}
    assert [message["tags"] for message in sent if message["topic"] == "client_status"] == ["connect", "tcpclean"]
    letters = [
        json.loads(message["properties"]["mqbridge-dead-letter"])
        for message in sent
        if message["topic"] == "mqbridge_dlq"
    ]
    assert [(each["rule"], each["reason"]) for each in letters] == [
        (None, "client_id_missing"),
        ("presence", "invalid_time"),
    ]


def test_without_a_queue_the_platform_keeps_it() -> None:
    with capture(rules()):
        failures = handler(fixture("sqs"), None)["batchItemFailures"]
    assert [each["itemIdentifier"] for each in failures] == ["s-nobody", "s-time"]


def test_what_the_broker_does_not_take_is_for_another_try() -> None:
    with capture(WITH_QUEUE) as sent:
        sent.fail(lambda message: message["topic"] == "client_status")
        with pytest.raises(Undelivered, match="broker_busy"):
            handler(fixture("aws-connected"), None)
        sent.recover()
        handler(fixture("aws-connected"), None)
    assert [message["tags"] for message in sent] == ["connect"]


def test_an_event_that_aws_iot_or_a_webhook_sends_alone() -> None:
    with capture(WITH_QUEUE) as sent:
        for name in ("aws-connected", "aws-disconnected", "emqx-connected", "apsaramq"):
            handler(fixture(name), None)
        handler([fixture("aws-lost"), fixture("emqx-disconnected")], None)
        for name in ("apsaramq", "fc-rocketmq"):
            handler((EVENTS / f"status-{name}.json").read_bytes(), None)
    presence = Presence()
    for message in sent:
        presence.add(read_notice(message["body"].encode()))
    assert [(each.client_id, each.is_online) for each in presence.clients()] == [
        ("GID_sensor@@@d1", False),
        ("GID_sensor@@@d2", False),
        ("GID_sensor@@@d3", False),
    ]


def test_cloudevents_of_every_form() -> None:
    with capture(WITH_QUEUE) as sent:
        assert handler(fixture("cloudevents"), None) == {"batchItemFailures": []}
    assert [message["tags"] for message in sent] == ["connect", "tcpclean", "connect"]
