"""Tables, walks and sets say what the plain meaning of a pattern says, of any event, and in bounded time."""

import contextlib
import json
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge import patterns
from mqbridge.patterns import fields
from mqbridge.patterns.conditions import MISSING
from mqbridge.patterns.parsing import MAX_LEVELS, Leaf, Tree
from tests.unit.mqbridge.support import quick

# ---- the plain meaning: what docs/patterns.md says, without any table


def plainly_matches(tree: Tree, event: Mapping[str, Any]) -> bool:
    """Tell whether an event matches, by asking each condition of each value."""
    for name, node in tree.fields.items():
        value = _value_of(event, name)
        if not (_leaf_holds(node, value) if isinstance(node, Leaf) else _holds_below(node, value)):
            return False
    return all(any(plainly_matches(each, event) for each in group) for group in tree.alternatives)


def _value_of(event: Mapping[str, Any], name: str) -> Any:
    if name in event:
        return event[name]
    spelled = {key[len(name) + 1 :]: value for key, value in event.items() if key.startswith(f"{name}.")}
    return spelled or MISSING


def _holds_below(tree: Tree, value: Any) -> bool:
    if isinstance(value, Mapping):
        return plainly_matches(tree, value)
    elements = [each for each in value if isinstance(each, Mapping | list)] if isinstance(value, list) else []
    return any(_holds_below(tree, each) for each in elements) if elements else plainly_matches(tree, {})


def _leaf_holds(leaf: Leaf, value: Any) -> bool:
    values = (_flat(value) or [MISSING]) if isinstance(value, list) else [value]
    return any(
        condition.accepts(MISSING if isinstance(each, Mapping) else each)
        for each in values
        for condition in leaf.conditions
    )


def _flat(values: list[Any]) -> list[Any]:
    return [
        each
        for value in values
        if not isinstance(value, Mapping)
        for each in (_flat(value) if isinstance(value, list) else [value])
    ]


# ---- any valid pattern, and events that it may well match

_texts = st.text("abß*.", max_size=4) | st.sampled_from(
    ["10.0.0.1", "10.0.0.9", "10.0.1.0", "::1", "A", "B", "aB", "010.0.0.1"]
)
_numbers = (
    st.integers(-3, 3)
    | st.floats(-3, 3)
    | st.sampled_from([0, 1, 0.0, 1.0, -0.0, 10**400, -(10**400), 2**53 + 1, 1.0 + 1e-7, 1.0 - 1e-8, 1e300])
    | st.sampled_from([float("nan"), float("inf"), -float("inf")])  # Python's decoder takes them for numbers
)
_scalars = _texts | _numbers | st.booleans() | st.none()
_names = st.sampled_from(["a", "b", "c", "a.b", "b.c", "$or", "a.b.c"])
_events = st.dictionaries(
    _names | st.sampled_from(["x", "", "a.x"]),
    st.recursive(
        _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3), max_leaves=12
    ),
    max_size=5,
)

_operands = st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from([1.0e9, -1.0e9, 0, 1])
_bounds = st.tuples(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), _operands).map(list) | st.tuples(
    st.sampled_from([">", ">="]), _operands, st.sampled_from(["<", "<="]), st.floats(3.5, 9)
).map(list)
_wildcards = (
    st.lists(st.text("abß.", max_size=2), min_size=1, max_size=4).map("*".join).filter(lambda text: "**" not in text)
)
_some_text = _texts.filter(bool)
_edges = _texts | st.fixed_dictionaries({"equals-ignore-case": _texts})
_nested = (
    st.fixed_dictionaries({"prefix": _some_text | st.lists(_some_text, min_size=1, max_size=2)})
    | st.fixed_dictionaries({"suffix": _some_text | st.lists(_some_text, min_size=1, max_size=2)})
    | st.fixed_dictionaries(
        {"wildcard": _wildcards.filter(bool) | st.lists(_wildcards.filter(bool), min_size=1, max_size=2)}
    )
    | st.fixed_dictionaries({"equals-ignore-case": _texts | st.lists(_texts, min_size=1, max_size=2)})
)
_named = _texts | _numbers | st.booleans()
_conditions = (
    _scalars
    | _scalars
    | st.fixed_dictionaries({"prefix": _edges})
    | st.fixed_dictionaries({"suffix": _edges})
    | st.fixed_dictionaries({"contains": _some_text})
    | st.fixed_dictionaries({"equals-ignore-case": _texts})
    | st.fixed_dictionaries({"wildcard": _wildcards})
    | st.fixed_dictionaries({"numeric": _bounds})
    | st.fixed_dictionaries({"cidr": st.sampled_from(["10.0.0.0/29", "10.0.0.1", "0.0.0.0/0", "::/64", "::1"])})
    | st.fixed_dictionaries({"exists": st.booleans()})
    | st.fixed_dictionaries({"anything-but": _named | st.lists(_named, min_size=1, max_size=3) | _nested})
)
_leaves = st.lists(_conditions, min_size=1, max_size=3)


