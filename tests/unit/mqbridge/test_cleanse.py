"""The operators by themselves, declared as a rules document declares them. What holds for all of them is in test_cleanse_laws."""
# ruff: noqa: E501  # the rows of a table are as long as they are

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.cleanse import LambdaAnswer, Operator, Outside, Rejected, Unavailable, compile_places
from mqbridge.events import TaskEvent
from mqbridge.rules.faults import Fault
from mqbridge.rules.kinds import ListOf, OneOf
from mqbridge.rules.operators import Transform
from mqbridge.rules.transforms import compile_transforms
from tests.unit.mqbridge.support import quick

Json = Any


@dataclass
class FakeOutside:
    """A world that is all in memory, whose clock stands still until a test moves it, and in which everything can be out of order."""

    files: dict[str, bytes] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    lambdas: dict[str, Callable[[bytes], LambdaAnswer]] = field(default_factory=dict)
    time_s: float = 1_767_225_600.0
    is_down: bool = False
    asked: list[str] = field(default_factory=list)

    def now_s(self) -> float:
        return self.time_s

    def read_file(self, path: str) -> bytes:
        self._ask(path, "enrichment_unavailable")
        return self.files[path]

    def get_item(
        self, table: str, region: str | None, key: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any] | None:
        ((name, typed),) = key.items()
        ((kind, text),) = typed.items()
        self._ask(f"{table} {region} {name} {kind} {text}", "enrichment_unavailable")
        return self.items.get(text)

    def function(self, module: str, name: str) -> Callable[[dict[str, Any]], Any]:
        self._ask(f"{module}:{name}", "function_unavailable")
        return self.functions[f"{module}:{name}"]

    def invoke(self, arn: str, payload: bytes) -> LambdaAnswer:
        self._ask(arn, "function_unavailable")
        return self.lambdas[arn](payload)

    def _ask(self, what: str, reason: str) -> None:
        self.asked.append(what)
        if self.is_down:
            raise Unavailable(reason, "down")


def faults_of(transforms: Json, outside: Outside | None = None) -> tuple[tuple[Operator, ...], list[str]]:
    """Return what is compiled of a list of transforms, and what is wrong with it, as texts."""
    faults: list[Fault] = []
    declared = ListOf(OneOf(Transform, "a mapping with one operator")).read(transforms, (), faults)
    told = [fault.text("") for fault in faults]
    if told:
        return (), told

    def report(path: tuple[str | int, ...], expected: str, got: str) -> None:
        told.append(Fault(code="MB216", path=path, expected=expected, got=got).text(""))

    return compile_transforms(declared, outside or FakeOutside(), report), told


def operator(outside: Outside | None = None, /, **declared: Json) -> Operator:
    """Return one operator, declared by its name: operator(Split={...})."""
    operators, told = faults_of([declared], outside)
    assert told == []
    (only,) = operators
    assert only.name == next(iter(declared))
    return only


def event_of(body: Json, **more: Any) -> TaskEvent:
    """Return an event with this body, as published."""
    data = {"props": {"clientId": "d1"}, "systemProperties": {}, "userProperties": {}, "body": body}
    value = {"specversion": "1.0", "id": "e-1", "subject": "devices/d1/up", "data": data}
    return TaskEvent(**{"value": value, "payload": b"as published", **more})


def bodies(events: Iterable[TaskEvent]) -> list[Json]:
    return [event.value["data"]["body"] for event in events]


def applied(body: Json, outside: Outside | None = None, /, **declared: Json) -> list[Json]:
    """Return the bodies of what becomes of a body."""
    return bodies(operator(outside, **declared).apply(event_of(body)))


def rejection(body: Json, outside: Outside | None = None, /, **declared: Json) -> Rejected:
    with pytest.raises(Rejected) as raised:
        operator(outside, **declared).apply(event_of(body))
    return raised.value


# Split.


