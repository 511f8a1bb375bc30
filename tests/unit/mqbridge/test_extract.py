"""JSONPath, the four forms, and templates: as data, and properties that no table can hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge import json_text
from mqbridge.extract import (
    MISSING,
    InvalidForm,
    InvalidPath,
    Unextractable,
    compile_form,
    compile_path,
    compile_place,
    put,
    remove,
    text_of,
)
from mqbridge.extract.queries import compile_query
from tests.unit.mqbridge.support import DATA, quick

CASES: dict[str, Any] = json.loads((DATA / "extract-cases.json").read_text())
EVENT = CASES["event"]

_names = st.text("ab-'\"\\é.$", min_size=0, max_size=3)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("path", "expected"), [case[1:] for case in CASES["paths"]], ids=[case[0] for case in CASES["paths"]]
)
def test_a_path_finds(path: str, expected: Any) -> None:
    assert compile_path(path).find(EVENT) == (EVENT if expected == "=event" else expected)


@pytest.mark.parametrize(
    "path", [case[1] for case in CASES["without_result"]], ids=[case[0] for case in CASES["without_result"]]
)
def test_a_path_without_a_result_finds_nothing(path: str) -> None:
    assert compile_path(path).find(EVENT) is MISSING


@pytest.mark.parametrize("path", CASES["invalid_paths"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidPath) as raised:
        compile_path(path)
    assert "JSONPath" in raised.value.expected


@pytest.mark.parametrize("path", ["$", "$.a[*]", "$..a", "$[?@.a]"])
def test_a_place_is_one_place_below_the_root(path: str) -> None:
    with pytest.raises(InvalidPath, match="one place"):
        compile_place(path)


@quick
@given(_values, st.lists(_names | st.integers(-2, 2), min_size=1, max_size=4))
def test_a_place_is_found_where_its_parts_lead(root: Any, parts: list[str | int]) -> None:
    """The direct look-up, the standard's library and a walk by hand agree, whatever the names are."""
    text = "$" + "".join(f"[{part}]" if isinstance(part, int) else f"[{json.dumps(part)}]" for part in parts)
    expected: Any = root
    part: Any
    for part in parts:
        kind: Any = list if isinstance(part, int) else dict
        try:
            expected = expected[part] if type(expected) is kind else MISSING
        except (KeyError, IndexError):
            expected = MISSING
    found = compile_path(text).find(root)
    assert found is MISSING if expected is MISSING else found == expected
    by_library = compile_query(text, text).find(root)
    assert by_library is MISSING if expected is MISSING else by_library == expected


@quick
@given(_values, st.lists(st.sampled_from(["a", "b", 0, -1]), min_size=1, max_size=3), _values)
def test_what_is_put_is_there_and_what_is_removed_is_not(root: Any, parts: list[str | int], value: Any) -> None:
    before = json.dumps(root)
    place = tuple(parts)
    path = compile_place("$" + "".join(f"[{json.dumps(part)}]" for part in parts))
    after = put(root, place, value)
    assert after is root or path.find(after) == value or path.find(root) is MISSING
    if isinstance(parts[-1], str):
        assert path.find(remove(after, place)) is MISSING
    assert json.dumps(root) == before, "the original is never changed"


@pytest.mark.parametrize(
    ("variables", "template", "expected"),
    [case[1:] for case in CASES["templates"]],
    ids=[case[0] for case in CASES["templates"]],
)
def test_a_template_renders(variables: dict[str, str], template: str, expected: str) -> None:
    assert compile_form("TEMPLATE", json.dumps(variables), template).extract(EVENT) == expected


@pytest.mark.parametrize(
    ("value", "template", "setting"),
    [case[1:] for case in CASES["invalid_templates"]],
    ids=[case[0] for case in CASES["invalid_templates"]],
)
def test_a_template_that_cannot_be_names_its_setting(value: str, template: str, setting: str) -> None:
    with pytest.raises(InvalidForm) as raised:
        compile_form("TEMPLATE", value, template)
    assert raised.value.setting == setting


@pytest.mark.parametrize(
    ("form", "value", "template", "setting"),
    [
        ("JSONPATH", None, None, "Value"),
        ("JSONPATH", "data", None, "Value"),
        ("CONSTANT", None, None, "Value"),
        ("TEMPLATE", None, "x", "Value"),
        ("TEMPLATE", "{}", None, "Template"),
    ],
)
def test_a_form_needs_its_settings(form: str, value: str | None, template: str | None, setting: str) -> None:
    with pytest.raises(InvalidForm) as raised:
        compile_form(form, value, template)
    assert raised.value.setting == setting


def test_the_other_forms() -> None:
    assert json.loads(compile_form("ORIGINAL", None, None).extract(EVENT)) == EVENT
    assert compile_form("CONSTANT", "hello $.id ${x}", None).extract(EVENT) == "hello $.id ${x}"
    assert compile_form("JSONPATH", "$.data.none", None).extract(EVENT) is MISSING


@quick
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_template_neither_loses_nor_invents_text(before: str, value: str, after: str) -> None:
    """Whatever a device publishes stands in the text once, as it was, between what the template says."""
    if "${" in before + after or before.endswith("$"):
        return
    form = compile_form("TEMPLATE", '{"v": "$.v"}', f"{before}${{v}}{after}")
    assert form.extract({"v": value}) == before + value + after


@quick
@given(_values)
def test_an_escaped_value_is_one_json_string(value: Any) -> None:
    rendered = compile_form("TEMPLATE", '{"v": "$.v"}', '{"v":"${jsonEscape(v)}"}').extract({"v": value})
    assert json.loads(rendered) == {"v": text_of(value)}


@quick
@given(st.dictionaries(st.sampled_from(["a", "b", "EB_SYS_EMBED_OBJECT"]), _values, max_size=3), st.text(max_size=10))
def test_only_the_template_says_what_is_embedded(published: dict[str, Any], text: str) -> None:
    """Not even an object that is made to look like the mark."""
    form = compile_form(
        "TEMPLATE",
        '{"o": "$.o", "t": "$.t"}',
        '{"EB_SYS_EMBED_OBJECT":"${o}", "inner": ${o}, "t":"${jsonEscape(t)}"}',
    )
    for candidate in (published, {"EB_SYS_EMBED_OBJECT": "EB_SYS_EMBED_OBJECT-0-0"}):
        rendered = json.loads(form.extract({"o": candidate, "t": text}))
        assert rendered == {**candidate, "inner": candidate, "t": text}


@pytest.mark.parametrize(
    ("published", "said"), [({"o": [1]}, "expected an object to embed"), ({"o": {}, "t": '"'}, "jsonEscape")]
)
def test_an_embedding_template_says_what_does_not_go_in(published: dict[str, Any], said: str) -> None:
    form = compile_form("TEMPLATE", '{"o": "$.o", "t": "$.t"}', '{"EB_SYS_EMBED_OBJECT":"${o}","t":"${t}"}')
    with pytest.raises(Unextractable, match=said):
        form.extract(published)


@quick
@given(_values)
def test_json_is_read_and_written_exactly(value: Any) -> None:
    text = json_text.encode(value)
    assert json.loads(text) == value
    assert json_text.decode(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "truncated"),
        (b'{"a":', "truncated"),
        (b"NaN", "character"),
        (b'"\xff"', "not UTF-8"),
        (b"[" * 5_000, "deeply"),
    ],
)
def test_what_is_no_json_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(json_text.InvalidJson, match=said):
        json_text.decode(text)
