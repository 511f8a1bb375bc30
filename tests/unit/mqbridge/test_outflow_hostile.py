"""Message outflow tasks and what a hostile device may publish: bounded work, no neighbour harmed, nothing of a payload told."""

import json
import time
from typing import Any

import pytest

from mqbridge import json_text
from mqbridge.events import task_event
from mqbridge.extract import Unextractable, compile_form
from mqbridge.flows import outflow
from mqbridge.mapping import ORIGIN
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Reject, Send
from mqbridge.rules import InvalidRules, Rules, format_path, load
from tests.unit.mqbridge.support import document, publish, record, streaming

MARK = "between us"


def tasks(*several: dict[str, Any]) -> Rules:
    return load(document(EventStreamings=list(several)))


def outcome_of(rules: Rules, payload: Any = b"{}", **more: Any) -> Any:
    message = publish(payload=payload if isinstance(payload, bytes) else json.dumps(payload).encode(), **more)
    (planned,) = outflow.plan([record(message)], rules)
    return planned.outcome


def at(path: str) -> dict[str, str]:
    return {"Form": "JSONPATH", "Value": path}


# Neighbours.


def two_tasks() -> Rules:
    pattern = {"data": {"props": {"qos": [1]}}}
    return tasks(streaming("one", FilterPattern=pattern), streaming("two", FilterPattern=pattern))


@pytest.mark.parametrize("time_ms", [1 << 53, -(1 << 53)])
def test_a_time_beyond_the_calendar_is_left_out_and_harms_nobody(time_ms: int) -> None:
    strange, plain = publish(payload=b"{}", time_ms=time_ms), publish(payload=b"{}")
    plans = outflow.plan([record(strange), record(plain)], two_tasks())
    assert [type(each.outcome) for each in plans] == [Send] * 4
    only = outcome_of(tasks(streaming(sink={"Body": {"Form": "ORIGINAL"}})), time_ms=time_ms)
    assert "time" not in json.loads(only.messages[0].body)


def test_a_defect_while_an_event_is_made_takes_no_neighbour_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(message: MqttMessage, **more: Any) -> Any:
        if message.message_id == "bad":
            raise ValueError(MARK)
        return task_event(message, **more)

    monkeypatch.setattr("mqbridge.flows.outflow.task_event", defective)
    bad, good = publish(payload=b"{}", message_id="bad"), publish(payload=b"{}")
    plans = outflow.plan([record(bad), record(good)], two_tasks())
    assert [type(each.outcome) for each in plans] == [Reject, Reject, Send, Send]
    assert [each.rule is not None for each in plans] == [True] * 4, "so that each task's own dead-letter queue has it"
    assert isinstance(plans[0].outcome, Reject)
    assert plans[0].outcome.reason == "unexpected_error"
    assert MARK not in plans[0].outcome.detail
    assert "ValueError" in plans[0].outcome.detail


# What one event becomes is bounded.


def rejected(rules: Rules, payload: Any = b"{}", **more: Any) -> Reject:
    outcome = outcome_of(rules, payload, **more)
    assert isinstance(outcome, Reject), outcome
    return outcome


def test_two_splits_make_no_more_parts_than_one_may() -> None:
    splits = [{"Split": {"Path": "$.data.body.a"}}, {"Split": {"Path": "$.data.body.b"}}]
    rules = tasks(streaming(Transforms=splits))
    assert rejected(rules, {"a": [1] * 1000, "b": [1] * 11}).reason == "too_many_parts"
    outcome = outcome_of(rules, {"a": [1] * 100, "b": [1] * 100})
    assert len({each.message_id for each in outcome.messages}) == 10_000


def test_what_lies_beside_a_list_is_not_copied_without_end() -> None:
    """One message of 200 KB would become 2 GB."""
    rules = tasks(streaming(Transforms=[{"Split": {"Path": "$.data.body.a"}}]))
    outcome = rejected(rules, {"a": [1] * 10_000, "blob": "x" * 200_000})
    assert (outcome.reason, outcome.stage) == ("body_too_large", "mapping")
    outcome = rejected(rules, {"a": [1] * 10_000, "blob": "x" * 200_000}, user_properties=(("k", "v" * 30_000),))
    assert outcome.reason == "body_too_large"