@pytest.mark.parametrize(
    ("settings", "body", "parts"),
    [
        ({"Separator": "|"}, "a|b|c", ["a", "b", "c"]),
        ({"Separator": "|"}, " a || b |", ["a", "b"]),
        ({"Separator": "|", "Trim": False}, " a || b |", [" a ", " b "]),
        ({"Separator": "|", "DropEmpty": False}, " a || b |", ["a", "", "b", ""]),
        ({"Separator": "|"}, "a", ["a"]),
        ({"Separator": "ab"}, "1ab2aab3", ["1", "2a", "3"]),
        ({"Separator": "\n"}, "a\nb\r\nc", ["a", "b", "c"]),
        ({"Separator": ".*"}, "a.*b", ["a", "b"]),
        ({"Regex": r"\s*[;|]\s*"}, "a ; b|c", ["a", "b", "c"]),
        ({"Regex": "(,)(;)?"}, "a,b,;c", ["a", "b", "c"]),
        ({"Regex": ",*"}, "ab,,c", ["ab", "c"]),
        ({"Regex": "é+", "Trim": False}, "☃éé🚀é ", ["☃", "🚀", " "]),
        ({}, ["a", 1, None, {"b": 2}, [], " "], ["a", 1, None, {"b": 2}, [], " "]),
        ({"Separator": "|"}, ["a|b", ""], ["a|b", ""]),
    ],
    ids=str,
)
def test_split_makes_an_event_of_each_part(settings: Json, body: Json, parts: Json) -> None:
    assert applied(body, Split=settings) == parts


@pytest.mark.parametrize("body", ["", "  ", "| |", [], 7, True, None, {"a": 1}], ids=repr)
def test_split_leaves_what_has_no_parts_as_it_is(body: Json) -> None:
    event = event_of(body)
    assert operator(Split={"Separator": "|"}).apply(event) == (event,)


def test_split_without_separator_leaves_text_as_it_is() -> None:
    assert applied("a|b", Split={}) == ["a|b"]


def test_split_leaves_an_event_without_the_place_as_it_is() -> None:
    event = event_of({"other": "a|b"})
    assert operator(Split={"Path": "$.data.body.rows", "Separator": "|"}).apply(event) == (event,)


def test_split_replaces_the_place_and_shares_the_rest() -> None:
    event = event_of({"rows": ["a", "b"], "beside": {"deep": 1}})
    first, second = operator(Split={"Path": "$.data.body.rows"}).apply(event)
    assert (first.value["data"]["body"]["rows"], second.value["data"]["body"]["rows"]) == ("a", "b")
    assert first.value["data"]["body"]["beside"] is event.value["data"]["body"]["beside"]


def test_parts_are_told_apart_by_what_they_were_split_from_and_the_same_ones_each_time() -> None:
    rows, cells = operator(Split={"Separator": ";"}), operator(Split={"Separator": ","})

    def parts() -> list[str]:
        return [cell.part for row in rows.apply(event_of("a,b;c;d,e,f")) for cell in cells.apply(row)]

    assert parts() == ["0.0", "0.1", "1.0", "2.0", "2.1", "2.2"]
    assert parts() == parts()


def test_more_parts_than_fit_into_a_batch_are_rejected() -> None:
    assert len(applied([0] * 10_000, Split={})) == 10_000
    error = rejection([0] * 10_001, Split={})
    assert (error.reason, error.detail) == ("too_many_parts", "$.data.body: expected at most 10000 parts, got 10001")
    assert rejection(";" * 10_000, Split={"Separator": ";", "DropEmpty": False}).reason == "too_many_parts"


@given(st.text(alphabet="a|b ,é", max_size=30), st.sampled_from(["|", "||", " ", "a", "a|"]))
@quick
def test_split_loses_and_invents_nothing(text: str, separator: str) -> None:
    parts = applied(text, Split={"Separator": separator, "Trim": False, "DropEmpty": False})
    assert separator.join(parts) == text
    assert applied(text, Split={"Separator": separator, "Trim": False}) in ([text], [part for part in parts if part])


# Map.


