"""What holds for every operator and every event: nothing raised but Rejected and Unavailable, nothing changed that was handed in."""
# ruff: noqa: E501  # the rows of a table are as long as they are

import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.cleanse import LambdaAnswer, Rejected, Unavailable
from mqbridge.events import TaskEvent
from mqbridge.extract import MISSING, TooManySteps, compile_place, put, remove
from tests.unit.mqbridge.support import quick
from tests.unit.mqbridge.test_cleanse import FakeOutside, Json, event_of, operator

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
names = st.sampled_from(["a", "b", "c", "l", "body", "data", "props"]) | st.text(max_size=3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
rich_texts = st.text(alphabet="ab|,;1 é\n", max_size=12)
any_body = st.one_of(
    rich_texts,
    values,
    st.fixed_dictionaries({}, optional={"a": rich_texts | values, "l": st.lists(values, max_size=3)}),
)
any_event = st.one_of(
    any_body.map(lambda body: event_of(body)),
    values.map(lambda data: event_of(0, value={"data": data})),
    st.dictionaries(names, values, max_size=4).map(lambda value: event_of(0, value=value)),
)

EVERY: list[Json] = [
    {"Split": {"Separator": "|"}},
    {"Split": {"Path": "$.data.body.a", "Regex": "[,;]*", "Trim": False, "DropEmpty": False}},
    {"Split": {"Path": "$.data.body.l"}},
    {"Map": {"Keep": ["$.data.body.a.b", "$.data.body.l[0]"]}},
    {"Map": {"Drop": ["$.data.body.l[0]", "$.data.body.l[-1].a", "$.data.body.a", "$.data.props"]}},
    {"Map": {"Rename": {"$.data.body.a": "$.data.body.b.c", "$.data.body.b": "$.data.body.l[1]"}}},
    {"Map": {"Set": {
        "$.data.body.a": {"Form": "JSONPATH", "Value": "$..b"},
        "$.data.body.b": {"Form": "ORIGINAL"},
        "$.data.body.l[0]": {"Form": "TEMPLATE", "Value": '{"a": "$.data.body.a"}', "Template": '{"EB_SYS_EMBED_OBJECT": "${a}"}'},
    }}},
    {"Mask": {"Path": "$.data.body.a", "Regex": r"(\d)|(a)", "Replacement": r"\2•\1"}},
    {"Mask": {"Path": "$.data.body.l[*].a", "Regex": "a*", "Replacement": "x", "Separator": ",", "Field": 1}},
    {"Filter": {"Regex": "a"}},
    {"Filter": {"Path": "$..a", "Regex": "a|1"}},
    {"Filter": {"Pattern": {"data": {"body": {"a": [{"exists": True}], "l": [{"anything-but": 1}]}}}}},
    {"Enrich": {"Key": "$.data.body.a", "From": {"Inline": {"a": {"b": 1}, "1": {"a": {"c": 2}}}}}},
    {"Enrich": {"Key": "$..a", "From": {"File": {"Path": "rows.csv"}}, "OnMissing": "Reject"}},
    {"Enrich": {"Key": "$.data.body.a", "From": {"DynamoDB": {"Table": "rows", "KeyName": "k"}}, "Into": "$.data.body.b", "OnMissing": "Drop"}},
    {"Route": {"rules": [{"regex": "a", "targetTopics": ["t"]}]}},
    {"Route": {"Path": "$..a", "defaultTopic": "d", "rules": [{"regex": "^a$", "targetTopics": ["t"]}]}},
    {"Function": {"Arn": "python:transforms.any:spoil"}},
    {"Function": {"Arn": "arn:aws:lambda:eu-central-1:123456789012:function:echo"}},
]  # fmt: skip


def spoil(event: Any) -> Any:
    """Change all that was handed in, as a careless function does, and return whatever is in it."""
    event["data"] = {"body": event.pop("data", None), "kept": [event]}
    event["data"]["kept"].clear()
    return [event, *event.values()] if len(event) % 3 else event


def echo(payload: bytes) -> LambdaAnswer:
    return LambdaAnswer(payload=payload)


def outside_of_every() -> FakeOutside:
    return FakeOutside(
        files={"rows.csv": b"k,a\na,1\n1,2\n"},
        items={"a": {"k": {"S": "a"}, "c": {"N": "1"}}},
        functions={"transforms.any:spoil": spoil},
        lambdas={"arn:aws:lambda:eu-central-1:123456789012:function:echo": echo},
    )


@given(any_event, st.sampled_from(EVERY), st.booleans())
@quick
def test_an_operator_raises_nothing_of_its_own_and_changes_no_event_that_it_is_given(
    event: TaskEvent, declared: Json, is_down: bool
) -> None:
    outside = outside_of_every()
    outside.is_down = is_down
    made = operator(outside, **declared)
    before = copy.deepcopy(event.value)
    for _ in range(2):  # what is remembered must not be changed either
        try:
            events = list(made.apply(event))
        except (Rejected, Unavailable, TooManySteps):
            events = []
        for after in events:
            json.dumps(after.value)
            assert not set(after.topics) - {"t", "d"}
        assert len({after.part for after in events}) == len(events)
    assert event.value == before


@given(any_event, st.lists(st.sampled_from(EVERY), min_size=2, max_size=3))
@quick
def test_parts_stay_apart_through_any_operators(event: TaskEvent, declared: list[Json]) -> None:
    outside = outside_of_every()
    events = [event]
    for each in declared:
        try:
            events = list(itertools.chain.from_iterable(map(operator(outside, **each).apply, events)))
        except Rejected:
            return
    assert len({each.part for each in events}) == len(events)


def outcome(declared: Json, body: Json) -> str:
    """Return the reason for which an event is rejected, "" if it is not."""
    try:
        list(operator(outside_of_every(), **declared).apply(event_of(body)))
    except Rejected as error:
        return error.reason
    except TooManySteps:
        return "too_many_steps"
    return ""


def nested() -> Json:
    deep: Json = "a"
    for _ in range(5_000):
        deep = [deep]
    return deep


DEEP = nested()


@pytest.mark.parametrize("declared", EVERY, ids=str)
def test_a_value_that_is_nested_too_deeply_is_the_event_s_fault(declared: Json) -> None:
    reasons = {outcome(declared, DEEP), outcome(declared, {"a": DEEP, "l": [{"a": DEEP}]})}
    assert reasons <= {
        "",
        "not_json",
        "too_many_steps",
        "wrong_type",
        "template_failed",
        "enrichment_missing",
        "path_blocked",
    }


@pytest.mark.parametrize("declared", EVERY, ids=str)
def test_text_that_is_not_unicode_is_the_event_s_fault(declared: Json) -> None:
    """No decoder of ours lets it pass, and a sink would not send it."""
    reasons = {outcome(declared, "a\ud800|"), outcome(declared, {"a": "\ud800", "l": [{"a": "x,\ud800"}]})}
    assert reasons <= {
        "",
        "not_unicode",
        "not_json",
        "wrong_type",
        "template_failed",
        "enrichment_missing",
        "path_blocked",
    }


# The laws of put and remove, on which all of them rest.

place_names = st.lists(st.sampled_from(["a", "b", "l[0]", "l[-1]", "l[2]", "c"]), min_size=1, max_size=3)
places = place_names.map(lambda parts: compile_place("$." + ".".join(parts)))

members = st.sampled_from(["a", "b", "c", "l"])
trees = st.recursive(
    scalars | st.lists(scalars, max_size=3),
    lambda inner: st.dictionaries(members, inner | st.lists(inner, max_size=3), min_size=2, max_size=4),
    max_leaves=12,
)


@given(trees, places, values)
@quick
def test_what_is_put_is_found_or_the_value_is_as_it_was(root: Json, place: Any, child: Json) -> None:
    before = copy.deepcopy(root)
    after = put(root, place.parts, child)
    found = place.find(after)
    assert found == child or after == root or found is MISSING
    assert put(after, place.parts, child) == after
    assert root == before


@given(trees, places.filter(lambda place: isinstance(place.parts[-1], str)))
@quick
def test_what_is_removed_from_an_object_is_gone(root: Json, place: Any) -> None:
    before = copy.deepcopy(root)
    after = remove(root, place.parts)
    assert place.find(after) is MISSING
    if place.find(root) is MISSING:
        assert after is root
    assert root == before


@given(trees, places)
@quick
def test_to_put_what_is_there_changes_nothing(root: Json, place: Any) -> None:
    found = place.find(root)
    if found is not MISSING:
        assert put(root, place.parts, found) == root
