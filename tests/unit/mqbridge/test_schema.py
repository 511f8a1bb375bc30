"""The JSON Schema of a rules document: current, draft-07, and of one mind with `validate` about every document."""
# ruff: noqa: E501  # rows of odd values are as long as they are

import copy
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from jsonschema.validators import extend

from mqbridge.rules import InvalidRules, format_path, load
from mqbridge.rules.declarations import INVALID, RulesDocument, Section
from mqbridge.rules.documents import read_document
from mqbridge.rules.ecma import WHITE_SPACE, UntranslatablePattern, ecma_pattern
from mqbridge.rules.kinds import Choice, Raw, Secret, Text
from mqbridge.rules.schema import json_schema, schema_of
from mqbridge_cli.main import main
from tests.unit.mqbridge.support import DATA, ROOT, quick
from tests.unit.mqbridge.test_rule_faults import FAULTY, spoiled
from tests.unit.mqbridge.test_rules import kinds

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.yaml"))
COMMITTED = ROOT / "mqbridge.schema.json"
HEAD = re.compile(r"# (?P<verdict>good|bad)(?P<beyond>, beyond a schema)?(?:: (?P<fault>MB\d{3} .+))?")

Json = dict[str, Any]


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    """Python's `$` matches before a line break at the end too; ECMA's, which a schema means, does not."""
    assert pattern.endswith("$")
    strict = {**schema, "pattern": pattern.removesuffix("$") + r"\Z"}
    yield from Draft7Validator.VALIDATORS["pattern"](validator, strict["pattern"], instance, strict)


VALIDATOR = extend(Draft7Validator, {"pattern": _pattern})(json_schema())  # type: ignore[no-untyped-call]  # its stubs' gap


def accepts(document: Any) -> bool:
    """Tell whether the schema does."""
    return bool(VALIDATOR.is_valid(document))


def data_of(path: Path) -> Any:
    """Return a document as `load` sees it."""
    return read_document(path.read_text(), path.name).data


# Current, and draft-07.


