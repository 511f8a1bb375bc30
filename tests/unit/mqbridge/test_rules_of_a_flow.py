"""Rules loaded for one flow: what has nothing to do with it is not read, and keeps it from nothing; what has is checked as ever."""

import json
from pathlib import Path
from typing import Any

import pytest

from functions.outbound.app import handler as outbound_handler
from functions.outflow.app import handler as outflow_handler
from mqbridge import handler as handler_module
from mqbridge.rules import InvalidRules, load
from mqbridge.sources import RefreshedRules
from mqbridge.telemetry import Counters
from mqbridge.triggers import UnreadableEvent
from tests.unit.mqbridge.support import MQTT_INSTANCE, document, inbound_rule, outbound_rule, streaming

DATA_FLOWS = ["outbound", "inbound", "status"]
FLOWS = [*DATA_FLOWS, "outflow"]

STATUS_RULE = {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "client_status"}}
ALL_KINDS = {
    "OutboundRules": [outbound_rule()],
    "InboundRules": [inbound_rule()],
    "StatusRules": [STATUS_RULE],
    "EventStreamings": [streaming()],
}
FAULTS: dict[str, Any] = {
    "OutboundRules": [outbound_rule(parent="a/b")],
    "InboundRules": [inbound_rule(topic="no such topic")],
    "StatusRules": [{**STATUS_RULE, "Source": {"ClientIdPattern": "("}}],
    "EventStreamings": [streaming(FilterPattern={"data": {"body": {"t": [{"numeric": [">"]}]}}})],
}


def codes(source: Any, flow: str | None) -> list[str]:
    """Return the codes of what is wrong, for a flow; [] if it is loaded."""
    try:
        load(source, flow=flow)
    except InvalidRules as error:
        return [fault.code for fault in error.faults]
    return []


@pytest.mark.parametrize("flow", [None, *FLOWS])
def test_a_document_is_read_as_far_as_the_flow_has_to_do_with_it(flow: str | None) -> None:
    rules = load(document(**ALL_KINDS), flow=flow)
    has_data_rules = [bool(kind) for kind in (rules.outbound, rules.inbound, rules.status)]
    assert has_data_rules == [flow != "outflow"] * 3
    assert bool(rules.streamings) == bool(rules.tasks) == (flow in (None, "outflow"))
    assert rules.digest == load(document(**ALL_KINDS)).digest


@pytest.mark.parametrize("key", [*FAULTS, "not a list"])
@pytest.mark.parametrize("flow", [None, *FLOWS])
def test_a_fault_stops_the_flows_that_have_to_do_with_it(flow: str | None, key: str) -> None:
    faulty = document(**{**ALL_KINDS, **({key: FAULTS[key]} if key in FAULTS else {"EventStreamings": "none"})})
    is_of_a_task = key not in ("OutboundRules", "InboundRules", "StatusRules")
    assert bool(codes(faulty, flow)) == (flow is None or (flow == "outflow") == is_of_a_task)


@pytest.mark.parametrize("flow", [None, *FLOWS])
@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("MB212", {"Instances": {**document()["Instances"], "Mqtt": [{**MQTT_INSTANCE, "Tls": {}}]}}),
        ("MB104", {"Defaults": {"RunOptions": {"ErrorsTolerance": "SOME"}}}),
        ("MB104", {"Limits": {"Names": "Any"}}),
        ("MB101", {"EventStreaming": []}),
    ],
    ids=["Instances", "Defaults", "Limits", "an unknown key"],
)
def test_what_all_rules_have_to_do_with_is_checked_for_every_flow(
    code: str, parts: dict[str, Any], flow: str | None
) -> None:
    assert codes(document(**{**ALL_KINDS, **parts}), flow) == [code]


OLD_MQTT = {"Mqtt": [{**MQTT_INSTANCE, "ProtocolVersion": "3.1.1"}], "RocketMQ": document()["Instances"]["RocketMQ"]}
CIRCLE: dict[str, Any] = {
    "Instances": OLD_MQTT,
    "OutboundRules": [outbound_rule("one", "parent1", "topic1"), outbound_rule("two", "parent2", "topic2")],
    "InboundRules": [inbound_rule("three", "topic1", "parent2"), inbound_rule("four", "topic2", "parent1")],
}