@pytest.mark.parametrize(
    ("settings", "body", "after"),
    [
        ({"Keep": ["$.data.body.a"]}, {"a": 1, "b": 2}, {"a": 1}),
        (
            {"Keep": ["$.data.body.a.b", "$.data.body.c"]},
            {"c": 0, "a": {"b": 1, "x": 2}, "d": 3},
            {"c": 0, "a": {"b": 1}},
        ),
        ({"Keep": ["$.data.body.a.b", "$.data.body.a"]}, {"a": {"b": 1, "x": 2}, "d": 3}, {"a": {"b": 1, "x": 2}}),
        ({"Keep": ["$.data.body.a", "$.data.body.a.b"]}, {"a": {"b": 1, "x": 2}, "d": 3}, {"a": {"b": 1, "x": 2}}),
        ({"Keep": ["$.data.body.l[0]", "$.data.body.l[-1].a"]}, {"l": [1, 2, {"a": 3, "b": 4}]}, {"l": [1, {"a": 3}]}),
        ({"Keep": ["$.data.body[1]"]}, [1, 2, 3], [2]),
        ({"Keep": ["$.data.body.gone", "$.data.body.a.gone"]}, {"a": 7, "b": 2}, {}),
        ({"Drop": ["$.data.body.a", "$.data.body.gone"]}, {"a": 1, "b": 2}, {"b": 2}),
        ({"Drop": ["$.data.body.l[0]", "$.data.body.l[1]"]}, {"l": [1, 2, 3]}, {"l": [3]}),
        ({"Drop": ["$.data.body.l[0]", "$.data.body.l[1].x"]}, {"l": [1, {"x": 1, "y": 2}]}, {"l": [{"y": 2}]}),
        ({"Drop": ["$.data.body.l[1].x", "$.data.body.l[-1]"]}, {"l": [1, {"x": 1, "y": 2}]}, {"l": [1]}),
        ({"Drop": ["$.data.body.a", "$.data.body.a.b"]}, {"a": {"b": 1}}, {}),
        ({"Rename": {"$.data.body.a": "$.data.body.b"}}, {"a": 1, "c": 2}, {"c": 2, "b": 1}),
        (
            {"Rename": {"$.data.body.a": "$.data.body.b", "$.data.body.b": "$.data.body.a"}},
            {"a": 1, "b": 2},
            {"a": 2, "b": 1},
        ),
        ({"Rename": {"$.data.body.a": "$.data.body.x.y.z"}}, {"a": 1}, {"x": {"y": {"z": 1}}}),
        ({"Rename": {"$.data.body.a": "$.data.body.a.b"}}, {"a": 1}, {"a": {"b": 1}}),
        ({"Rename": {"$.data.body.a": "$.data.body.b"}}, {"a": None}, {"b": None}),
        ({"Rename": {"$.data.body.gone": "$.data.body.b"}}, {"b": 1}, {"b": 1}),
        ({"Set": {"$.data.body.a": {"Form": "CONSTANT", "Value": "x"}}}, {"b": 1}, {"b": 1, "a": "x"}),
        ({"Set": {"$.data.body.a": {"Form": "JSONPATH", "Value": "$.data.body.b"}}}, {"b": [1]}, {"b": [1], "a": [1]}),
        ({"Set": {"$.data.body.a": {"Form": "JSONPATH", "Value": "$.data.body.gone"}}}, {"b": 1}, {"b": 1}),
        ({"Set": {"$.data.body.l[1]": {"Form": "CONSTANT", "Value": "x"}}}, {"l": [1, 2]}, {"l": [1, "x"]}),
        (
            {"Set": {"$.data.body": {"Form": "TEMPLATE", "Value": '{"t": "$.data.body"}', "Template": "<${t}>"}}},
            "a",
            "<a>",
        ),
    ],
    ids=str,
)
def test_map_makes_of_a_body(settings: Json, body: Json, after: Json) -> None:
    assert applied(body, Map=settings) == [after]