def test_the_committed_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """`make docs` writes it anew."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == COMMITTED.read_text()


def test_it_is_a_schema_of_draft_07() -> None:
    Draft7Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "http://json-schema.org/draft-07/schema#"


def schemas(schema: Any = None) -> Iterator[Json]:
    """Yield every schema within the schema."""
    schema = json_schema() if schema is None else schema
    if isinstance(schema, dict):
        yield schema
        for name in ("properties", "definitions"):
            for inner in schema.get(name, {}).values():
                yield from schemas(inner)
        for name in ("items", "not"):
            if name in schema:
                yield from schemas(schema[name])
        for name in ("allOf", "anyOf"):
            for inner in schema.get(name, []):
                yield from schemas(inner)


def test_it_uses_only_words_that_draft_07_has() -> None:
    allowed = set(
        "$schema $ref title description type properties required additionalProperties items minItems enum pattern not "
        "minLength maxLength minimum maximum minProperties maxProperties default examples allOf anyOf definitions".split()
    )
    assert {word for schema in schemas() for word in schema} <= allowed


def test_nothing_stands_beside_a_reference() -> None:
    """Draft-07 would not see it."""
    assert [schema for schema in schemas() if "$ref" in schema and len(schema) > 1] == []


def test_every_mapping_of_ours_is_closed_and_every_property_described() -> None:
    sections = [schema for schema in schemas() if "properties" in schema]
    assert len(sections) > 15
    for schema in sections:
        assert schema["additionalProperties"] is False
        assert [key for key, inner in schema["properties"].items() if not inner["description"].endswith(".")] == []


def test_a_property_s_default_and_examples_are_valid() -> None:
    for schema in schemas():
        for key, inner in schema.get("properties", {}).items():
            for value in [*([inner["default"]] if "default" in inner else []), *inner.get("examples", [])]:
                assert VALIDATOR.evolve(schema=inner).is_valid(value), key


def test_a_unit_is_part_of_the_description() -> None:
    expiry = json_schema()["definitions"]["MqttInstance"]["properties"]["SessionExpiry"]
    assert expiry["description"].endswith("as ApsaraMQ keeps offline messages. Unit: s.")
    assert (expiry["default"], expiry["minimum"], expiry["maximum"]) == (259_200, 0, 4_294_967_295)


def test_no_two_sections_share_a_definition() -> None:
    sections = {kind.cls for kind in kinds().values() if isinstance(kind, Section)}
    assert len({section.__name__ for section in sections}) == len(sections)


# Every kind is known.


def test_every_kind_that_a_document_uses_has_a_schema() -> None:
    for path, kind in kinds().items():
        assert isinstance(schema_of(kind, {}), dict), path


def test_a_kind_without_a_schema_is_an_error_that_says_what_to_do() -> None:
    @dataclasses.dataclass(frozen=True)
    class Colour:
        what: str = "a colour"

        def read(self, value: Any, path: Any, faults: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(
        TypeError, match=r"no JSON Schema is known for the kind Colour: register one in rules/schema\.py"
    ):
        schema_of(Colour(), {})


def test_a_raw_value_s_schema_accepts_what_its_check_lets_pass() -> None:
    for path, kind in kinds().items():
        if isinstance(kind, Raw):
            validator = Draft7Validator(schema_of(kind, {}))
            samples: list[Any] = [None, True, 1, 1.5, "text", [], {}, {"a": 1}, {"a": 1, "b": 2}]
            for sample in samples:
                assert validator.is_valid(sample) is kind.check(sample), (path, sample)


def test_a_choice_in_any_case_is_offered_as_it_is_listed_and_taken_as_it_comes() -> None:
    schema = schema_of(Choice("JSON", "Text", "V-2", ignore_case=True), {})
    assert schema["anyOf"][0] == {"enum": ["JSON", "Text", "V-2"]}
    validator = Draft7Validator(schema)
    assert all(validator.is_valid(word) for word in ("JSON", "json", "jSoN", "TEXT", "v-2"))
    assert not any(validator.is_valid(word) for word in ("JSONx", "xjson", "", 2, None))


# Of one mind with validate.


def expected(path: Path) -> tuple[list[str], bool]:
    """Return the faults that a file of the corpus says it has, and whether the schema can see them."""
    heads = [HEAD.fullmatch(line) for line in path.read_text().splitlines() if re.match("# (good|bad)", line)]
    assert heads
    assert all(heads), f"{path.name}: expected '# good', '# bad: CODE PATH' or '# bad, beyond a schema: CODE PATH'"
    found = [head for head in heads if head]
    return [head["fault"] for head in found if head["fault"]], not any(head["beyond"] for head in found)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_validate_and_the_schema_agree_on_the_corpus(path: Path) -> None:
    faults, is_seen_by_schema = expected(path)
    assert path.name.startswith("bad-" if faults else "good-")
    told: list[str] = []
    try:
        load(path)
    except InvalidRules as error:
        told = [f"{fault.code} {format_path(fault.path)}" for fault in error.faults]
    assert told == faults
    assert accepts(data_of(path)) is not (bool(faults) and is_seen_by_schema)


def test_the_corpus_has_every_code_and_hides_none_from_the_schema_that_it_could_see() -> None:
    codes = {(fault[:5], is_seen) for faults, is_seen in map(expected, CORPUS) for fault in faults}
    assert {code for code, is_seen in codes if is_seen} == {"MB101", "MB102", "MB104", "MB105", "MB106"}
    # MB103: a parser drops the first of two keys. MB104: 2026 has no 29 February, and a sink's instance is a CONSTANT.
    assert {code for code, is_seen in codes if not is_seen and code < "MB2"} == {"MB103", "MB104"}
    sources = (ROOT / "layers/common/mqbridge/rules").glob("*.py")
    raised = {code for path in sources for code in re.findall(r'"(MB2\d\d)"', path.read_text())}
    assert {code for code, is_seen in codes if not is_seen and code > "MB2"} == raised


@pytest.mark.parametrize("name", ["design-example.yaml", "design-optional-keys.yaml", "rules.yaml"])
def test_the_schema_accepts_the_examples_of_the_design(name: str) -> None:
    VALIDATOR.validate(data_of(DATA / name))


def test_the_schema_accepts_the_body_of_create_event_streaming() -> None:
    body = json.loads((DATA / "create-event-streaming.json").read_text())
    VALIDATOR.validate({"Instances": {}, "EventStreamings": [body]})


def structural_faults(document: Any) -> list[str]:
    """Return what reading by the declarations alone, without the checks between parts, says of a document."""
    faults: list[Any] = []
    read = Section(RulesDocument).read(document, (), faults)
    told = [fault.text("") for fault in faults if not fault.is_notice]
    assert bool(told) == (read is INVALID or any(fault.code == "MB101" for fault in faults) or has_invalid(read))
    return told


def has_invalid(value: Any) -> bool:
    """Tell whether a value that was read holds what could not be."""
    if dataclasses.is_dataclass(value):
        return any(has_invalid(getattr(value, field.name)) for field in dataclasses.fields(value))
    return value is INVALID or (isinstance(value, tuple) and any(map(has_invalid, value)))


@pytest.mark.parametrize("row", FAULTY, ids=[row[0] for row in FAULTY])
def test_the_schema_refuses_what_the_declarations_refuse(row: Any) -> None:
    document = read_document(spoiled(row[1], row[2]), "rules.yaml").data
    assert accepts(document) is (structural_faults(document) == [])


ODD: list[Any] = [
    None, True, False, 0, 1, 2, -1, 5, 5.0, 1.5, 10**12, "", " ", ".", "x", "abc", "5", "a b", "abc\n", "\0", "٣", "a/b", "env:X", "env:", "Enabled", "JSON",
    "json", "x" * 65, "x" * 128, "x" * 10_241, "mqtt://h", "mqtts://[::1]:8883/", "h:1", "2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "GID_x", "%RETRY%a",
    "\u2003", "\x1c", "\ufeff", "🚀", "4.x", "$.a.b", [], [[]], [None], ["4.x"], {}, {"A": 1}, {"Form": "ORIGINAL"},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


RICH = [
    data_of(DATA / "rules.yaml"),
    data_of(DATA / "design-example.yaml"),
    data_of(DATA / "design-optional-keys.yaml"),
]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """Return a sound document with a part or two replaced, removed or misnamed."""
    document = copy.deepcopy(draw(st.sampled_from(RICH)))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([path for path in places(document) if path]))
        holder = document
        for part in way:
            holder = holder[part]
        what = draw(st.sampled_from(["replace", "replace", "remove", "misname"]))
        if what == "replace":
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            value = holder.pop(last)
            if what == "misname" and isinstance(holder, dict):
                holder[f"{last}s"] = value
    return document


@given(damaged())
@quick
def test_the_schema_and_the_declarations_agree_on_damaged_documents(document: Any) -> None:
    assert accepts(document) is (structural_faults(document) == []), structural_faults(document)


# Patterns.

TEXTS = [
    "", "a", "b", "ab", "a\n", "\n", "a\nb", "a b", "\x1c", "\x85", "\ufeff", "\u2028", "é", "🚀", "$", "^", "-", "]", "a-b", "GID_a", "TBW102", "TBW102x",
    "%RETRY%x", "mqtt://h:1", "1", "٣", "---", "aa", "a" * 64, "a" * 65, "\0", "env:x", "env:\r", "2026-01-01T00:00:00Z", "/", "\\", "a|b",
]  # fmt: skip


def declared_patterns() -> Iterator[str]:
    yield from sorted({kind.pattern for kind in kinds().values() if isinstance(kind, Text | Secret)})


@pytest.mark.parametrize(
    "pattern", [*declared_patterns(), r"a|b\Z", r"\S+", r"[^\s:/]+", r".", r"(?!a\Z)[ab]+", r"[\]\-a]+", r"\$x?"]
)
def test_a_translated_pattern_means_the_same(pattern: str) -> None:
    translated = ecma_pattern(pattern)
    assert (translated[0], translated[-1]) == ("^", "$")
    for text in [*TEXTS, *ODD]:
        if isinstance(text, str):
            ours = re.fullmatch(pattern, text, re.DOTALL) is not None
            assert (re.search(translated[:-1] + r"\Z", text) is not None) is ours, text


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d", r"\w", r"\bx", r"a$", r"^a", r"(?i)a", r"(?P<n>a)", r"(?<=a)b", r"(a)\1", r"a++", r"a{,3}", r"[\d]", r"[\S]", r"\-", r"a{", r"]a", r"(?>a)", r"\A",
    ],
)  # fmt: skip
def test_what_means_something_else_in_ecma_is_refused(pattern: str) -> None:
    with pytest.raises(UntranslatablePattern, match="no translation of"):
        ecma_pattern(pattern)


def test_white_space_is_what_python_takes_for_it() -> None:
    ours = re.compile(f"[{WHITE_SPACE}]")
    assert [at for at in range(sys.maxunicode + 1) if bool(ours.match(chr(at))) != bool(re.match(r"\s", chr(at)))] == []


# Where it is used.


def test_no_handler_loads_what_makes_the_schema() -> None:
    script = "import sys, functions.outbound.app, functions.inbound.app; print(*sys.modules, sep='\\n')"
    path = [str(ROOT / "layers" / "common"), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={},
    )
    tools = {f"mqbridge.rules.{name}" for name in ("schema", "ecma", "declarations")}
    assert tools & set(done.stdout.split()) == set()


MODELINE = "# yaml-language-server: $schema="


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("rules.yaml")), ids=lambda path: path.parent.name)
def test_an_example_of_rules_names_its_schema_to_editors(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith(MODELINE)
    assert (path.parent / first.removeprefix(MODELINE)).resolve() == COMMITTED
    VALIDATOR.validate(data_of(path))
