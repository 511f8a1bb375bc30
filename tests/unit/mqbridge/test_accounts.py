"""What an invocation enters into the counters adds up, whatever becomes of its records; and the check of it can fail."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.lambda_service import Answer
from functions.inbound.app import handler
from mqbridge.delivery import Settlement
from mqbridge.handler import Bridge, using
from mqbridge.messages import Record
from mqbridge.outcomes import Delivered, Drop, Failed, Planned, Reject
from mqbridge.rules import load
from mqbridge.telemetry import METRICS, Accounts, Counters, begin_rule
from mqbridge.triggers import hiding_by
from tests.identity import Values, faults_of, written_values
from tests.integration.handling import handling
from tests.platform.accounted import is_whole
from tests.unit.mqbridge.support import ROOT, both_ways, command, document, inbound_rule, publish, quick, record

RULE = both_ways().inbound[0]
NAMED = [("flow", "inbound"), ("rule", "commands")]


def values(**changes: float) -> Values:
    """Return numbers that add up, with changes."""
    told: dict[str, float] = {"planned": 7, "delivered": 4, "failed": 2, "in_flight": 1, "unknown": 1}
    told |= {"received": 9, "unmatched": 3, "events": 6, **changes}
    flow, rule = NAMED
    function = ("function", "inbound")
    return {
        ("mqbridge_records_planned_total", (flow, rule)): told["planned"],
        ("mqbridge_records_total", (flow, ("outcome", "delivered"), rule)): told["delivered"],
        ("mqbridge_records_total", (flow, ("outcome", "failed"), rule)): told["failed"],
        ("mqbridge_records_in_flight", (flow, rule)): told["in_flight"],
        ("mqbridge_unknown_outcome_total", (rule, ("sink", "mqtt:m"))): told["unknown"],
        ("mqbridge_events_received_total", (function, ("trigger", "sqs"))): told["received"] - 2,
        ("mqbridge_events_received_total", (function, ("trigger", "direct"))): 2,
        ("mqbridge_events_unmatched_total", (function,)): told["unmatched"],
        ("mqbridge_events_planned_total", (function,)): told["events"],
    }


def test_what_adds_up_has_no_faults() -> None:
    assert faults_of(values()) == []
    assert faults_of({}) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"delivered": 3}, "inbound/commands: 7 planned, but 5 settled and 1 in flight"),
        ({"planned": 8}, "inbound/commands: 8 planned, but 6 settled and 1 in flight"),
        ({"in_flight": 0}, "inbound/commands: 7 planned, but 6 settled and 0 in flight"),
        ({"in_flight": -1, "failed": 4}, "inbound/commands: 7 planned, but 8 settled and -1 in flight"),
        ({"received": 10}, "inbound: 10 received, but 3 unmatched and 6 planned"),
        ({"unmatched": 2}, "inbound: 9 received, but 2 unmatched and 6 planned"),
        ({"events": 7}, "inbound: 9 received, but 3 unmatched and 7 planned"),
        ({"unknown": 3}, "commands: 3 of unknown outcome, but 2 failed"),
    ],
)
def test_the_check_fails_on_wrong_numbers(changes: dict[str, float], fault: str) -> None:
    assert faults_of(values(**changes)) == [fault]


def test_a_rule_whose_records_were_never_planned_is_a_fault() -> None:
    counters = Counters()
    counters.add("mqbridge_records_total", flow="inbound", rule="commands", outcome="delivered")
    assert faults_of(counters.snapshot()) == ["inbound/commands: 0 planned, but 1 settled and 0 in flight"]


def total(counters: Counters, name: str) -> float:
    return sum(value for (of_name, _), value in counters.snapshot().items() if of_name == name)


def test_what_is_planned_and_not_settled_is_in_flight() -> None:
    counters = Counters()
    accounts = Accounts(counters, "inbound", "direct")
    first, second, third = (record(command(), str(at)) for at in range(3))
    accounts.received([first, second, third])
    assert faults_of(counters.snapshot()) == ["inbound: 3 received, but 0 unmatched and 0 planned"]
    accounts.planned(
        [Planned(first, RULE, Drop("x")), Planned(second, None, Drop("no_rule")), Planned(third, RULE, Reject("x"))]
    )
    assert faults_of(counters.snapshot()) == []
    assert total(counters, "mqbridge_records_in_flight") == 2


def test_an_event_that_two_rules_want_is_one_event_and_two_records() -> None:
    counters = Counters()
    rules = load(document(InboundRules=[inbound_rule("one-1", parent="aaa"), inbound_rule("two-2", parent="bbb")]))
    with using(Bridge(rules, _Sinks({}), counters)):
        handler([_event(0), _event(1)], None)
    assert faults_of(counters.snapshot()) == []
    assert (total(counters, "mqbridge_events_planned_total"), total(counters, "mqbridge_records_total")) == (2, 4)


class _Sinks:
    """Say of each payload what they are told to; an error is raised."""

    def __init__(self, outcomes: dict[bytes, Any]) -> None:
        self._outcomes = outcomes

    def send(self, kind: str, instance_id: str, messages: Any, deadline: float) -> Any:
        del kind, instance_id, deadline
        found = [self._outcomes.get(message.payload, Delivered()) for message in messages]
        for each in found:
            if isinstance(each, Exception):
                raise each
        return found


def _event(number: int, topic: str = "commands", body: Any = None) -> dict[str, Any]:
    data = {"topic": topic, "userProperties": {"mqttSecondTopic": f"/d{number}"}, "body": body or str(number)}
    return {"specversion": "1.0", "id": str(number), "source": "acs:mq", "type": "mq:Topic:SendMessage", "data": data}


OUTCOMES = [
    Delivered(),
    Failed("broker_busy"),
    Failed("outcome_unknown", is_unknown=True),
    Reject("broker_forbids"),
    RuntimeError("a defect"),
]


@quick
@given(
    told=st.lists(
        st.tuples(st.sampled_from(OUTCOMES), st.sampled_from(["commands", "unheard_of"])), min_size=1, max_size=6
    ),
    groups=st.booleans(),
)
def test_whatever_happens_the_accounts_add_up(told: list[tuple[Any, str]], groups: bool) -> None:
    counters = Counters()
    outcomes = {str(at).encode(): outcome for at, (outcome, _) in enumerate(told)}
    event: Any = [_event(at, topic) for at, (_, topic) in enumerate(told)]
    if groups:
        event = {"Records": [_queued(at, topic) for at, (_, topic) in enumerate(told)]}
    raised = False
    with using(Bridge(both_ways(), _Sinks(outcomes), counters)), hiding_by(lambda _queue, _messages: None):
        try:
            handler(event, None)
        except RuntimeError:
            raised = True
    assert faults_of(counters.snapshot()) == []
    assert total(counters, "mqbridge_records_in_flight") == 0
    assert total(counters, "mqbridge_events_received_total") == len(told)
    defects = [
        value for (_, labels), value in counters.snapshot().items() if ("error_type", "unexpected_error") in labels
    ]
    assert bool(defects) == raised


def _queued(number: int, topic: str) -> dict[str, Any]:
    return {
        "messageId": str(number),
        "eventSource": "aws:sqs",
        "attributes": {"MessageGroupId": f"g{number % 2}"},
        "body": json.dumps(_event(number, topic)["data"]),
    }


def test_bytes_batch_age_and_duration_are_observed() -> None:
    counters = Counters()
    accounts = Accounts(counters, "outbound", "sqs", unix=lambda: 100.0)
    old, new, untimed = (publish(payload=b"12345", time_ms=time_ms) for time_ms in (40_000, 99_000, 0))
    records = [record(message, str(at)) for at, message in enumerate([old, new, untimed])]
    unreadable = Record(id="x", attempt=1, message=Reject("unreadable_record"))
    accounts.received([*records, unreadable])
    planned: list[Any] = [Planned(each, RULE, Drop("x")) for each in records]
    accounts.planned([*planned, Planned(unreadable, None, Reject("unreadable_record"))])
    accounts.settled(
        [*(Settlement(each, RULE, Delivered()) for each in records), Settlement(unreadable, None, Reject("x"))]
    )
    assert total(counters, "mqbridge_received_bytes_total") == 15
    told = {name: (sum(counts), round(total, 3)) for (name, _), (counts, total) in counters.distributions().items()}
    assert told["mqbridge_batch_events"] == (1, 4)
    assert told["mqbridge_event_age_seconds"] == (2, 61.0)
    assert told["mqbridge_event_duration_seconds"][0] == 4


def test_series_of_a_rule_are_there_before_its_first_record() -> None:
    counters = Counters()
    begin_rule(counters, "inbound", "commands", "mqtt:m")
    names = {name for name, _ in [*counters.snapshot(), *counters.distributions()]}
    assert set(counters.snapshot().values()) == {0}
    known = {"function", "flow", "rule", "sink", "outcome"}
    expected = {name for name, metric in METRICS.items() if metric.by == "both" and set(metric.labels) <= known}
    assert names - {"mqbridge_records_in_flight"} == expected - {"mqbridge_config_reloads_total"}


def test_no_bridge_of_an_integration_test_goes_unchecked() -> None:
    """They are stopped and used by what checks the accounts, or check them themselves."""
    for path in (ROOT / "tests" / "integration").glob("test_*.py"):
        text = path.read_text()
        assert "bridge.process.stop()" not in text, path.name
        assert "using(Bridge(" not in text, path.name
        assert "using(bridge)" not in text or "faults_of(counters.snapshot()) == []" in text, path.name


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("test_sqs_end_to_end.py", "LambdaService"),
        ("test_invoked_functions.py", "LambdaService"),
        ("test_fc_service.py", "FcService"),
    ],
)
def test_no_function_of_an_end_to_end_test_goes_unchecked(name: str, service: str) -> None:
    text = (ROOT / "tests" / "platform" / name).read_text()
    assert f"Accounted{service.removeprefix('Lambda')}(" in text
    assert f" {service}(" not in text


def test_handlers_that_counted_nothing_went_past_the_check() -> None:
    with pytest.raises(AssertionError, match="no handler counted anything"), handling(both_ways()):
        pass


LINES = [
    '{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["service","flow","rule"]],'
    '"Metrics":[{"Name":"mqbridge_records_planned_total"}]}]},"flow":"inbound","rule":"r","service":"s",'
    '"mqbridge_records_planned_total":[2.0]}',
    '{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["service","flow","rule","outcome"]],'
    '"Metrics":[{"Name":"mqbridge_records_total"}]}]},"flow":"inbound","rule":"r","outcome":"failed","service":"s",'
    '"mqbridge_records_total":[2.0]}',
]


@pytest.mark.parametrize("kind", ["Sandbox.Timedout", "Runtime.ExitError", "ValueError", None])
@pytest.mark.parametrize("lines", [LINES, LINES[:1]])
def test_what_an_ended_environment_did_not_come_to_write_is_no_fault(kind: str | None, lines: list[str]) -> None:
    """But of what answered or raised, all is there; else the check has a fault to show."""
    log = "".join(f"{line}\n" for line in lines)
    payload = json.dumps({"errorType": kind} if kind else {}).encode()
    answer = Answer(request_id="", payload=payload, is_error=bool(kind), log=log, init_ms=0.0, duration_ms=1.0)
    assert is_whole(answer) == (kind in ("ValueError", None))
    missing = ["inbound/r: 2 planned, but 0 settled and 0 in flight"] if len(lines) == 1 else []
    assert faults_of(written_values(log)) == missing