@pytest.mark.parametrize("flow", [None, *DATA_FLOWS])
@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("MB202", {**ALL_KINDS, "InboundRules": [inbound_rule("telemetry")]}),
        ("MB202", {**ALL_KINDS, "StatusRules": [{**STATUS_RULE, "RuleId": "commands"}]}),
        ("MB204", {**ALL_KINDS, "Limits": {"RulesPerInstance": 2}}),
        ("MB214", CIRCLE),
    ],
    ids=["two RuleIds", "two RuleIds of other flows", "too many rules", "a circle"],
)
def test_what_data_rules_share_is_checked_for_each_of_their_flows(
    code: str, parts: dict[str, Any], flow: str | None
) -> None:
    assert set(codes(document(**parts), flow)) == {code}
    assert codes(document(**parts), "outflow") == []


def test_a_key_that_stands_twice_is_a_fault_of_the_flows_that_read_it() -> None:
    text = json.dumps(document(**ALL_KINDS))
    for key, stopped in (("RuleId", DATA_FLOWS), ("EventStreamingName", ["outflow"])):
        twice = text.replace(f'"{key}": ', f'"{key}": "first", "{key}": ', 1)
        assert [flow for flow in FLOWS if codes(twice, flow) == ["MB103"]] == stopped
        assert codes(twice, None) == ["MB103"]


def test_a_fault_has_the_place_that_it_has_in_the_whole_document() -> None:
    text = json.dumps(document(**{**FAULTS, "EventStreamings": ALL_KINDS["EventStreamings"]}), indent=1)
    with pytest.raises(InvalidRules) as whole:
        load(text)
    with pytest.raises(InvalidRules) as of_flow:
        load(text, flow="inbound")
    assert of_flow.value.faults == whole.value.faults
    assert len({fault.line for fault in whole.value.faults}) == 3


# Functions.

# Of a topic for which there is no rule.
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "acs:mqtt",
    "type": "mqtt:Topic:SendMessage",
    "subject": "elsewhere/d1",
    "data": {"body": "{}"},
}


def test_a_changed_document_is_in_force_if_what_is_of_the_flow_in_it_is_good(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"

    def write(number: int, **parts: Any) -> None:
        # Of a size of its own: a file whose size and time are as before is not read again.
        path.write_text(json.dumps(document(**{**ALL_KINDS, **parts})) + " " * number)

    write(1)
    rules = RefreshedRules(str(path), "0", Counters(), flow="outbound")
    assert rules.current().outbound[0].destination.topic == "telemetry"
    write(2, OutboundRules=[outbound_rule(topic="second")], EventStreamings=FAULTS["EventStreamings"])
    assert rules.current().outbound[0].destination.topic == "second"
    write(3, OutboundRules=FAULTS["OutboundRules"])
    assert rules.current().outbound[0].destination.topic == "second"
    write(4, OutboundRules=[outbound_rule(topic="third")], StatusRules=FAULTS["StatusRules"])
    assert rules.current().outbound[0].destination.topic == "second"


@pytest.fixture
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_module, "_own", {})


@pytest.mark.usefixtures("_fresh_process")
def test_functions_of_one_process_have_the_rules_of_their_own_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {**ALL_KINDS, "EventStreamings": FAULTS["EventStreamings"]}
    monkeypatch.setenv("MQBRIDGE_RULES", json.dumps(document(**parts)))
    for _ in range(2):
        assert outbound_handler([EVENT], None) == {"batchItemFailures": []}
        with pytest.raises(InvalidRules, match=r"MB215 EventStreamings\[0\]"):
            outflow_handler([EVENT], None)


@pytest.mark.usefixtures("_fresh_process")
def test_what_is_meant_for_a_rule_of_another_flow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", json.dumps(document(**ALL_KINDS)))
    with pytest.raises(UnreadableEvent, match=r"expected one of the outbound rules \(telemetry\), got 'hot-readings'"):
        outbound_handler([{**EVENT, "mqbridgerule": "hot-readings"}], None)
    with pytest.raises(UnreadableEvent, match=r"expected one of the outflow rules \(hot-readings\), got 'telemetry'"):
        outflow_handler([{**EVENT, "mqbridgerule": "telemetry"}], None)