def test_map_keeps_then_drops_then_renames_then_sets_from_what_came() -> None:
    settings = {
        "Set": {
            "$.data.body.from_dropped": {"Form": "JSONPATH", "Value": "$.data.body.a.secret"},
            "$.data.body.from_left_out": {"Form": "JSONPATH", "Value": "$.data.body.b"},
        },
        "Rename": {"$.data.body.a": "$.data.body.z", "$.data.body.b": "$.data.body.y"},
        "Drop": ["$.data.body.a.secret"],
        "Keep": ["$.data.body.a"],
    }
    after = applied({"a": {"secret": 1, "open": 2}, "b": 3}, Map=settings)
    assert after == [{"z": {"open": 2}, "from_dropped": 1, "from_left_out": 3}]


def test_map_reaches_whatever_is_in_the_event() -> None:
    (after,) = operator(
        Map={
            "Drop": ["$.data.userProperties"],
            "Rename": {"$.subject": "$.data.props.topic"},
            "Set": {"$['an extension']": {"Form": "CONSTANT", "Value": "x"}},
        }
    ).apply(event_of({"a": 1}))
    assert after.value == {
        "specversion": "1.0",
        "id": "e-1",
        "data": {"props": {"clientId": "d1", "topic": "devices/d1/up"}, "systemProperties": {}, "body": {"a": 1}},
        "an extension": "x",
    }


@pytest.mark.parametrize(
    ("settings", "body", "reason", "words"),
    [
        ({"Keep": ["$.data.body.a"]}, "text", "wrong_type", "$.data.body: expected an object of which to keep places, got text"),
        ({"Rename": {"$.data.body.a": "$.data.body.b.c"}}, {"a": 1, "b": "text"}, "path_blocked", "$.data.body.b.c"),
        ({"Set": {"$.data.body.l[3]": {"Form": "CONSTANT", "Value": "x"}}}, {"l": [1]}, "path_blocked", "$.data.body.l[3]"),
        ({"Set": {"$.data.body.a": {"Form": "CONSTANT", "Value": "x"}}}, 7, "path_blocked", "$.data.body.a"),
        (
            {"Set": {"$.data.body.a": {"Form": "TEMPLATE", "Value": '{"o": "$.data.body.t"}', "Template": '{"EB_SYS_EMBED_OBJECT": "${o}"}'}}},
            {"t": "no object"}, "template_failed", "Set $.data.body.a: EB_SYS_EMBED_OBJECT: expected an object",
        ),
    ],
)  # fmt: skip
def test_map_rejects_what_it_cannot_do(settings: Json, body: Json, reason: str, words: str) -> None:
    error = rejection(body, Map=settings)
    assert error.reason == reason
    assert words in error.detail


# Mask.

PHONE = {"Regex": r"^(\d{3})(\d{4})(\d{4})$", "Replacement": r"\1****\3"}


@pytest.mark.parametrize(
    ("settings", "body", "after"),
    [
        (PHONE, "13812345678", "138****5678"),
        (PHONE, 13812345678, "138****5678"),
        (PHONE, 42, 42),
        (PHONE, ["13812345678", "x", 13812345678, None, ["13812345678"]], ["138****5678", "x", "138****5678", None, ["138****5678"]]),
        (PHONE, "Ann,13812345678", "Ann,13812345678"),
        ({**PHONE, "Separator": ","}, "13812345678,Ann,13812345678", "138****5678,Ann,138****5678"),
        ({**PHONE, "Separator": ",", "Field": 1}, "13812345678,13812345678", "13812345678,138****5678"),
        ({**PHONE, "Separator": ",", "Field": 2}, "13812345678,13812345678", "13812345678,13812345678"),
        ({"Regex": r"\d", "Replacement": "•"}, "Zürich 8001 🚀", "Zürich •••• 🚀"),
        ({"Regex": "(a)|(b)", "Replacement": r"[\1\2]"}, "abc", "[a][b]c"),
        ({"Regex": "a", "Replacement": r"\\1\\"}, "a", "\\1\\"),
        ({"Regex": "a", "Replacement": "$x"}, "a", "$x"),
        ({"Regex": "x*", "Replacement": "-"}, "ab", "-a-b-"),
        ({"Regex": "a", "Replacement": ""}, "banana", "bnn"),
        (PHONE, None, None),
        (PHONE, True, True),
        ({**PHONE, "Path": "$.data.body.gone"}, {"a": 1}, {"a": 1}),
        ({**PHONE, "Path": "$.data.body.people[*].phone"}, {"people": [{"phone": "13812345678"}, {}, 5, {"phone": 1}]}, {"people": [{"phone": "138****5678"}, {}, 5, {"phone": 1}]}),
        ({**PHONE, "Path": "$.data.body[*][*]"}, [["13812345678"], "x", []], [["138****5678"], "x", []]),
        ({**PHONE, "Path": "$.data.body.people[*].phone"}, {"people": {"phone": "13812345678"}}, {"people": {"phone": "13812345678"}}),
    ],
    ids=str,
)  # fmt: skip
def test_mask_makes_of_a_body(settings: Json, body: Json, after: Json) -> None:
    assert applied(body, Mask=settings) == [after]


