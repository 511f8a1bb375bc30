"""Transforms in a rules document: what is wrong with them is told at once, each with its place; and what loading them costs."""
# ruff: noqa: E501  # the rows of a table are as long as they are

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mqbridge.rules import InvalidRules, format_path, load
from tests.unit.mqbridge.support import DATA, ROOT, document
from tests.unit.mqbridge.test_cleanse import faults_of
from tests.unit.mqbridge.test_schema import accepts, data_of

MASK = {"Regex": "(a)", "Replacement": "x"}
INLINE: dict[str, Any] = {"Inline": {}}

# (the transform, code, path within it, words of what was expected, words of what came)
TABLE: list[tuple[Any, str, str, str, str]] = [
    ({}, "MB104", "", "one operator", "none"),
    ({"Split": {}, "Map": {}}, "MB104", "", "one operator", "2 keys"),
    ({"Splitt": {}}, "MB101", "Splitt", "one of the keys Split, Map", "'Splitt'"),
    ({"Split": None}, "MB104", "Split", "a mapping", "nothing"),
    ({"Split": {"Seperator": "|"}}, "MB101", "Split.Seperator", "Path, Separator", "'Seperator'"),
    ({"Split": {"Separator": ""}}, "MB104", "Split.Separator", "text", "''"),
    ({"Split": {"Separator": "|", "Regex": "a"}}, "MB216", "Split", "Separator or Regex", "both"),
    ({"Split": {"Regex": "("}}, "MB216", "Split.Regex", "a regular expression (RE2)", "missing )"),
    ({"Split": {"Regex": "a(?=b)"}}, "MB216", "Split.Regex", "a regular expression (RE2)", "look-around is not supported"),
    ({"Split": {"Path": "data.body"}}, "MB104", "Split.Path", "a path to one place", "'data.body'"),
    ({"Split": {"Path": "$.data.body[*]"}}, "MB216", "Split.Path", "a path to one place", "'$.data.body[*]'"),
    ({"Split": {"Path": "$"}}, "MB216", "Split.Path", "a path to one place", "'$'"),
    ({"Split": {"Path": "$.data["}}, "MB216", "Split.Path", "a JSONPath", "'$.data['"),
    ({"Map": {}}, "MB216", "Map", "one of Keep, Drop, Rename and Set", "none of them"),
    ({"Map": {"Keep": ["$.data.body.a", "$.data.props"]}}, "MB216", "Map.Keep[1]", "a place below $.data.body", "'$.data.props'"),
    ({"Map": {"Keep": ["$.data.body"]}}, "MB216", "Map.Keep[0]", "a place below $.data.body", "'$.data.body'"),
    ({"Map": {"Drop": ["$..a"]}}, "MB216", "Map.Drop[0]", "a path to one place", "'$..a'"),
    ({"Map": {"Rename": {"$.a[*]": "$.b"}}}, "MB216", "Map.Rename.$.a[*]", "a path to one place", "'$.a[*]'"),
    ({"Map": {"Rename": {"$.a": "$.b[*]"}}}, "MB216", "Map.Rename.$.a", "a path to one place", "'$.b[*]'"),
    ({"Map": {"Rename": {"$.a": "$.c", "$.b": "$['c']"}}}, "MB216", "Map.Rename.$.b", "a place that nothing else is renamed to", "$['c']"),
    ({"Map": {"Rename": {"$.a": 7}}}, "MB104", "Map.Rename.$.a", "a path to one place", "7"),
    ({"Map": {"Rename": []}}, "MB104", "Map.Rename", "a mapping of places to their new places", "a list"),
    ({"Map": {"Set": {"$.a": {"Form": "JSONPATH"}}}}, "MB216", "Map.Set.$.a.Value", "a JSONPath", "nothing"),
    ({"Map": {"Set": {"$.a": {"Form": "TEMPLATE", "Value": "{}"}}}}, "MB216", "Map.Set.$.a.Template", "text", "nothing"),
    ({"Map": {"Set": {"$.a": {"Form": "TEXT"}}}}, "MB104", "Map.Set.$.a.Form", "ORIGINAL", "'TEXT'"),
    ({"Map": {"Set": {"$": {"Form": "ORIGINAL"}}}}, "MB216", "Map.Set.$", "a path to one place", "'$'"),
    ({"Mask": {"Regex": "a"}}, "MB102", "Mask.Replacement", "text", "nothing"),
    ({"Mask": {**MASK, "Replacement": "$1"}}, "MB216", "Mask.Replacement", r"\1 for what the first group found", "'$1'"),
    ({"Mask": {**MASK, "Replacement": "${1}"}}, "MB216", "Mask.Replacement", r"\1 for what the first group found", "'${1}'"),
    ({"Mask": {**MASK, "Replacement": r"\n"}}, "MB216", "Mask.Replacement", r"\1 to \9", r"'\\n'"),
    ({"Mask": {**MASK, "Replacement": "\\"}}, "MB216", "Mask.Replacement", r"\1 to \9", r"'\\'"),
    ({"Mask": {**MASK, "Replacement": r"\2"}}, "MB216", "Mask.Replacement", "no more than the 1 group of Regex", r"\2"),
    ({"Mask": {**MASK, "Regex": "a", "Replacement": r"\1"}}, "MB216", "Mask.Replacement", "no more than the 0 groups of Regex", r"\1"),
    ({"Mask": {**MASK, "Field": 1}}, "MB216", "Mask.Separator", "what separates the fields", "nothing"),
    ({"Mask": {**MASK, "Field": -1, "Separator": ","}}, "MB104", "Mask.Field", "0 to 9999", "-1"),
    ({"Mask": {**MASK, "Path": "$.a.*"}}, "MB216", "Mask.Path", "a path of names, indexes and [*]", "'$.a.*'"),
    ({"Filter": {}}, "MB216", "Filter", "Regex or Pattern", "none"),
    ({"Filter": {"Regex": "a", "Pattern": {}}}, "MB216", "Filter", "Regex or Pattern", "both"),
    ({"Filter": {"Pattern": {"a": {"b": []}}}}, "MB216", "Filter.Pattern.a.b", "at least one value or condition", "an empty list"),
    ({"Filter": {"Pattern": "{"}}, "MB216", "Filter.Pattern", "JSON", ""),
    ({"Filter": {"Pattern": []}}, "MB104", "Filter.Pattern", "an event pattern", "a list"),
    ({"Filter": {"Regex": "a", "Path": "$.["}}, "MB216", "Filter.Path", "a JSONPath", "'$.['"),
    ({"Enrich": {"Key": "$.a"}}, "MB102", "Enrich.From", "one of Inline, File and DynamoDB", "nothing"),
    ({"Enrich": {"Key": "$.a", "From": {}}}, "MB104", "Enrich.From", "one of Inline, File and DynamoDB", "none"),
    ({"Enrich": {"Key": "$.a", "From": {"Inline": {"a": "b"}}}}, "MB104", "Enrich.From.Inline.a", "a row", "'b'"),
    ({"Enrich": {"Key": "$.a", "From": {"File": {"Path": "t.xlsx"}}}}, "MB104", "Enrich.From.File.Path", "a .csv or .json file", "'t.xlsx'"),
    ({"Enrich": {"Key": "$.a", "From": {"DynamoDB": {"Table": "a b", "KeyName": "k"}}}}, "MB104", "Enrich.From.DynamoDB.Table", "the name of a DynamoDB table", "'a b'"),
    ({"Enrich": {"Key": "$.a[", "From": INLINE}}, "MB216", "Enrich.Key", "a JSONPath", "'$.a['"),
    ({"Enrich": {"Key": "$.a", "From": INLINE, "Into": "$"}}, "MB216", "Enrich.Into", "a path to one place", "'$'"),
    ({"Enrich": {"Key": "$.a", "From": INLINE, "OnMissing": "Ignore"}}, "MB104", "Enrich.OnMissing", "Keep or Drop or Reject", "'Ignore'"),
    ({"Enrich": {"Key": "$.a", "From": INLINE, "Ttl": -1}}, "MB104", "Enrich.Ttl", "seconds, 0 to 86400", "-1"),
    ({"Route": {"defaultTopic": "t"}}, "MB102", "Route.rules", "a list", "nothing"),
    ({"Route": {"rules": [{"regex": "*", "targetTopics": ["t"]}]}}, "MB216", "Route.rules[0].regex", "a regular expression (RE2)", "repetition"),
    ({"Route": {"rules": [{"regex": "a", "targetTopics": []}]}}, "MB104", "Route.rules[0].targetTopics", "at least 1", "a list"),
    ({"Route": {"rules": [{"regex": "a", "targetTopics": ["a/b"]}]}}, "MB104", "Route.rules[0].targetTopics[0]", "a RocketMQ topic", "'a/b'"),
    ({"Route": {"rules": [], "defaultTopic": "%DLQ%g"}}, "MB104", "Route.defaultTopic", "not a system topic", "'%DLQ%g'"),
    ({"Function": {}}, "MB102", "Function.Arn", "arn:aws:lambda", "nothing"),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: json.dumps(row[0])[:80])
