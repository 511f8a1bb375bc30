"""Rules that load: from every format, complete, resolved, with what the managed service limits and how that is lifted."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mqbridge.rules import InvalidRules, RetryStrategy, Rule, Rules, load
from mqbridge.rules.document import RulesDocument
from mqbridge.rules.kinds import Kind, ListOf, Section, Setting, settings_of
from tests.unit.mqbridge.support import (
    DATA,
    MQTT_INSTANCE,
    ROCKETMQ_INSTANCE,
    ROOT,
    document,
    inbound_rule,
    outbound_rule,
)


def status_rule(rule_id: str = "presence", group: str = "GID_sensor", topic: str = "status") -> dict[str, Any]:
    return {"RuleId": rule_id, "Source": {"GroupId": group}, "Destination": {"Topic": topic}}


def task(name: str = "task", **more: Any) -> dict[str, Any]:
    sink = {"Topic": {"Form": "CONSTANT", "Value": "alarms"}, "Body": {"Form": "ORIGINAL"}}
    return {
        "EventStreamingName": name,
        "Source": {"SourceMQTTParameters": {"Topic": "devices"}},
        "Sink": {"SinkRocketMQParameters": sink},
        **more,
    }


def all_of(rules: Rules) -> list[Rule]:
    return [*rules.outbound, *rules.inbound, *rules.status, *rules.streamings]


def is_loaded(whole: dict[str, Any]) -> bool:
    try:
        load(whole)
    except InvalidRules:
        return False
    return True


# Formats.


def test_yaml_json_toml_text_and_mapping_say_the_same(tmp_path: Path) -> None:
    toml = """
    [[Instances.Mqtt]]
    InstanceId = "mqtt-local"
    Endpoint = "mqtt://127.0.0.1:1883"
    [[Instances.RocketMQ]]
    InstanceId = "rmq-local"
    NameServers = ["127.0.0.1:9876"]
    [[OutboundRules]]
    RuleId = "telemetry"
    Source = {Topic = "devices"}
    Destination = {Topic = "telemetry"}
    """
    mapping = document(OutboundRules=[outbound_rule()])
    text = json.dumps(mapping)
    files = {"a.yaml": yaml.safe_dump(mapping), "a.yml": yaml.safe_dump(mapping), "a.json": text, "a.toml": toml}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    sources: list[Any] = [mapping, text, " \n" + text, *[tmp_path / name for name in files], str(tmp_path / "a.json")]
    loaded = [load(source) for source in sources]
    assert len({rules.digest for rules in loaded}) == 1
    assert all(rules.outbound == loaded[0].outbound and rules.mqtt == loaded[0].mqtt for rules in loaded)


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path) -> None:
    for name, text in (("a.json", json.dumps(document())), ("a.yaml", yaml.safe_dump(document()))):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert load(tmp_path / name).digest == load(document()).digest


def test_the_name_is_where_the_document_came_from(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(document()))
    assert load(path).name == str(path)
    assert load(json.dumps(document())).name.startswith("(rules)")


def test_the_digest_tells_documents_apart_and_not_their_layout() -> None:
    one = document(OutboundRules=[outbound_rule()])
    assert load(one).digest == load(json.dumps(one, indent=3)).digest
    assert load(one).digest == load(dict(reversed(one.items()))).digest
    assert load(one).digest != load(document(OutboundRules=[outbound_rule(topic="other")])).digest


def test_a_document_without_rules_is_sound() -> None:
    rules = load(document())
    assert (rules.outbound, rules.inbound, rules.status, rules.streamings, rules.notices) == ((), (), (), (), ())


# Examples.


def test_the_example_of_the_design_loads() -> None:
    rules = load(DATA / "design-example.yaml")
    assert [rule.rule_id for rule in all_of(rules)] == [
        "telemetry",
        "commands",
        "presence",
        "hot-readings",
    ]
    assert rules.notices == ()


def test_every_optional_key_of_the_design_loads_as_it_is_written_there() -> None:
    rules = load(DATA / "design-optional-keys.yaml")
    assert rules.notices == ()
    assert [rules.mqtt[name].protocol_level for name in ("mqtt-plain", "mqtt-signed")] == [5, 4]


def test_the_demo_s_rules_load() -> None:
    rules = load(ROOT / "examples" / "demo" / "rules.yaml")
    assert rules.notices == ()
    assert rules.outbound
    assert rules.inbound


def test_the_body_of_create_event_streaming_loads_with_notices_of_what_is_ignored() -> None:
    body = json.loads((DATA / "create-event-streaming.json").read_text())
    whole = document(EventStreamings=[body])
    whole["Instances"]["Mqtt"][0]["InstanceId"] = "mqtt-x"
    whole["Instances"]["RocketMQ"][0]["InstanceId"] = "rmq-x"
    rules = load(whole)
    (streaming,) = rules.streamings
    assert streaming.name == "mqtt-out"
    assert streaming.run_options.errors_tolerance == "ALL"
    assert streaming.run_options.batch_window is not None
    assert (streaming.run_options.batch_window.count, streaming.run_options.batch_window.seconds) == (100, 3)
    ignored = {notice.path[-1] for notice in rules.notices}
    assert ignored == {"RegionId", "MaximumTasks"}
    assert all(notice.code == "MB301" and notice.is_notice for notice in rules.notices)
    assert all(re.search("expected nothing: .+ignored", notice.text("x")) for notice in rules.notices)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ((), "RegionId", "cn-hangzhou"),
        ((), "Tags", [{"Key": "a", "Value": "b"}]),
        (("Source", "SourceMQTTParameters"), "RegionId", "cn-hangzhou"),
        (("Source", "SourceMQTTParameters"), "VpcId", "vpc-1"),
        (("Source", "SourceMQTTParameters"), "VSwitchIds", "vsw-1"),
        (("Source", "SourceMQTTParameters"), "SecurityGroupId", "sg-1"),
        (("Sink", "SinkRocketMQParameters"), "Network", "PublicNetwork"),
        (("Sink", "SinkRocketMQParameters"), "VpcId", "vpc-1"),
        (("RunOptions",), "MaximumTasks", 3),
        (("RunOptions",), "BusinessOption", {"BusinessMode": "CapacityUnitMode"}),
    ],
)
def test_what_the_api_takes_and_means_nothing_here_is_a_notice(place: tuple[str, ...], key: str, value: Any) -> None:
    entry = task(RunOptions={})
    section = entry
    for part in place:
        section = section[part]
    section[key] = value
    (notice,) = load(document(EventStreamings=[entry])).notices
    assert notice.path == ("EventStreamings", 0, *place, key)
    assert notice.code == "MB301"


def test_what_is_ignored_leaves_no_trace_in_the_rules() -> None:
    plain, noticed = task(), task(RegionId="cn-hangzhou")
    assert load(document(EventStreamings=[plain])).streamings == load(document(EventStreamings=[noticed])).streamings


@pytest.mark.parametrize("word", ["JSON", "json", "Json", "TEXT", "binary"])
def test_the_body_data_type_may_be_spelt_as_the_api_s_examples_do(word: str) -> None:
    entry = task()
    entry["Source"]["SourceMQTTParameters"]["BodyDataType"] = word
    (streaming,) = load(document(EventStreamings=[entry])).streamings
    assert streaming.source.mqtt.body_data_type == {"j": "JSON", "t": "Text", "b": "Binary"}[word[0].lower()]


# Limits: the managed service's by default, each to be lifted.


def two_regions() -> dict[str, Any]:
    whole = document(OutboundRules=[outbound_rule()])
    whole["Instances"]["Mqtt"][0]["Region"] = "here"
    whole["Instances"]["RocketMQ"][0]["Region"] = "there"
    return whole


def rocketmq_5() -> dict[str, Any]:
    whole = document(InboundRules=[inbound_rule()], StatusRules=[status_rule()])
    whole["Instances"]["RocketMQ"][0]["Version"] = "5.3.1"
    return whole


def many_rules(count: int) -> dict[str, Any]:
    return document(OutboundRules=[outbound_rule(f"rule-{at}", f"parent-{at}") for at in range(count)])


@pytest.mark.parametrize(
    ("whole", "limit"),
    [
        (two_regions(), {"CrossRegion": "Allowed"}),
        (rocketmq_5(), {"RocketMQVersions": ["4.x", "5.x"]}),
        (rocketmq_5(), {"RocketMQVersions": ["5.x"]}),
        (many_rules(101), {"RulesPerInstance": 101}),
        (document(OutboundRules=[outbound_rule(parent="Geräte")]), {"Names": "Mqtt"}),
        (document(InboundRules=[inbound_rule(parent="a")]), {"Names": "Mqtt"}),
        (document(StatusRules=[status_rule(group="sensors")]), {"Names": "Mqtt"}),
        (document(OutboundRules=[outbound_rule("one-1", "abc"), outbound_rule("two-2", "ABC")]), {"Names": "Mqtt"}),
    ],
)  # fmt: skip
def test_a_limit_holds_until_it_is_lifted(whole: dict[str, Any], limit: dict[str, Any]) -> None:
    assert not is_loaded(whole)
    assert is_loaded(whole | {"Limits": limit})


def test_the_limits_are_the_managed_service_s_unless_lifted() -> None:
    limits = load(document()).limits
    assert (
        limits.rules_per_instance,
        limits.rocketmq_versions,
        limits.cross_region,
        limits.max_topic_length,
        limits.names,
    ) == (
        100,
        ("4.x",),
        "Refused",
        128,
        "Managed",
    )
    assert load(document(Limits={"MaxTopicLength": 64})).limits.max_topic_length == 64


def test_a_hundred_rules_are_within_the_limit_whatever_their_types() -> None:
    whole = many_rules(50)
    whole["InboundRules"] = [inbound_rule(f"in-{at}", parent=f"parent-{at}") for at in range(49)]
    assert is_loaded(whole | {"StatusRules": [status_rule()]})
    assert not is_loaded(whole | {"StatusRules": [status_rule(), status_rule("presence-2", "GID_two")]})


def test_the_limit_of_rules_is_each_instance_s_own() -> None:
    whole = many_rules(101)
    whole["Instances"]["Mqtt"].append({**MQTT_INSTANCE, "InstanceId": "mqtt-2"})
    for at, rule in enumerate(whole["OutboundRules"]):
        rule["Source"]["InstanceId"] = "mqtt-2" if at else "mqtt-local"
    assert is_loaded(whole)


def test_tasks_may_use_rocketmq_5_and_do_not_count_as_rules() -> None:
    whole = document(EventStreamings=[task(f"task-{at}") for at in range(120)])
    whole["Instances"]["RocketMQ"][0]["Version"] = "5.x"
    assert is_loaded(whole)


def test_regions_are_compared_where_both_instances_name_one() -> None:
    whole = two_regions()
    del whole["Instances"]["Mqtt"][0]["Region"]
    assert is_loaded(whole)


@pytest.mark.parametrize("limits", [{}, {"Names": "Mqtt", "RulesPerInstance": 1000}])
def test_one_rule_of_each_type_per_parent_always_holds(limits: dict[str, Any]) -> None:
    assert is_loaded(document(Limits=limits, OutboundRules=[outbound_rule()], InboundRules=[inbound_rule()]))
    assert not is_loaded(document(Limits=limits, OutboundRules=[outbound_rule(), outbound_rule("again")]))
    assert not is_loaded(document(Limits=limits, InboundRules=[inbound_rule(), inbound_rule("again")]))
    assert not is_loaded(document(Limits=limits, StatusRules=[status_rule(), status_rule("again")]))


def test_managed_parent_topics_differ_in_more_than_case() -> None:
    pair = [outbound_rule("one-1", "Devices"), outbound_rule("two-2", "devices")]
    assert not is_loaded(document(OutboundRules=pair))


def test_the_same_parent_of_two_instances_is_two_parents() -> None:
    whole = document(OutboundRules=[outbound_rule("one-1"), outbound_rule("two-2")])
    whole["Instances"]["Mqtt"].append({**MQTT_INSTANCE, "InstanceId": "mqtt-2"})
    for rule, name in zip(whole["OutboundRules"], ("mqtt-local", "mqtt-2"), strict=True):
        rule["Source"]["InstanceId"] = name
    rules = load(whole)
    assert set(rules.outbound_by_parent) == {("mqtt-local", "devices"), ("mqtt-2", "devices")}


@pytest.mark.parametrize(
    "start", ["FIRST", "LAST", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+08:00", "2026-01-01t00:00:00z"]
)
def test_a_start_is_last_first_or_an_rfc_3339_time(start: str) -> None:
    """RFC 3339, 5.6: "T" and "Z" may be lower case, and the fault's own text promises no less."""
    rule = inbound_rule()
    rule["Source"]["StartFrom"] = start
    assert load(document(InboundRules=[rule])).inbound[0].source.start_from == start