def test_properties_of_parts_count_too() -> None:
    properties = {"Properties": at("$.data.userProperties")}
    rules = tasks(streaming(sink=properties, Transforms=[{"Split": {"Path": "$.data.body"}}]))
    outcome = rejected(rules, [1] * 10_000, user_properties=(("k", "v" * 30_000),))
    assert outcome.reason == "body_too_large"


def test_a_copy_for_each_topic_counts_once() -> None:
    topics = [f"t{number}" for number in range(40)]
    route = {"Route": {"rules": [{"regex": "x", "targetTopics": topics}]}}
    outcome = outcome_of(tasks(streaming(Transforms=[route], BodyDataType="Text")), b"x" * 4_000_000)
    assert [each.topic for each in outcome.messages] == topics
    assert len({id(each.body) for each in outcome.messages}) == 1
    drop = {"Map": {"Drop": ["$.data.body.a"]}}
    changed = outcome_of(tasks(streaming(Transforms=[drop, route])), {"a": 1, "b": "x"})
    assert len({id(each.body) for each in changed.messages}) == 1, "it is encoded once"


# What a device says is not what the bridge says.


def test_only_the_bridge_says_where_a_message_comes_from() -> None:
    """Else a device's message could keep itself from being sent back to its topic, or pass for the bridge's own."""
    claim = {ORIGIN: "mqtt:mqtt-local/devices", "k": "v"}
    (message,) = outcome_of(tasks(streaming(sink={"Properties": at("$.data.body")})), claim).messages
    assert message.properties == {"k": "v"}


# Nothing of a payload is told.


@pytest.mark.parametrize(
    ("sink", "body"),
    [
        ({"Topic": at("$.data.body")}, MARK),
        ({"Topic": at("$.data.body")}, f"%RETRY%{MARK}"),
        ({"Topic": at("$.data.body")}, {MARK: 1}),
        ({"Tags": at("$.data.body")}, f"{MARK}||"),
        ({"Keys": at("$.data.body")}, f"{MARK}\x01"),
        ({"Properties": at("$.data.body")}, {"k": f"{MARK}\x02"}),
        ({"Properties": at("$.data.body")}, {f"{MARK}\x02": ""}),
        ({"Properties": at("$.data.body")}, {f"TIMER_{MARK}": "1"}),
        ({"Properties": at("$.data.body")}, {"UNIQ_KEY": MARK}),
    ],
)
def test_why_a_message_cannot_be_sent_tells_nothing_of_the_payload(sink: dict[str, Any], body: Any) -> None:
    outcome = rejected(tasks(streaming(sink=sink)), body)
    assert MARK not in outcome.detail
    assert outcome.detail.startswith(next(iter(sink)))
    assert "expected" in outcome.detail


def test_a_topic_that_is_not_listed_is_not_told() -> None:
    parts = document(EventStreamings=[streaming(sink={"Topic": at("$.data.body")})])
    parts["Instances"]["RocketMQ"][0]["Topics"] = ["alarms"]
    outcome = rejected(load(parts), "between-us")
    assert outcome.detail == "Topic: expected one that the instance lists, got another"


def test_which_property_of_rocketmqs_own_was_asked_for_is_told() -> None:
    outcome = rejected(tasks(streaming(sink={"Properties": at("$.data.body")})), {"DELAY": MARK})
    assert outcome.detail == "Properties: expected a name that is not empty and not RocketMQ's own, got 'DELAY'"


def test_sizes_are_told() -> None:
    assert "4194304 bytes" in rejected(tasks(streaming(BodyDataType="Text")), b"x" * (4 << 20)).detail


def test_a_user_property_that_rocketmq_would_act_on_does_not_hold_the_message_up() -> None:
    rules = tasks(streaming(sink={"Properties": at("$.data.userProperties")}))
    named = (("TIMER_DELAY_MS", "1"), ("__RMQ.TRANSIENT.x", "1"), ("DELAY", "3"), ("k", "v"))
    (message,) = outcome_of(rules, user_properties=named).messages
    assert message.properties == {"k": "v"}


# JSON.


@pytest.mark.parametrize(
    ("value", "what"),
    [([1 << 70, 10**5_000], "digits"), (json.loads("[" * 900 + str(1 << 70) + "]" * 900), "deeply")],
)
def test_what_cannot_be_written_as_json_is_told_as_such(value: Any, what: str) -> None:
    if what == "deeply":
        for _ in range(100):
            value = [value]
    with pytest.raises(json_text.InvalidJson, match=what):
        json_text.encode(value)


# Templates.