def test_a_fault_of_a_transform_has_its_code_path_and_words(row: tuple[Any, str, str, str, str]) -> None:
    declared, code, path, expected, got = row
    operators, told = faults_of([{"Split": {}}, declared])
    assert len(told) == 1, told
    place = f"[1].{path}" if path else "[1]"
    assert told[0].startswith(f":1:1 {code} {place}: expected ")
    before, _, after = told[0].partition(", got ")
    assert expected in before
    assert got in after
    assert len(operators) == (1 if code == "MB216" else 0)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: json.dumps(row[0])[:80])
def test_the_schema_refuses_what_cannot_be_read_and_leaves_the_rest_to_compiling(
    row: tuple[Any, str, str, str, str],
) -> None:
    declared, code, *_ = row
    whole = data_of(ROOT / "examples" / "transforms" / "split.yaml")
    whole["EventStreamings"][0]["Transforms"] = [declared]
    assert accepts(whole) is (code == "MB216")


def test_all_faults_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    transforms = """
      - Mask: {Path: "$.a.*", Regex: "(", Replacement: $1}
      - Map:
          Keep: [$.data.body.a, $.data.x, "$.b[*]"]
          Rename: {"$..a": "$..b"}
          Set: {"$.c[*]": {Form: JSONPATH, Value: "$["}}
      - Route:
          rules:
            - {regex: ")", targetTopics: [alarms]}
            - {regex: a, targetTopics: [alarms]}
            - {regex: "(?<a", targetTopics: [alarms]}
"""
    text = (DATA / "rules.yaml").read_text().replace("    Transforms: []\n", f"    Transforms:{transforms}", 1)
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRules) as raised:
        load(path)
    faults = raised.value.faults
    base = "EventStreamings[0].Transforms"
    assert [(fault.code, format_path(fault.path)) for fault in faults] == [
        ("MB216", f"{base}[0].Mask.Path"),
        ("MB216", f"{base}[0].Mask.Regex"),
        ("MB216", f"{base}[0].Mask.Replacement"),
        ("MB216", f"{base}[1].Map.Keep[1]"),
        ("MB216", f"{base}[1].Map.Keep[2]"),
        ("MB216", f"{base}[1].Map.Rename.$..a"),
        ("MB216", f"{base}[1].Map.Rename.$..a"),
        ("MB216", f"{base}[1].Map.Set.$.c[*]"),
        ("MB216", f"{base}[1].Map.Set.$.c[*].Value"),
        ("MB216", f"{base}[2].Route.rules[0].regex"),
        ("MB216", f"{base}[2].Route.rules[2].regex"),
    ]
    lines = text.splitlines()
    for fault in faults:
        key = str([part for part in fault.path if isinstance(part, str)][-1])
        assert key in lines[fault.line - 1], fault