def _with_alternatives(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(st.sampled_from(["a", "b", "c", "b.c"]), inner, min_size=1, max_size=3)
    return st.builds(
        lambda fields, groups: {**fields, **groups},
        objects,
        st.just({}) | st.fixed_dictionaries({"$or": st.lists(objects, min_size=2, max_size=3)}),
    )


_patterns: st.SearchStrategy[Any] = _with_alternatives(
    st.recursive(_leaves, _with_alternatives, max_leaves=4)
) | st.just({})


def _compiled(documents: list[Any]) -> list[patterns.Pattern]:
    found = []
    for document in documents:
        try:
            found.append(patterns.compile(document))
        except patterns.InvalidPattern:  # two conditions on one path, by a dotted key
            continue
    return found


@quick
@given(documents=st.lists(_patterns, max_size=8), events=st.lists(_events, min_size=1, max_size=4))
def test_a_pattern_and_a_set_say_what_the_plain_meaning_says(documents: list[Any], events: list[Any]) -> None:
    compiled = _compiled(documents)
    together = patterns.compile_set(compiled)
    for event in events:
        expected = [plainly_matches(each.tree, event) for each in compiled]
        assert [each.matches(event) for each in compiled] == expected
        assert together.matching(event) == [at for at, holds in enumerate(expected) if holds]


@quick
@given(
    conditions=st.lists(_leaves, min_size=1, max_size=40), values=st.lists(_scalars | st.lists(_scalars), max_size=10)
)
def test_many_conditions_on_one_field_say_what_each_says(conditions: list[Any], values: list[Any]) -> None:
    compiled = _compiled([{"a": each} for each in conditions])
    together = patterns.compile_set(compiled)
    for value in [*values, *values]:  # what has been learned the first time
        event = {"a": value}
        assert together.matching(event) == [at for at, each in enumerate(compiled) if plainly_matches(each.tree, event)]


@quick
@given(document=_patterns, event=_events)
def test_any_event_is_explained_as_it_is_matched(document: Any, event: Any) -> None:
    for pattern in _compiled([document]):
        verdicts = patterns.explain(pattern, event)
        if not _has_alternatives(pattern.tree):
            assert all(each.holds for each in verdicts) == pattern.matches(event)


def _has_alternatives(tree: Tree) -> bool:
    return bool(tree.alternatives) or any(
        _has_alternatives(each) for each in tree.fields.values() if isinstance(each, Tree)
    )


_any_json = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            _names
            | st.sampled_from(
                ["numeric", "prefix", "suffix", "wildcard", "cidr", "exists", "anything-but", "contains"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@quick
@given(document=_any_json)
def test_whatever_is_no_pattern_is_an_invalid_one(document: Any) -> None:
    for each in (document, json.dumps(document)):
        with contextlib.suppress(patterns.InvalidPattern):
            patterns.compile(each)


@given(text=st.text())
def test_whatever_text_is_no_pattern_is_an_invalid_one(text: str) -> None:
    with pytest.raises(patterns.InvalidPattern):
        patterns.compile(f"{text}]")


# ---- sets


def test_an_empty_set_matches_nothing() -> None:
    assert patterns.compile_set([]).matching({"a": 1}) == []


def test_a_set_keeps_its_patterns_in_order_and_twice() -> None:
    on, off = patterns.compile({"a": ["on"]}), patterns.compile({"a": ["off"]})
    together = patterns.compile_set([on, off, on])
    assert together.patterns == (on, off, on)
    assert together.matching({"a": "on"}) == [0, 2]


def test_true_is_not_one_and_false_is_not_zero() -> None:
    documents: list[Any] = [
        [1],
        [True],
        [0],
        [False],
        [1.0],
        [{"anything-but": 1}],
        [{"anything-but": False}],
        [{"numeric": [">", -1]}],
    ]
    together = patterns.compile_set([patterns.compile({"a": each}) for each in documents])
    found = {repr(value): together.matching({"a": value}) for value in (1, 1.0, True, 0, -0.0, False)}
    assert found == {
        "1": [0, 4, 6, 7],
        "1.0": [0, 4, 6, 7],
        "True": [1, 5, 6],
        "0": [2, 5, 6, 7],
        "-0.0": [2, 5, 6, 7],
        "False": [3, 5],
    }


def test_the_alternatives_of_one_pattern_are_no_alternatives_of_another() -> None:
    one = patterns.compile({"a": {"$or": [{"b": [1]}, {"c": [1]}]}})
    two = patterns.compile({"a": {"$or": [{"b": [2]}, {"c": [2]}]}, "x": [{"exists": False}]})
    together = patterns.compile_set([one, two])
    assert together.matching({"a": {"b": 1, "c": 2}}) == [0, 1]
    assert together.matching({"a": [{"b": 1}, {"b": 3}]}) == [0]
    assert together.matching({"a": [{"b": 3}, {"c": 2}], "x": 1}) == []


def test_objects_need_not_be_dictionaries() -> None:
    event = MappingProxyType(
        {"a": MappingProxyType({"b": "on"}), "c": [MappingProxyType({"d": 1})], "e": MappingProxyType({})}
    )
    documents: list[Any] = [
        {"a": {"b": ["on"]}},
        {"c": {"d": [1]}},
        {"e": [{"exists": True}]},
        {"c": [{"exists": True}]},
    ]
    assert patterns.compile_set(map(patterns.compile, documents)).matching(event) == [0, 1]


def test_values_of_types_that_json_lacks_are_there_and_nothing_else() -> None:
    documents: list[Any] = [
        {"a": ["x"]},
        {"a": [{"exists": True}]},
        {"a": [{"anything-but": "x"}]},
        {"a": [{"prefix": ""}]},
    ]
    together = patterns.compile_set(map(patterns.compile, documents))
    for value in (b"x", ("x",), [b"x"], [[b"x"], {}], {1}):
        assert together.matching({"a": value}) == [1, 2]


@pytest.mark.parametrize("digits", [1, 10])
def test_more_texts_than_are_kept_have_the_same_answers(digits: int) -> None:
    together = patterns.compile_set(patterns.compile({"a": [{"prefix": str(digit)}]}) for digit in range(digits))
    for _ in range(2):
        for number in range(fields.MOST_LEARNED + 500):
            first = int(str(number)[0])
            assert together.matching({"a": str(number)}) == ([first] if first < digits else [])
    assert together.matching({"a": "0" * (fields.LONGEST_LEARNED + 1)}) == [0]


def test_what_is_kept_of_texts_is_bounded() -> None:
    """Else whoever may publish could fill the memory."""
    asked = [(1, patterns.compile({"a": [{"prefix": "x"}]}).tree.fields["a"].conditions)]  # type: ignore[union-attr]  # a leaf
    field = fields.field_of(asked, 1)
    for number in range(2 * fields.LEARNED_PER_CONDITION):
        field.searches[str](f"x{number}", 1)
        field.searches[str]("x" * (fields.LONGEST_LEARNED + 1 + number % 2), 1)
    assert len(field.answers) <= fields.LEARNED_PER_CONDITION + 10
    assert max(len(text) for text in field.answers if isinstance(text, str)) <= fields.LONGEST_LEARNED


# ---- bounds


def seconds(pattern: Any, event: Any) -> float:
    """Return how long a match takes, at best of three."""
    compiled = patterns.compile(pattern)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        compiled.matches(event)
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.mark.parametrize(
    ("wildcard", "value"),
    [
        ("*a" * 100 + "b", "a" * 100_000),  # a backtracking engine would not end
        ("*a" * 100 + "*b*", "a" * 100_000),
        ("a*" * 5_000, "a" * 100_000),
        ("*" + "a" * 99 + "b*", "a" * 100_000),
        ("*ab*ba*" * 1 + "c*d", "ab" * 50_000),
    ],
)
def test_a_wildcard_takes_bounded_time_whatever_the_value(wildcard: str, value: str) -> None:
    """Milliseconds for 100,000 characters; half a second leaves room for a machine that is busy."""
    assert seconds({"a": [{"wildcard": wildcard}]}, {"a": value}) < 0.5
    assert seconds({"a": [{"anything-but": {"wildcard": wildcard}}]}, {"a": value}) < 0.5


def test_an_event_may_be_nested_more_deeply_than_calls_may() -> None:
    deep: Any = "on"
    for _ in range(50_000):
        deep = [deep]
    pattern = patterns.compile({"a": ["on"], "b": {"c": [{"exists": False}]}})
    assert pattern.matches({"a": deep, "b": deep})
    try:
        patterns.explain(pattern, {"a": 1, "b": deep})
    finally:
        while isinstance(deep, list) and deep:  # by hand, as freeing such a thing recurses too
            deep = deep.pop()


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 500, 100_000])
def test_a_pattern_that_is_too_deep_is_an_invalid_one(levels: int) -> None:
    dotted = {".".join("a" * levels): ["on"]}
    nested = '{"a":' * levels + '["on"]' + "}" * levels
    alternatives = '{"$or": [{"b": [1]},' * levels + '{"a": ["on"]}' + "]}" * levels
    for document in (dotted, nested, alternatives):
        with pytest.raises(patterns.InvalidPattern):
            patterns.compile(document)


def test_a_pattern_may_have_a_hundred_levels() -> None:
    pattern = patterns.compile({".".join("a" * MAX_LEVELS): ["on"]})
    event: Any = "on"
    for _ in range(MAX_LEVELS):
        event = {"a": [event]}
    assert pattern.matches(event)
    assert pattern.matches({".".join("a" * MAX_LEVELS): "on"})
