"""SQS FIFO queues: after the first record of a group that failed, none of the group is carried out, and all of them are reported."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.inbound.app import handler
from mqbridge.handler import Bridge, using
from mqbridge.outcomes import Delivered, Failed
from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge.testing import Captured, capture
from mqbridge.triggers import hiding_by
from mqbridge.triggers.visibility import Hidden
from tests.unit.mqbridge.support import DLQ, EVENTS, FakeSinks, document, inbound_rule, quick

RULES = load(document(InboundRules=[inbound_rule()]))
WITH_DLQ = document(Defaults={"RunOptions": {"DeadLetterQueue": DLQ}}, InboundRules=[inbound_rule()])
EVENT = json.loads((EVENTS / "trigger-sqs-fifo.json").read_text())
FIFO, STANDARD = "arn:aws:sqs:eu-central-1:123456789012:c.fifo", "arn:aws:sqs:eu-central-1:123456789012:c"


def failed(response: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def busy(sent: Captured, *topics: str) -> None:
    sent.fail(lambda message: message["topic"] in {f"devices/{each}" for each in topics})


def test_all_of_all_groups_are_sent_in_order() -> None:
    with capture(RULES) as sent:
        assert failed(handler(EVENT, None)) == []
    of = [(each["topic"], each["payload"]) for each in sent]
    assert [each for each in of if "/a" in each[0]] == [
        ("devices/a/set", "on"),
        ("devices/a2/set", "dim"),
        ("devices/a/set", "off"),
    ]
    assert [each for each in of if "/b" in each[0]] == [("devices/b/set", "on"), ("devices/b/set", "dim")]


def test_after_a_failure_the_rest_of_the_group_is_not_sent_and_fails_too() -> None:
    with capture(RULES) as sent:
        busy(sent, "a/set")
        assert failed(handler(EVENT, None)) == ["a-1", "a-2", "a-3"]
    assert {each["topic"] for each in sent} == {"devices/b/set"}, "not even to another device"


def test_what_came_before_the_failure_is_done() -> None:
    with capture(RULES) as sent:
        busy(sent, "a2/set")
        assert failed(handler(EVENT, None)) == ["a-2", "a-3"]
    assert [each["payload"] for each in sent if each["topic"] == "devices/a/set"] == ["on"]


@pytest.mark.parametrize(
    "body", ["not readable", '{"topic": "commands", "userProperties": {"mqttSecondTopic": "/+"}, "body": ""}']
)
def test_what_can_never_succeed_holds_its_group_unless_it_is_dead_lettered(body: str) -> None:
    event = json.loads(json.dumps(EVENT))
    event["Records"][2]["body"] = body
    with capture(RULES):
        assert failed(handler(event, None)) == ["a-2", "a-3"]
    with capture(WITH_DLQ) as sent:
        assert failed(handler(event, None)) == []
    assert [each.get("payload") for each in sent if each["topic"] in ("devices/a/set", "mqbridge_dlq")] == [
        "on",
        None,
        "off",
    ]


def test_what_is_held_back_is_counted_with_the_reason() -> None:
    counters = Counters()
    busy_sinks = FakeSinks(
        lambda message: Failed("broker_busy", "later") if message.topic == "devices/a/set" else Delivered()
    )
    with using(Bridge(RULES, busy_sinks, counters)), hiding_by(lambda _queue, _messages: None):
        assert failed(handler(EVENT, None)) == ["a-1", "a-2", "a-3"]
    errors = {
        dict(labels)["error_type"]: value
        for (name, labels), value in counters.snapshot().items()
        if name == "mqbridge_errors_total"
    }
    assert errors == {"broker_busy": 1, "held_back": 2}


def test_what_is_held_back_is_hidden_as_long_as_what_it_waits_for() -> None:
    """SQS gives out nothing of a group while one of it is hidden: a longer time would hold up the first, too."""
    hidden: list[Hidden] = []
    with capture(RULES) as sent, hiding_by(lambda _queue, messages: hidden.extend(messages)):
        busy(sent, "a/set")
        handler(EVENT, None)
    assert [each.receipt_handle for each in hidden] == ["handle-a-1", "handle-a-2", "handle-a-3"]
    assert len({each.seconds for each in hidden}) == 1


def test_a_fair_queue_s_groups_ask_for_no_order() -> None:
    event = json.loads(json.dumps(EVENT))
    for record in event["Records"]:
        record["eventSourceARN"] = STANDARD
    with capture(RULES) as sent:
        busy(sent, "a/set")
        assert failed(handler(event, None)) == ["a-1", "a-3"]
    assert "devices/a2/set" in {each["topic"] for each in sent}


def test_a_pipe_from_a_fifo_queue_keeps_order_too() -> None:
    with capture(RULES) as sent:
        busy(sent, "a/set")
        assert failed(handler(EVENT["Records"], None)) == ["a-1", "a-2", "a-3"]


def batch(groups: list[str]) -> dict[str, Any]:
    def message(at: int, group: str) -> dict[str, Any]:
        body = {"topic": "commands", "userProperties": {"mqttSecondTopic": f"/{at}"}, "body": group}
        attributes = {"ApproximateReceiveCount": "1", **({"MessageGroupId": group} if group else {})}
        base = {"messageId": f"{at}", "eventSource": "aws:sqs", "eventSourceARN": FIFO}
        return {**base, "body": json.dumps(body), "attributes": attributes}

    return {"Records": [message(at, group) for at, group in enumerate(groups)]}


@quick
@given(
    groups=st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=10), failing=st.sets(st.integers(0, 9))
)
def test_of_each_group_what_is_before_its_first_failure_is_sent_and_all_behind_reported(
    groups: list[str], failing: set[int]
) -> None:
    with capture(RULES) as sent:
        busy(sent, *map(str, failing))
        response = handler(batch(groups), None)
    expected: list[int] = []
    broken: set[str] = set()
    for at, group in enumerate(groups):
        if at in failing or (group and group in broken):
            expected.append(at)
            broken.add(group)
    assert failed(response) == [str(at) for at in expected]
    done = [int(each["topic"].removeprefix("devices/")) for each in sent]
    assert sorted(done) == [at for at in range(len(groups)) if at not in expected]
    for group in {each for each in groups if each}:
        of_group = [at for at in done if groups[at] == group]
        assert of_group == sorted(of_group)