def test_a_consumer_group_is_named_after_its_rule_unless_it_is_given() -> None:
    given = inbound_rule("given", parent="given")
    given["Source"]["GroupId"] = "GID_mine"
    rules = load(document(InboundRules=[inbound_rule("plain", parent="plain"), given]))
    assert [rule.consumer_group for rule in rules.inbound] == ["GID_mqbridge_plain", "GID_mine"]


# What a rule leaves out.


def test_the_only_instance_of_a_kind_may_be_left_out() -> None:
    rules = load(
        document(
            OutboundRules=[outbound_rule()],
            InboundRules=[inbound_rule()],
            StatusRules=[status_rule()],
            EventStreamings=[task()],
        )
    )
    (out,), (back,), (status,), (streaming,) = rules.outbound, rules.inbound, rules.status, rules.streamings
    assert (out.source.instance_id, out.destination.instance_id) == ("mqtt-local", "rmq-local")
    assert (back.source.instance_id, back.destination.instance_id) == ("rmq-local", "mqtt-local")
    assert (status.source.instance_id, status.destination.instance_id) == ("mqtt-local", "rmq-local")
    assert streaming.source.mqtt.instance_id == "mqtt-local"
    assert streaming.sink.rocketmq.instance_id is not None
    assert streaming.sink.rocketmq.instance_id.value == "rmq-local"