def test_mask_rejects_an_object_as_it_may_hold_what_was_to_be_masked() -> None:
    error = rejection({"phone": {"number": "13812345678"}}, Mask={**PHONE, "Path": "$.data.body.phone"})
    assert (error.reason, error.detail) == ("wrong_type", "$.data.body.phone: expected text to mask, got an object")
    assert rejection([{"phone": "1"}], Mask=PHONE).reason == "wrong_type"


def test_mask_keeps_an_event_in_which_there_is_nothing_to_mask() -> None:
    event = event_of({"phone": "none", "people": [{"phone": "x"}]})
    for path in ("$.data.body.phone", "$.data.body.people[*].phone"):
        (after,) = operator(Mask={**PHONE, "Path": path}).apply(event)
        assert after is event


@given(st.lists(st.text(alphabet="ab12;é", max_size=5), min_size=1, max_size=6), st.integers(0, 6))
@quick
def test_mask_leaves_other_fields_alone(fields: list[str], at: int) -> None:
    (after,) = applied(",".join(fields), Mask={"Regex": r"[a1]", "Replacement": "#", "Separator": ",", "Field": at})
    masked = after.split(",")
    assert [each for place, each in enumerate(masked) if place != at] == [
        each for place, each in enumerate(fields) if place != at
    ]
    if at < len(fields):
        assert masked[at] == fields[at].replace("a", "#").replace("1", "#")


