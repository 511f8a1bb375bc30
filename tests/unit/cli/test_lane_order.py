"""What cannot be carried on is not overtaken by later records of its lane."""

from typing import Any

import pytest

from mqbridge.flows import outflow
from mqbridge.outcomes import Drop, Failed, Plan, Planned, Reject, Send
from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge.testing import Captured
from mqbridge_cli.runner.lane_order import TaskBridge, without_overtaking
from tests.identity import faults_of
from tests.unit.mqbridge.support import document, publish, record, streaming

SEND, DROP, REJECT, FAILED = Send(()), Drop("filtered"), Reject("poison"), Failed("enrichment_unavailable")


def _plan(*lanes_and_outcomes: tuple[str, Plan]) -> list[Planned]:
    return [
        Planned(record(publish(client_id=lane), id=str(at)), None, outcome)
        for at, (lane, outcome) in enumerate(lanes_and_outcomes)
    ]


def _ids(plan: list[Planned]) -> list[str]:
    return [each.record.id for each in plan]


@pytest.mark.parametrize("stops", [True, False])
def test_a_plan_in_which_nothing_holds_is_left_as_it_is(stops: bool) -> None:
    plan = _plan(("a", SEND), ("a", DROP), ("b", SEND))
    assert without_overtaking(plan, stops_at_reject=stops) == (plan, [])


@pytest.mark.parametrize("stops", [True, False])
def test_what_is_to_be_tried_later_holds_its_lane_and_no_other(stops: bool) -> None:
    plan = _plan(("a", SEND), ("a", FAILED), ("b", SEND), ("a", SEND), ("a", DROP), ("b", SEND))
    kept, left = without_overtaking(plan, stops_at_reject=stops)
    assert (_ids(kept), _ids(left)) == (["0", "1", "2", "5"], ["3", "4"])


@pytest.mark.parametrize(("stops", "left_out"), [(True, ["1"]), (False, [])])
def test_what_can_never_be_delivered_holds_its_lane_where_the_task_stops_at_it(
    stops: bool, left_out: list[str]
) -> None:
    kept, left = without_overtaking(_plan(("a", REJECT), ("a", SEND), ("b", SEND)), stops_at_reject=stops)
    assert (_ids(left), len(kept)) == (left_out, 3 - len(left_out))


def test_without_a_client_id_the_topic_is_the_lane() -> None:
    plan = [
        Planned(record(publish(topic=topic), id=str(at)), None, REJECT)
        for at, topic in enumerate(["devices/a", "devices/b", "devices/a"])
    ]
    assert _ids(without_overtaking(plan, stops_at_reject=True)[1]) == ["2"]


def test_the_bridge_sends_nothing_behind_the_record_and_reports_it_as_held_back() -> None:
    """So the runner leaves it unacknowledged, and its number of attempts as it is."""
    rules = load(document(EventStreamings=[streaming()]))
    sent = Captured()
    counters = Counters()
    bridge = TaskBridge(rules, sent, counters, stops_at_reject=True)
    response = bridge.handle("outflow", outflow.plan, [_event(0, "1"), _event(1, "poison"), _event(2, "3")], None)
    assert [message["body"] for message in sent] == ["1"]
    failures: list[dict[str, Any]] = response["batchItemFailures"]
    assert [(each["itemIdentifier"], each["reason"], "retryAfter" in each) for each in failures] == [
        ("1", "body_not_json", False),
        ("2", "held_back", True),
    ]
    assert faults_of(counters.snapshot()) == []


def _event(number: int, body: str) -> dict[str, Any]:
    props = {"instanceId": "mqtt-local", "firstTopic": "devices", "secondTopic": "/d1", "clientId": "d1"}
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "subject": "devices/d1",
        "time": "2026-01-01T00:00:00Z",
        "mqbridgerule": "hot-readings",
        "data": {"props": props, "body": body},
    }