def test_a_document_with_any_operator_loads() -> None:
    transforms = [
        {"Split": {"Path": "$.data.body.rows"}},
        {"Enrich": {"Key": "$.a", "From": {"File": {"Path": "no/such/file.csv"}}}},
        {"Enrich": {"Key": "$.a", "From": {"DynamoDB": {"Table": "sites", "KeyName": "id"}}}},
        {"Function": {"Arn": "python:transforms.not_shipped_here:clean"}},
        {"Arn": "arn:aws:lambda:eu-central-1:123456789012:function:clean"},
    ]
    task = json.loads((DATA / "create-event-streaming.json").read_text())
    whole = document(EventStreamings=[{**task, "Transforms": transforms}])
    whole["Instances"]["Mqtt"][0]["InstanceId"] = "mqtt-x"
    whole["Instances"]["RocketMQ"][0]["InstanceId"] = "rmq-x"
    rules = load(whole)
    assert [operator.name for operator in rules.tasks[0].operators] == [
        "Split",
        "Enrich",
        "Enrich",
        "Function",
        "Function",
    ]


def test_an_operator_whose_name_is_not_known_is_told_once() -> None:
    task = json.loads((DATA / "create-event-streaming.json").read_text())
    del task["Source"]["SourceMQTTParameters"]["InstanceId"], task["Sink"]["SinkRocketMQParameters"]["InstanceId"]
    with pytest.raises(InvalidRules) as raised:
        load(document(EventStreamings=[{**task, "Transforms": [{"Splitt": {}}]}]))
    (fault,) = raised.value.faults
    assert (fault.code, fault.help) == ("MB101", "did you mean Split?")


def loaded_after(statement: str) -> set[str]:
    """Return the modules that an interpreter of its own has after a statement."""
    path = [str(ROOT / "layers" / "common")]
    script = f"import sys; sys.path[:0] = {path!r}; {statement}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env={}
    )
    return set(done.stdout.split())


HEAVY = {"boto3", "botocore", "csv", "re2", "jsonpath_rfc9535", "asyncio", "ssl"}


def test_operators_cost_a_cold_start_nothing_that_only_some_of_them_need() -> None:
    loaded = loaded_after("import mqbridge.cleanse, mqbridge.rules.transforms")
    assert "mqbridge.cleanse.tables" in loaded
    assert HEAVY & loaded == set()


def test_declaring_operators_loads_none() -> None:
    loaded = loaded_after("import mqbridge.rules.operators")
    assert {"mqbridge.cleanse", "msgspec"} & loaded == set()


def test_a_task_without_transforms_declares_no_operators() -> None:
    loaded = loaded_after("import mqbridge.rules.streamings")
    assert {"mqbridge.rules.operators", "mqbridge.cleanse"} & loaded == set()