def test_rules_are_found_by_where_their_messages_come_from() -> None:
    two = [inbound_rule("in-1", parent="aaa"), inbound_rule("in-2", parent="bbb"), inbound_rule("in-3", "other", "ccc")]
    rules = load(document(OutboundRules=[outbound_rule()], InboundRules=two))
    assert list(rules.outbound_by_parent) == [("mqtt-local", "devices")]
    assert {place: [rule.rule_id for rule in found] for place, found in rules.inbound_by_topic.items()} == {
        ("rmq-local", "commands"): ["in-1", "in-2"],
        ("rmq-local", "other"): ["in-3"],
    }


RETRY_10 = {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY", "MaximumRetryAttempts": 10}


def with_defaults(own: dict[str, Any] | None = None) -> Rules:
    defaults = {
        "ErrorsTolerance": "ALL",
        "RetryStrategy": RETRY_10,
        "DeadLetterQueue": {"Arn": "acs:mq:local:0:/instances/rmq-local/topic/all"},
        "BatchWindow": {"CountBasedWindow": 7},
        "Throttling": 70,
    }
    more: dict[str, Any] = {} if own is None else {"RunOptions": own}
    return load(
        document(
            Defaults={"RunOptions": defaults},
            OutboundRules=[outbound_rule(**more)],
            InboundRules=[inbound_rule(**more)],
            StatusRules=[{**status_rule(), **more}],
            EventStreamings=[task(**more)],
        )
    )


def test_defaults_hold_for_every_kind_of_rule_that_says_nothing_else() -> None:
    rules = with_defaults()
    for rule in all_of(rules):
        assert rule.run_options == rules.run_options
        assert rule.run_options.retry_strategy == RetryStrategy(
            push_retry_strategy="EXPONENTIAL_DECAY_RETRY", maximum_retry_attempts=10
        )


def test_a_rule_s_own_options_win_one_by_one() -> None:
    rules = with_defaults({"ErrorsTolerance": "NONE", "RetryStrategy": {"PushRetryStrategy": "BACKOFF_RETRY"}})
    for rule in all_of(rules):
        options = rule.run_options
        assert options.errors_tolerance == "NONE"
        assert options.retry_strategy == RetryStrategy(), "an option is replaced whole, not mixed"
        assert options.dead_letter_queue is not None
        assert options.dead_letter_queue.instance_and_topic == ("rmq-local", "all")
        assert options.throttling == 70


def test_without_defaults_options_are_open() -> None:
    options = load(document(OutboundRules=[outbound_rule()])).outbound[0].run_options
    assert {getattr(options, field.name) for field in dataclasses.fields(options)} == {None}


def test_loading_does_not_change_the_mapping_that_it_is_given() -> None:
    whole = document(OutboundRules=[outbound_rule()], EventStreamings=[task()])
    before = json.dumps(whole)
    load(whole)
    assert json.dumps(whole) == before


def test_rules_cannot_be_changed() -> None:
    rules = load(document(OutboundRules=[outbound_rule()]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.name = "other"  # type: ignore[misc]  # which is what must not work
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.outbound[0].status = "Disabled"  # type: ignore[misc]


# Declarations.


def declared(section: type = RulesDocument, path: str = "") -> list[tuple[str, Setting]]:
    """Return every setting of the document, with its path."""
    found: list[tuple[str, Setting]] = []
    for setting in settings_of(section).values():
        at = f"{path}.{setting.key}" if path else setting.key
        found.append((at, setting))
        kind = setting.kind
        while isinstance(kind, ListOf):
            kind = kind.kind
        if isinstance(kind, Section):
            found += declared(kind.cls, at)
    return found


def kinds() -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for path, setting in declared():
        kind: Kind = setting.kind
        found[path] = kind
        while isinstance(kind, ListOf):
            kind = kind.kind
            path += "[]"
            found[path] = kind
    return found


def test_every_setting_has_a_key_in_the_field_s_spelling_and_says_what_it_is() -> None:
    """The reference page is made of these texts; each ends in a full stop."""
    assert len(declared()) > 200
    assert [path for path, setting in declared() if not re.fullmatch(r"\S.{3,}\.", setting.doc)] == []
    others = {setting.key for _, setting in declared() if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", setting.key)}
    assert others == {"defaultTopic", "rules", "regex", "targetTopics"}, "Route takes Alibaba's JSON as it stands"


def reads_well(kind: Kind) -> bool:
    """Tell whether `expected X, got Y` reads well: X is a phrase that starts lower case, or with a word of the file itself."""
    what = kind.what
    first = what.split()[0] if what else ""
    of_the_file = (*getattr(kind, "words", ()), "LAST,", "Source,")
    return (
        first != ""
        and what == what.strip()
        and "\n" not in what
        and len(what) < 160
        and not what.endswith((".", ",", ":"))
        and first.lower() not in ("expected", "must", "should", "invalid")
        and (first in of_the_file or not first[0].isupper())
    )


def test_what_a_kind_expects_reads_well_after_expected() -> None:
    assert len(kinds()) > 200
    assert {path: kind.what for path, kind in kinds().items() if not reads_well(kind)} == {}


def test_every_example_of_a_setting_is_one() -> None:
    for path, setting in declared():
        if setting.example is not None:
            faults: list[Any] = []
            setting.kind.read(setting.example, (), faults)
            assert faults == [], path


def test_every_section_says_what_it_is() -> None:
    sections = {kind.cls for kind in kinds().values() if isinstance(kind, Section)}
    assert len(sections) > 15
    for section in sections:
        assert section.__doc__
        assert section.__doc__.strip().endswith("."), section
        assert not section.__doc__.startswith(section.__name__ + "("), f"{section} has only the dataclass's own text"


def test_a_minimal_instance_needs_a_name_and_an_address_only() -> None:
    assert is_loaded(document())
    for key in MQTT_INSTANCE:
        whole = document()
        del whole["Instances"]["Mqtt"][0][key]
        assert not is_loaded(whole)
    for key in ROCKETMQ_INSTANCE:
        whole = document()
        del whole["Instances"]["RocketMQ"][0][key]
        assert not is_loaded(whole)