def embedding(**variables: str) -> Any:
    template = ", ".join(f'"{name}": ${{{name}}}' for name in variables if name != "o")
    return compile_form(
        "TEMPLATE",
        json.dumps(variables),
        f'{{"EB_SYS_EMBED_OBJECT": "${{o}}", {template}}}',
    )


def test_a_payload_full_of_marks_costs_no_more_than_another() -> None:
    """It took two minutes once to look for one mark after the other in 4 MB."""
    text = "".join(f"EB_SYS_EMBED_OBJECT-{number}-" for number in range(150_000))
    form = embedding(o="$.o", t="$.t")
    started = time.perf_counter()
    made = json.loads(form.extract({"o": {"k": "v"}, "t": [text]}))
    assert made == {"k": "v", "t": [text]}
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_only_python_calls_json_is_no_json_in_a_template(number: str) -> None:
    with pytest.raises(Unextractable):
        embedding(o="$.o", t="$.t").extract({"o": {}, "t": number})


# Paths.


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("$..*..*..*", b"[" * 90 + b"]" * 90),
        ("$.data.body[?count($..*) > 1]", [1] * 3000),
        ("$.data.body[?count($.data.body[?@ > 0]) > 1]", [1] * 3000),
        ("$.data.body[?@ == 1 && !($..x)]", [[1]] * 3000),
    ],
)
def test_a_path_takes_a_bounded_number_of_steps(path: str, payload: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million; less here, so that the test is short."""
    monkeypatch.setattr("mqbridge.extract.queries.MAX_STEPS", 50_000)
    outcome = rejected(tasks(streaming(sink={"Body": at(path)})), payload)
    assert (outcome.reason, outcome.stage) == ("too_many_steps", "mapping")
    outcome = rejected(tasks(streaming(Transforms=[{"Filter": {"Path": path, "Regex": "x"}}])), payload)
    assert (outcome.reason, outcome.stage) == ("too_many_steps", "transforming")
    assert outcome.detail == f"Transforms[0] Filter: {path}: expected a result within 50000 steps, got none"


def test_a_path_through_a_large_payload_has_its_result() -> None:
    rules = tasks(streaming(sink={"Body": at("$.data.body[?@.v > 1].v")}))
    for _ in range(2):  # each search has steps of its own
        (message,) = outcome_of(rules, [{"v": number} for number in range(100_000)]).messages
        assert len(json.loads(message.body)) == 99_998


def test_many_parts_of_a_wide_object_are_too_many() -> None:
    """They took half a minute, as each is a copy of the object."""
    operators = [{"Split": {"Path": "$.data.body.a"}}, {"Map": {"Keep": ["$.data.body.a"]}}]
    rules = tasks(streaming(Transforms=operators))
    wide = {f"k{number}": 1 for number in range(20_000)}
    outcome = rejected(rules, {"a": [1] * 1_001, **wide})
    assert (outcome.reason, outcome.stage) == ("too_many_parts", "transforming")
    assert len(outcome_of(rules, {"a": [1] * 100, **wide}).messages) == 100


# What a rules file says twice.


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"FilterPattern": '{"data": {"body": {"a": [1]}, "body": {"b": [2]}}}'}, "FilterPattern"),
        (
            {"sink": {"Body": {"Form": "TEMPLATE", "Value": '{"body": "$.id", "body": "$.x"}', "Template": "${body}"}}},
            "Sink.SinkRocketMQParameters.Body.Value",
        ),
    ],
)
def test_a_key_twice_in_json_text_is_a_fault_as_it_is_in_the_rules_themselves(more: Any, place: str) -> None:
    with pytest.raises(InvalidRules) as raised:
        tasks(streaming(**more))
    (fault,) = raised.value.faults
    assert format_path(fault.path) == f"EventStreamings[0].{place}"
    assert (fault.expected, fault.got) == ("every key once", "'body' twice")


def test_what_a_path_cannot_follow_so_deep_is_rejected_and_not_passed_over() -> None:
    """It was dropped by a filter, and acknowledged."""
    payload = b'{"x":' * 200 + b"1" + b"}" * 200
    outcome = rejected(tasks(streaming(Transforms=[{"Filter": {"Path": "$..x", "Regex": "1"}}])), payload)
    assert (outcome.reason, outcome.stage) == ("too_many_steps", "transforming")
    assert "deeply" in outcome.detail
    assert rejected(tasks(streaming(sink={"Keys": at("$..x")})), payload).reason == "too_many_steps"
