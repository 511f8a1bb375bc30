"""The handler of message outflow tasks as a platform calls it: event fixtures, real rules, sinks that only remember."""

import json
from typing import Any

import pytest

from functions.outflow.app import handler
from mqbridge.cleanse import RealOutside, Unavailable
from mqbridge.rules import load
from mqbridge.testing import capture
from mqbridge.triggers import UnreadableEvent
from tests.unit.mqbridge.support import DLQ, EVENTS, document, streaming

HOT = {"data": {"body": {"temperature": [{"numeric": [">", 80]}]}}}
EVENT = json.loads((EVENTS / "outflow-sqs.json").read_text())


def rules(**more: Any) -> dict[str, Any]:
    return document(EventStreamings=[streaming(FilterPattern=HOT, **more)])


def with_queue(**more: Any) -> dict[str, Any]:
    return rules(RunOptions={"DeadLetterQueue": dict(DLQ), **more})


def failed(response: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_each_record_has_its_own_end() -> None:
    """Sent, filtered, dead-lettered with stage and reason, sent: and nothing is left for the platform."""
    with capture(with_queue()) as sent:
        assert failed(handler(EVENT, None)) == []
    alarms = [message for message in sent if message["topic"] == "alarms"]
    assert [message["body"] for message in alarms] == ['{"temperature": 93.50}', '{"temperature": 81}']
    (letter,) = [message for message in sent if message["topic"] == "mqbridge_dlq"]
    envelope = json.loads(letter["properties"]["mqbridge-dead-letter"])
    assert (envelope["rule"], envelope["stage"], envelope["reason"]) == ("hot-readings", "decoding", "body_not_json")
    assert (envelope["attempts"], envelope["source"]["topic"]) == (2, "devices/d3/up")
    assert json.loads(letter["body"]) == EVENT["Records"][2], "the event as it was received"


def test_without_a_queue_the_platform_keeps_what_can_never_succeed() -> None:
    with capture(rules()) as sent:
        assert failed(handler(EVENT, None)) == ["poison"]
    assert len(sent) == 2


def test_errors_tolerance_all_discards_it() -> None:
    with capture(rules(RunOptions={"ErrorsTolerance": "ALL"})) as sent:
        assert failed(handler(EVENT, None)) == []
    assert len(sent) == 2


def test_what_the_broker_does_not_take_is_for_another_try() -> None:
    with capture(with_queue()) as sent:
        sent.fail(lambda message: message.get("keys") != "x" and message["topic"] == "alarms")
        assert failed(handler(EVENT, None)) == ["hot", "also-hot"]
        sent.recover()
        assert failed(handler(EVENT, None)) == []


def test_retries_end_where_the_strategy_says() -> None:
    """BACKOFF_RETRY: three retries after the first attempt, then the dead-letter queue."""
    with capture(with_queue()) as sent:
        sent.fail(lambda message: message["topic"] == "alarms")
        outcomes = [failed(handler(attempted(EVENT, number), None)) for number in (1, 2, 3, 4)]
        assert outcomes == [["hot", "also-hot"]] * 3 + [[]]
        reasons = [json.loads(each["properties"]["mqbridge-dead-letter"])["reason"] for each in sent]
    assert reasons.count("broker_busy") == 2


def attempted(event: dict[str, Any], number: int) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(event))
    for record in changed["Records"]:
        record["attributes"]["ApproximateReceiveCount"] = str(number)
    return changed


class Down(RealOutside):
    """A world in which no file can be read."""

    def read_file(self, path: str) -> bytes:
        raise Unavailable("enrichment_unavailable", f"{path} cannot be read")


def test_an_enrichment_source_that_is_down_is_for_another_try() -> None:
    enriched = with_queue()
    enriched["EventStreamings"][0]["Transforms"] = [
        {"Enrich": {"Key": "$.data.props.clientId", "From": {"File": {"Path": "hosts.csv"}}}}
    ]
    with capture(load(enriched, outside=Down())) as sent:
        assert failed(handler(EVENT, None)) == ["hot"], "the other has no client id, and needs no row"
    assert [message["topic"] for message in sent].count("alarms") == 1


def reading(number: int, client_id: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    props = {"firstTopic": "devices", "secondTopic": f"/{client_id}", "clientId": client_id}
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "data": {"props": props, "body": json.dumps({"temperature": 81, **body})},
        **more,
    }


class Left:
    """A platform's context: records are planned one at a time."""

    def get_remaining_time_in_millis(self) -> float:
        return 10_000.0


@pytest.mark.parametrize("context", [None, Left()])
def test_what_the_runner_brings_is_not_overtaken_by_what_its_lane_has_behind_it(context: Any) -> None:
    enriched = rules()
    enriched["EventStreamings"][0]["Transforms"] = [
        {"Enrich": {"Key": "$.data.body.site", "From": {"File": {"Path": "sites.csv"}}}}
    ]
    batch = [reading(0, "d1", {"site": "a"}), reading(1, "d1", {}), reading(2, "d2", {}), reading(3, "d1", {})]
    with capture(load(enriched, outside=Down())) as sent:
        for_all = handler(batch, context)
        assert (failed(for_all), len(sent)) == (["0"], 3), "nobody said that the batch is in order"
    with capture(load(enriched, outside=Down())) as sent:
        for_one = handler([{**each, "mqbridgerule": "hot-readings"} for each in batch], context)
        assert len(sent) == 1
    assert [(each["itemIdentifier"], each["reason"]) for each in for_one["batchItemFailures"]] == [
        ("0", "enrichment_unavailable"),
        ("1", "held_back"),
        ("3", "held_back"),
    ]


@pytest.mark.parametrize(
    ("options", "is_held"),
    [({}, True), ({"ErrorsTolerance": "ALL"}, False), ({"DeadLetterQueue": dict(DLQ)}, False)],
    ids=["blocks", "tolerates", "dead-letters"],
)
def test_a_record_that_its_task_is_to_stop_at_is_not_overtaken_either(options: dict[str, Any], is_held: bool) -> None:
    batch = [reading(at, "d1", {}, mqbridgerule="hot-readings") for at in range(2)]
    batch[0]["data"]["body"] = "not JSON"
    with capture(rules(RunOptions=options)) as sent:
        response = handler(batch, None)
    assert [message["topic"] for message in sent].count("alarms") == (0 if is_held else 1)
    assert failed(response) == (["0", "1"] if is_held else [])


@pytest.mark.parametrize("event", [{}, {"Records": [{}]}, "text", None])
def test_an_event_of_no_trigger_is_kept_by_the_platform(event: Any) -> None:
    with capture(rules()) as sent:
        with pytest.raises(UnreadableEvent):
            handler(event, None)
        assert sent == []