@pytest.mark.parametrize("path", ["$", "$[*]", "a", "$.a[*", "$.a.*", "$..a", "$.a[*]x", "$.a['b[*]c']", ""])
def test_what_names_no_places_is_none(path: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        compile_places(path)


# Filter.


@pytest.mark.parametrize(
    ("settings", "body", "is_kept"),
    [
        ({"Regex": "b"}, "abc", True),
        ({"Regex": "^b"}, "abc", False),
        ({"Regex": "^42$"}, 42, True),
        ({"Regex": "^true$"}, True, True),
        ({"Regex": "."}, None, False),
        ({"Regex": ""}, "", None),
        ({"Regex": "^b$"}, ["a", "b"], True),
        ({"Regex": "^b$"}, ["a", "bb", ["b"]], False),
        ({"Regex": "."}, [], False),
        ({"Regex": '^{"a":1}$'}, {"a": 1}, True),
        ({"Path": "$.data.body.gone", "Regex": "."}, {"a": 1}, False),
        ({"Path": "$.data.body..t", "Regex": "^9$"}, {"a": {"t": 1}, "b": {"t": 9}}, True),
        ({"Path": "$.subject", "Regex": "/up$"}, 1, True),
        ({"Pattern": {"data": {"body": {"t": [{"numeric": [">", 5]}]}}}}, {"t": 6}, True),
        ({"Pattern": {"data": {"body": {"t": [{"numeric": [">", 5]}]}}}}, {"t": 5}, False),
        ({"Pattern": '{"subject": [{"suffix": "/up"}]}'}, 1, True),
        ({"Path": "$.data.body", "Pattern": {"t": [{"exists": False}]}}, {"a": 1}, True),
        ({"Path": "$.data.body", "Pattern": {"t": [{"exists": False}]}}, "no object", False),
        ({"Path": "$.data.body.gone", "Pattern": {}}, {"a": 1}, False),
    ],
    ids=str,
)
def test_filter_keeps_what_matches(settings: Json, body: Json, is_kept: bool | None) -> None:
    if is_kept is None:
        assert faults_of([{"Filter": settings}])[1] != []
        return
    event = event_of(body)
    assert operator(Filter=settings).apply(event) == ((event,) if is_kept else ())


# Route.

BRANDS = {
    "defaultTopic": "unknown",
    "rules": [
        {"regex": "^A", "targetTopics": ["a-items", "discounts"]},
        {"regex": "^B", "targetTopics": ["b-items"]},
        {"regex": "%", "targetTopics": ["discounts", "all"]},
    ],
}


@pytest.mark.parametrize(
    ("settings", "body", "topics"),
    [
        (BRANDS, "A: coat", ("a-items", "discounts")),
        (BRANDS, "A: coat -10%", ("a-items", "discounts", "all")),
        (BRANDS, "B: hat -10%", ("b-items", "discounts", "all")),
        (BRANDS, "C: hat", ("unknown",)),
        (BRANDS, None, ("unknown",)),
        (BRANDS, ["x", "B"], ("b-items",)),
        ({"rules": BRANDS["rules"]}, "C: hat", ()),
        ({"defaultTopic": "t", "rules": []}, "x", ("t",)),
        ({**BRANDS, "Path": "$.data.props.clientId"}, "A", ("unknown",)),
        ({"rules": [{"regex": '"brand":"A"', "targetTopics": ["t"]}]}, {"brand": "A"}, ("t",)),
    ],
    ids=str,
)
def test_route_chooses_the_topics_of_all_rules_that_match(settings: Json, body: Json, topics: tuple[str, ...]) -> None:
    event = event_of(body)
    (after,) = operator(Route=settings).apply(event)
    assert after.topics == topics
    assert (after.value, after.payload) == (event.value, b"as published")


def test_a_route_that_finds_nothing_leaves_what_another_chose() -> None:
    (after,) = operator(Route={"rules": BRANDS["rules"]}).apply(event_of("C", topics=("before",)))
    assert after.topics == ("before",)
    (after,) = operator(Route=BRANDS).apply(event_of("C", topics=("before",)))
    assert after.topics == ("unknown",)


# The payload as published.


@pytest.mark.parametrize(
    ("declared", "is_kept"),
    [
        ({"Map": {"Set": {"$.data.props.x": {"Form": "CONSTANT", "Value": "y"}}}}, True),
        ({"Map": {"Drop": ["$.data.body.gone"]}}, True),
        ({"Map": {"Drop": ["$.data.body.a"]}}, False),
        ({"Map": {"Drop": ["$.data"]}}, False),
        ({"Split": {"Path": "$.data.props.clientId", "Separator": "1"}}, True),
        ({"Split": {"Path": "$.data.body.a", "Separator": "|"}}, False),
        ({"Mask": {"Path": "$.data.body.a", "Regex": "x", "Replacement": "y"}}, False),
        ({"Mask": {"Path": "$.data.body.a", "Regex": "q", "Replacement": "y"}}, True),
        ({"Enrich": {"Key": "$.data.props.clientId", "From": {"Inline": {"d1": {"b": 1}}}}}, False),
        (
            {"Enrich": {"Key": "$.data.props.clientId", "From": {"Inline": {"d1": {"b": 1}}}, "Into": "$.data.props"}},
            True,
        ),
    ],
    ids=str,
)
def test_the_payload_as_published_counts_until_the_body_is_changed(declared: Json, is_kept: bool) -> None:
    for after in operator(**declared).apply(event_of({"a": "x|y"})):
        assert after.payload == (b"as published" if is_kept else None)


def test_a_split_that_leaves_the_text_whole_leaves_the_payload_too() -> None:
    (whole,) = operator(Split={"Separator": "|"}).apply(event_of("abc"))
    assert whole.payload == b"as published"
    (trimmed,) = operator(Split={"Separator": "|"}).apply(event_of("abc "))
    assert trimmed.payload is None
