"""Event patterns: every sentence of docs/patterns.md, as data, and properties that no table can hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge import patterns
from mqbridge.rules import InvalidRules, load
from mqbridge_cli.main import main
from tests.unit.mqbridge.support import DATA

CASES: dict[str, Any] = json.loads((DATA / "pattern-cases.json").read_text())

_scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("ab*", max_size=3)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.$", max_size=3), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [case[1:] for case in CASES["matches"]],
    ids=[case[0] for case in CASES["matches"]],
)
def test_pattern_matches_what_its_specification_says(pattern: Any, event: Any, expected: bool) -> None:
    assert patterns.compile(pattern).matches(event) is expected
    assert patterns.compile(json.dumps(pattern)).matches(event) is expected


@pytest.mark.parametrize(
    ("pattern", "path"), [case[1:] for case in CASES["invalid"]], ids=[case[0] for case in CASES["invalid"]]
)
def test_invalid_pattern_names_its_path(pattern: Any, path: str) -> None:
    with pytest.raises(patterns.InvalidPattern) as raised:
        patterns.compile(pattern)
    assert str(raised.value).startswith(f"{path}: expected ")
    assert raised.value.expected
    assert raised.value.got


@given(
    pattern=st.dictionaries(st.text("ab.$", max_size=3), _json, max_size=3),
    event=st.dictionaries(st.text("ab.", max_size=3), _json),
)
def test_any_json_is_a_pattern_that_answers_or_an_invalid_one(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    try:
        compiled = patterns.compile(pattern)
    except patterns.InvalidPattern:
        return
    assert compiled.matches(event) in (True, False)


@given(value=_scalars)
def test_every_value_matches_itself_and_not_anything_but_itself(value: Any) -> None:
    assert patterns.compile({"a": [value]}).matches({"a": value})
    if value is not None:
        assert not patterns.compile({"a": [{"anything-but": value}]}).matches({"a": value})


@given(first=_scalars, second=_scalars, seen=_scalars)
def test_a_list_holds_if_one_of_its_elements_does(first: Any, second: Any, seen: Any) -> None:
    either = patterns.compile({"a": [first, second]}).matches({"a": seen})
    assert either == (
        patterns.compile({"a": [first]}).matches({"a": seen}) or patterns.compile({"a": [second]}).matches({"a": seen})
    )


@given(text=st.text("ab*\\", max_size=8))
def test_escaped_text_is_a_wildcard_for_itself_alone(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("*", "\\*")
    pattern = patterns.compile({"a": [{"wildcard": escaped}]})
    assert pattern.matches({"a": text})
    assert not pattern.matches({"a": text + "x"})


def test_faulty_filter_of_a_task_is_a_fault_with_its_path() -> None:
    task = {
        "EventStreamingName": "hot",
        "FilterPattern": {"data": {"body": {"temperature": 80}}},
        "Source": {"SourceMQTTParameters": {"Topic": "devices"}},
        "Sink": {"SinkRocketMQParameters": {"Topic": {"Form": "CONSTANT", "Value": "t"}, "Body": {"Form": "ORIGINAL"}}},
    }
    rules = {
        "Instances": {
            "Mqtt": [{"InstanceId": "m", "Endpoint": "mqtt://h"}],
            "RocketMQ": [{"InstanceId": "r", "NameServers": ["h:1"]}],
        },
        "EventStreamings": [task],
    }
    with pytest.raises(
        InvalidRules, match=r"MB215 EventStreamings\[0\]\.FilterPattern\.data\.body\.temperature: expected a list"
    ):
        load(rules)


@pytest.mark.parametrize(
    ("pattern", "event", "code", "output"),
    [
        ('{"a": [1]}', '{"a": 1}', 0, "true\n"),
        ('{"a": [1]}', '{"a": 2}', 1, "false\n"),
        ('{"a": 1}', '{"a": 1}', 2, ""),
        ('{"a": [1]}', "[]", 2, ""),
        ('{"a": [1]}', "no JSON", 2, ""),
    ],
)
def test_match_prints_and_exits_by_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pattern: str, event: str, code: int, output: str
) -> None:
    (tmp_path / "pattern.json").write_text(pattern)
    (tmp_path / "event.json").write_text(event)
    assert main(["match", "--pattern", str(tmp_path / "pattern.json"), "--event", str(tmp_path / "event.json")]) == code
    assert capsys.readouterr().out == output


EXPLAINED: list[tuple[str, Any, Any, list[tuple[str, str, bool, str]]]] = [
    ("a match", {"a": [1, 2]}, {"a": 2}, [("$.a", "2", True, "")]),
    ("nothing like it", {"a": [1]}, {"b": 2}, [("$.a", "nothing", False, "")]),
    (
        "a number for a text",
        {"a": ["300"]},
        {"a": 300},
        [("$.a", "300", False, 'the value is the number 300, the pattern has the text "300"')],
    ),
    (
        "a text for a number",
        {"a": [300]},
        {"a": "300"},
        [("$.a", '"300"', False, 'the value is the text "300", the pattern has the number 300')],
    ),
    (
        "a text for true",
        {"a": [True]},
        {"a": "true"},
        [("$.a", '"true"', False, 'the value is the text "true", the pattern has true')],
    ),
    (
        "a text for a range",
        {"a": [{"numeric": [">", 80]}]},
        {"a": "85.5"},
        [("$.a", '"85.5"', False, 'the value is the text "85.5", the pattern asks for a number')],
    ),
    (
        "another case",
        {"a": ["on"]},
        {"a": "ON"},
        [("$.a", '"ON"', False, 'the value is "ON", the pattern has "on": another case')],
    ),
    (
        "a key in another case",
        {"a": ["on"]},
        {"A": "on"},
        [("$.a", "nothing", False, 'the event has the key "A" here: another case')],
    ),
    (
        "a key at another depth",
        {"a": ["on"]},
        {"x": [{"y": {"a": "on"}}]},
        [("$.a", "nothing", False, 'the event has the key "a" at $.x[0].y.a')],
    ),
    (
        "an object",
        {"a": ["on"]},
        {"a": {"b": "on"}},
        [("$.a", '{"b": "on"}', False, "the value is an object, the pattern asks for a value")],
    ),
    (
        "the element that fits best",
        {"a": {"b": [1], "c": [2]}},
        {"a": [{"b": 1, "c": 1}, {"b": 0, "c": 0}]},
        [("$.a.b", "1", True, ""), ("$.a.c", "1", False, "")],
    ),
    (
        "alternatives",
        {"$or": [{"a": [1]}, {"b": ["x"]}]},
        {"a": 1},
        [("$.$or[0].a", "1", True, ""), ("$.$or[1].b", "nothing", False, "")],
    ),
]


@pytest.mark.parametrize(
    ("pattern", "event", "verdicts"), [row[1:] for row in EXPLAINED], ids=[row[0] for row in EXPLAINED]
)
def test_explanation_says_what_each_leaf_saw_and_what_it_nearly_was(pattern: Any, event: Any, verdicts: Any) -> None:
    found = patterns.explain(patterns.compile(pattern), event)
    assert [(each.path, each.seen, each.holds, each.near) for each in found] == verdicts


@given(
    pattern=st.dictionaries(st.text("ab", min_size=1, max_size=2), _json, max_size=3),
    event=st.dictionaries(st.text("ab", max_size=2), _json),
)
def test_explanation_agrees_with_the_matcher(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    try:
        compiled = patterns.compile(pattern)
    except patterns.InvalidPattern:
        return
    verdicts = patterns.explain(compiled, event)
    assert all(verdict.holds for verdict in verdicts) == compiled.matches(event)


def test_match_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.json").write_text('{"a": ["on"], "b": [{"exists": true}]}')
    (tmp_path / "e.json").write_text('{"a": "ON", "b": 1}')
    assert main(["match", "--pattern", str(tmp_path / "p.json"), "--event", str(tmp_path / "e.json"), "--explain"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "false",
        '  no  $.a: asked ["on"], saw "ON"',
        '      near miss: the value is "ON", the pattern has "on": another case',
        '  yes $.b: asked [{"exists": true}], saw 1',
    ]
