"""What a changed document means for what is running."""

from typing import Any

import pytest

from mqbridge.rules import EventStreaming, load
from mqbridge_cli.runner.blocking import may_block, stops_at_reject
from mqbridge_cli.runner.changes import Changes, Key, changes, parts
from mqbridge_cli.runner.topics import static_topics
from tests.unit.mqbridge.support import DLQ, document, inbound_rule, outbound_rule, streaming

OUT, INTO, TASK = ("outbound", "telemetry"), ("inbound", "commands"), ("outflow", "hot-readings")


def _document(**more: Any) -> dict[str, Any]:
    return document(
        **{
            "OutboundRules": [outbound_rule()],
            "InboundRules": [inbound_rule()],
            "EventStreamings": [streaming()],
            **more,
        }
    )


def _changes(new: dict[str, Any], old: dict[str, Any] | None = None) -> Changes:
    return changes(parts(load(old or _document())), parts(load(new)))


def _changed(*keys: Key) -> Changes:
    kept = tuple(key for key in (OUT, INTO, TASK) if key not in keys)
    return Changes(kept=kept, changed=tuple(key for key in (OUT, INTO, TASK) if key in keys), added=(), removed=())


def test_the_same_document_changes_nothing() -> None:
    assert _changes(_document()) == _changed()


def test_another_order_changes_nothing() -> None:
    assert not _changes(dict(reversed(_document().items()))).changed


def test_a_changed_task_is_changed_alone() -> None:
    new = _document(EventStreamings=[streaming(FilterPattern={"data": {"body": {"t": [1]}}})])
    assert _changes(new) == _changed(TASK)


def test_added_and_removed_rules() -> None:
    found = _changes(_document(OutboundRules=[], EventStreamings=[streaming(), streaming("another")]))
    assert found == Changes(kept=(INTO, TASK), changed=(), added=(("outflow", "another"),), removed=(OUT,))


def test_a_rule_that_is_disabled_is_removed_and_a_task_that_is_paused_is_changed() -> None:
    new = _document(OutboundRules=[outbound_rule(Status="Disabled")], EventStreamings=[streaming(Status="Paused")])
    found = _changes(new)
    assert (found.removed, found.changed) == ((OUT,), (TASK,))


def test_a_changed_instance_changes_the_rules_that_speak_to_it() -> None:
    new = _document()
    new["Instances"]["Mqtt"][0]["ClientIdFrom"] = {"TopicLevel": 2}
    assert _changes(new) == _changed(OUT, INTO, TASK)


def test_an_instance_that_no_rule_uses_changes_nothing() -> None:
    def naming(*others: str) -> dict[str, Any]:
        named = _document(
            OutboundRules=[], InboundRules=[], EventStreamings=[streaming(sink={"InstanceId": _constant("rmq-local")})]
        )
        for other in others:
            named["Instances"]["RocketMQ"].append({"InstanceId": other, "NameServers": ["127.0.0.1:1"]})
        return named

    assert _changes(naming("new"), naming("old")) == Changes(kept=(TASK,), changed=(), added=(), removed=())


def test_the_cluster_of_the_dead_letter_queue_counts() -> None:
    def with_queue(port: int) -> dict[str, Any]:
        named = _document(
            OutboundRules=[],
            InboundRules=[],
            EventStreamings=[
                streaming(
                    sink={"InstanceId": _constant("rmq-local")},
                    RunOptions={"DeadLetterQueue": {"Arn": "acs:mq:local:0:/instances/other/topic/letters"}},
                )
            ],
        )
        named["Instances"]["RocketMQ"].append({"InstanceId": "other", "NameServers": [f"127.0.0.1:{port}"]})
        return named

    assert _changes(with_queue(2), with_queue(1)).changed == (TASK,)


def test_changed_defaults_change_all() -> None:
    new = _document(Defaults={"RunOptions": {"DeadLetterQueue": dict(DLQ)}})
    assert _changes(new) == _changed(OUT, INTO, TASK)


def test_a_task_and_a_data_rule_of_one_name_are_two() -> None:
    found = parts(load(_document(EventStreamings=[streaming("telemetry")])))
    assert [key for key in found if key[1] == "telemetry"] == [OUT, ("outflow", "telemetry")]


# Blocking.


def _task(**options: Any) -> EventStreaming:
    return load(document(EventStreamings=[streaming(RunOptions=options)])).streamings[0]


@pytest.mark.parametrize(
    ("options", "stops", "blocks"),
    [
        ({}, True, True),
        ({"ErrorsTolerance": "NONE"}, True, True),
        ({"ErrorsTolerance": "ALL"}, False, False),
        ({"DeadLetterQueue": DLQ}, True, False),
        ({"ErrorsTolerance": "ALL", "DeadLetterQueue": DLQ}, False, False),
    ],
)
def test_which_tasks_stop_at_a_record(options: dict[str, Any], stops: bool, blocks: bool) -> None:
    """One with a queue stops only where not even a letter can be written of a record."""
    assert (stops_at_reject(_task(**options)), may_block(_task(**options))) == (stops, blocks)


def test_data_rules_never_stop_at_a_record() -> None:
    rules = load(_document())
    assert not stops_at_reject(rules.outbound[0])
    assert not stops_at_reject(rules.inbound[0])


# Topics that must exist.


def _constant(text: str) -> dict[str, str]:
    return {"Form": "CONSTANT", "Value": text}


def test_the_sink_s_topic_and_all_of_a_route_must_exist() -> None:
    route = {
        "defaultTopic": "other",
        "rules": [{"regex": "a", "targetTopics": ["one", "two"]}, {"regex": "b", "targetTopics": ["two", "three"]}],
    }
    task = load(document(EventStreamings=[streaming(Transforms=[{"Route": route}])])).streamings[0]
    assert static_topics(task) == ("alarms", "one", "two", "three", "other")


def test_a_topic_that_comes_out_of_the_event_is_looked_up_by_nobody() -> None:
    sink = {"Topic": {"Form": "JSONPATH", "Value": "$.data.body.topic"}}
    assert static_topics(load(document(EventStreamings=[streaming(sink=sink)])).streamings[0]) == ()
