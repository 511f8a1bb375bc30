"""Enrich: rows of the rules, of files and of DynamoDB, remembered for a while; and what becomes of events while a table is down."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mqbridge.cleanse import FileTable, Operator, RealOutside, Rejected, Unavailable, outside
from mqbridge.cleanse.remembering import PAUSE_S, Remembered
from mqbridge.cleanse.tables import json_of_attribute
from tests.unit.mqbridge.support import quick
from tests.unit.mqbridge.test_cleanse import FakeOutside, Json, applied, bodies, event_of, operator, rejection

ROWS = {
    "Inline": {
        "a": {"site": "north", "hall": 3},
        "7": {"site": "south"},
        "1.5": {"site": "half"},
        "": {"site": "nowhere"},
    }
}
BY_KEY = {"Key": "$.data.body.key", "From": ROWS}
CSV = {"File": {"Path": "sites.csv"}}


def enriched(body: Json, world: FakeOutside | None = None, /, **settings: Json) -> Json:
    """Return the only body that is left of one, enriched by its key."""
    (after,) = applied(body, world, Enrich={**BY_KEY, **settings})
    return after


# Where the row goes, and which it is.


@pytest.mark.parametrize(
    ("settings", "body", "after"),
    [
        ({}, {"key": "a"}, {"key": "a", "site": "north", "hall": 3}),
        ({}, {"key": 7}, {"key": 7, "site": "south"}),
        ({}, {"key": 1.5}, {"key": 1.5, "site": "half"}),
        ({}, {"key": "a", "site": "made up"}, {"key": "a", "site": "north", "hall": 3}),
        ({"Into": "$.data.body.row"}, {"key": "a"}, {"key": "a", "row": {"site": "north", "hall": 3}}),
        ({"Into": "$.data.body.row"}, {"key": "7", "row": {"x": 1}}, {"key": "7", "row": {"x": 1, "site": "south"}}),
        ({"Into": "$.data.body.l[0]"}, {"key": "7", "l": [{}]}, {"key": "7", "l": [{"site": "south"}]}),
        ({"Key": "$.data.body..key"}, {"x": {"key": "7"}}, {"x": {"key": "7"}, "site": "south"}),
        ({"Key": "$.data.props.clientId", "From": {"Inline": {"d1": {"x": 1}}}}, {}, {"x": 1}),
    ],
    ids=str,
)
def test_the_row_of_the_key_is_merged_into_the_object(settings: Json, body: Json, after: Json) -> None:
    assert enriched(body, **settings) == after


@pytest.mark.parametrize(
    ("settings", "body", "reason", "words"),
    [
        ({}, "a", "", ""),
        ({"Into": "$.data.body.key"}, {"key": "a"}, "wrong_type", "$.data.body.key: expected an object to merge a row into, got text"),
        ({"Into": "$.data.body.l[0]"}, {"key": "a", "l": []}, "path_blocked", "$.data.body.l[0]"),
        ({"Into": "$.data.body.key.row"}, {"key": "a"}, "path_blocked", "$.data.body.key.row"),
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_has_no_place_is_rejected(settings: Json, body: Json, reason: str, words: str) -> None:
    if not reason:
        assert enriched(body, **settings) == body  # there is no key in it
        return
    error = rejection(body, Enrich={**BY_KEY, **settings})
    assert error.reason == reason
    assert words in error.detail


NO_ROW: list[tuple[Json, str]] = [
    ({"key": "b"}, "expected a row for the key at $.data.body.key, got none"),
    ({"key": 8}, "expected a row for the key at $.data.body.key, got none"),
    ({}, "$.data.body.key: expected text or a number as the key, got nothing"),
    ({"key": None}, "got null"),
    ({"key": True}, "got true or false"),
    ({"key": ["a"]}, "got an array"),
    ({"key": {"a": 1}}, "got an object"),
    ({"key": ""}, "got empty text"),
]


@pytest.mark.parametrize(("body", "why"), NO_ROW, ids=str)
def test_on_missing_says_what_becomes_of_an_event_without_a_row(body: Json, why: str) -> None:
    event = event_of(body)
    assert operator(Enrich=BY_KEY).apply(event) == (event,)
    assert operator(Enrich={**BY_KEY, "OnMissing": "Keep"}).apply(event) == (event,)
    assert operator(Enrich={**BY_KEY, "OnMissing": "Drop"}).apply(event) == ()
    error = rejection(body, Enrich={**BY_KEY, "OnMissing": "Reject"})
    assert error.reason == "enrichment_missing"
    assert error.detail.endswith(why)
    assert "'b'" not in error.detail, "the key is part of the payload"


# Files.


@pytest.mark.parametrize(
    ("content", "column", "key", "row"),
    [
        (b"key,site\na,north\n", None, "a", {"site": "north"}),
        (b"site,key\r\nnorth,a\r\n\r\nsouth,b\r\n", "key", "b", {"site": "south"}),
        ('key,site\na,"Zürich, ""the"" one\nand only"\n'.encode(), None, "a", {"site": 'Zürich, "the" one\nand only'}),
        (b"\xef\xbb\xbfkey,site\na,north\n", "key", "a", {"site": "north"}),
        (b"key,site\na,north\na,south", None, "a", {"site": "south"}),
        (b"key\na\n", None, "a", {}),
        (b"key,site\n7,x\n", None, 7, {"site": "x"}),
    ],
    ids=str,
)
def test_rows_of_a_csv_file_are_text_by_column(content: bytes, column: str | None, key: Json, row: Json) -> None:
    world = FakeOutside(files={"sites.csv": content})
    source = {"File": {"Path": "sites.csv", **({"KeyColumn": column} if column else {})}}
    assert enriched({"key": key}, world, From=source) == {"key": key, **row}
    assert enriched({"key": "missing"}, world, From=source) == {"key": "missing"}


@pytest.mark.parametrize(
    ("content", "column", "key", "row"),
    [
        (b'{"a": {"site": "north", "hall": 3}}', None, "a", {"site": "north", "hall": 3}),
        (b'[{"id": "a", "site": "north"}, {"id": 7, "site": "south"}]', "id", 7, {"site": "south"}),
        (b'[{"id": 1.5, "site": "half"}]', "id", 1.5, {"site": "half"}),
        (b"{}", None, "a", {}),
    ],
    ids=str,
)
def test_rows_of_a_json_file_are_what_they_are(content: bytes, column: str | None, key: Json, row: Json) -> None:
    world = FakeOutside(files={"sites.json": content})
    source = {"File": {"Path": "sites.json", **({"KeyColumn": column} if column else {})}}
    assert enriched({"key": key}, world, From=source) == {"key": key, **row}


@pytest.mark.parametrize(
    ("name", "content", "column", "words"),
    [
        ("t.csv", b"", None, "t.csv: expected a header line, got none"),
        ("t.csv", b"id,site\n", "key", "expected the column 'key' in the header, got none of that name"),
        ("t.csv", b"id,site\na,b\na,b,c\n", None, "line 3: expected 2 columns as in the header, got 3"),
        ("t.csv", b'id,site\na,"b"c\n', None, "line 2: expected CSV, got other text"),
        ("t.csv", b"id\n" + b"x" * 200_000, None, "expected CSV, got other text"),
        ("t.csv", b"id\n\xff\n", None, "expected UTF-8 text, got other bytes"),
        ("t.json", b"[", None, "expected JSON, got other text"),
        ("t.json", b"[]", None, "expected an object of rows by key, as there is no KeyColumn, got an array"),
        ("t.json", b"{}", "id", "expected an array of rows, as there is KeyColumn, got an object"),
        ("t.json", b'{"a": 1}', None, "'a': expected a row, which is an object, got a number"),
        ("t.json", b"[1]", "id", "row 0: expected a row, which is an object, got a number"),
        ("t.json", b'[{"id": null}]', "id", "row 0: expected text or a number as 'id', got something else"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_in_its_form_is_retried_as_it_may_be_mended(
    name: str, content: bytes, column: str | None, words: str
) -> None:
    table = FileTable(FakeOutside(files={name: content}), name, column, ttl_s=300)
    with pytest.raises(Unavailable) as raised:
        table.row("a")
    assert raised.value.reason == "enrichment_unavailable"
    assert raised.value.detail.startswith(f"{name}: ")
    assert words in raised.value.detail


def test_a_file_is_read_once_and_again_after_its_time() -> None:
    world = FakeOutside(files={"sites.csv": b"key,site\na,north\n"})
    enrich = operator(world, Enrich={**BY_KEY, "From": CSV, "Ttl": 60})

    def site() -> Json:
        return bodies(enrich.apply(event_of({"key": "a"})))[0].get("site")

    assert (site(), site()) == ("north", "north")
    world.files["sites.csv"] = b"key,site\na,south\n"
    world.time_s += 59
    assert site() == "north"
    world.time_s += 1
    assert (site(), site()) == ("south", "south")
    assert world.asked == ["sites.csv"] * 2
    world.time_s += 60
    world.is_down = True
    assert site() == "south", "what was read before counts while it cannot be read"


def test_a_relative_path_starts_at_the_folder_of_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sites.csv").write_text("key,site\na,north\n")
    assert RealOutside(tmp_path).read_file("sites.csv").startswith(b"key")
    assert RealOutside().read_file(str(tmp_path / "sites.csv")).startswith(b"key")
    monkeypatch.chdir(tmp_path)
    assert RealOutside().read_file("sites.csv").startswith(b"key")
    for path in ("gone.csv", "", "nul\0.csv"):
        with pytest.raises(Unavailable) as raised:
            RealOutside(tmp_path).read_file(path)
        assert raised.value.reason == "enrichment_unavailable"
        assert raised.value.detail.startswith(f"{path}: cannot be read: ")


# What is remembered.

TABLE = {"DynamoDB": {"Table": "sites", "KeyName": "id"}}


def test_a_row_and_that_there_is_none_are_remembered_for_a_while() -> None:
    world = FakeOutside(items={"a": {"id": {"S": "a"}, "site": {"S": "north"}}})
    enrich = operator(world, Enrich={**BY_KEY, "From": TABLE, "Ttl": 60})

    def after(key: str) -> Json:
        return bodies(enrich.apply(event_of({"key": key})))[0]

    assert after("a") == after("a") == {"key": "a", "site": "north"}
    assert after("b") == after("b") == {"key": "b"}
    assert world.asked == ["sites None id S a", "sites None id S b"]
    world.items["b"] = {"id": {"S": "b"}, "site": {"S": "south"}}
    world.time_s += 59.9
    assert after("b") == {"key": "b"}
    world.time_s += 0.1
    assert after("b") == {"key": "b", "site": "south"}


def test_with_a_ttl_of_0_each_event_asks() -> None:
    world = FakeOutside(items={"a": {"site": {"S": "north"}}})
    enrich = operator(world, Enrich={**BY_KEY, "From": TABLE, "Ttl": 0})
    for _ in range(3):
        enrich.apply(event_of({"key": "a"}))
    assert len(world.asked) == 3


def test_while_a_table_is_down_a_row_counts_however_old_and_that_there_was_none_does_not() -> None:
    world = FakeOutside(items={"a": {"site": {"S": "north"}}})
    enrich = operator(world, Enrich={**BY_KEY, "From": TABLE, "Ttl": 60, "OnMissing": "Drop"})
    assert [bodies(enrich.apply(event_of({"key": key}))) for key in ("a", "b")] == [[{"key": "a", "site": "north"}], []]
    world.is_down = True
    world.time_s += 86_400
    for _ in range(2):
        assert bodies(enrich.apply(event_of({"key": "a"}))) == [{"key": "a", "site": "north"}]
        for key in ("b", "never asked"):
            with pytest.raises(Unavailable) as raised:
                enrich.apply(event_of({"key": key}))
            assert (raised.value.reason, raised.value.detail) == ("enrichment_unavailable", "down")


def test_a_table_that_is_down_is_left_alone_for_a_moment() -> None:
    world = FakeOutside(is_down=True)
    enrich = operator(world, Enrich={**BY_KEY, "From": TABLE})

    def ask() -> None:
        for key in "abc":
            with pytest.raises(Unavailable):
                enrich.apply(event_of({"key": key}))

    ask()
    assert len(world.asked) == 1, "a batch does not wait for each of its records until time runs out"
    world.time_s += PAUSE_S
    ask()
    assert len(world.asked) == 2
    world.is_down = False
    world.time_s += PAUSE_S
    enrich.apply(event_of({"key": "a"}))
    enrich.apply(event_of({"key": "b"}))
    assert len(world.asked) == 4


def test_memory_is_bounded_and_forgets_what_was_found_longest_ago() -> None:
    asked: list[int] = []

    def look_up(key: int) -> str:
        asked.append(key)
        return str(key)

    remembered = Remembered[int, str](look_up, lambda: 0.0, 60, max_entries=3)
    for key in (1, 2, 3, 4, 4, 3, 2, 1, 4):
        assert remembered.get(key) == str(key)
    assert asked == [1, 2, 3, 4, 1]


def test_a_clock_that_is_set_back_makes_nothing_stay_for_ever() -> None:
    time_s = [1_000.0]
    asked: list[str] = []

    def look_up(key: str) -> str:
        asked.append(key)
        return key

    remembered = Remembered[str, str](look_up, lambda: time_s[0], 60, max_entries=3)
    remembered.get("a")
    time_s[0] = 10.0
    remembered.get("a")
    assert asked == ["a", "a"]


def test_tasks_that_work_in_threads_share_what_is_remembered() -> None:
    remembered = Remembered[int, int](lambda key: key, lambda: 0.0, 60, max_entries=5)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(key for at in range(2_000) if remembered.get(key := at % 11) != key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# DynamoDB.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"S": "text"}, "text"),
        ({"N": "7"}, 7),
        ({"N": "-1.50"}, -1.5),
        ({"N": "123456789012345678901234567890"}, 123456789012345678901234567890),
        ({"N": "1E+3"}, 1000.0),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"B": b"\x00\xff"}, "AP8="),
        ({"L": [{"S": "a"}, {"L": []}, {"N": "1"}]}, ["a", [], 1]),
        ({"M": {"a": {"M": {"b": {"NULL": True}}}}}, {"a": {"b": None}}),
        ({"SS": ["b", "a"]}, ["a", "b"]),
        ({"NS": ["10", "9", "1.5"]}, [1.5, 9, 10]),
        ({"BS": [b"b", b"a"]}, ["YQ==", "Yg=="]),
    ],
    ids=str,
)
def test_an_attribute_becomes_the_json_that_it_means(value: Json, expected: Json) -> None:
    got = json_of_attribute(value)
    assert (got, type(got)) == (expected, type(expected))


attributes = st.recursive(
    st.one_of(
        st.text().map(lambda text: ({"S": text}, text)),
        st.integers().map(lambda number: ({"N": str(number)}, number)),
        st.booleans().map(lambda flag: ({"BOOL": flag}, flag)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda pairs: ({"L": [a for a, _ in pairs]}, [b for _, b in pairs])),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(
            lambda pairs: ({"M": {k: a for k, (a, _) in pairs.items()}}, {k: b for k, (_, b) in pairs.items()})
        ),
    ),
    max_leaves=6,
)


@given(attributes)
@quick
def test_attributes_of_any_shape_become_json(pair: Any) -> None:
    attribute, expected = pair
    assert json_of_attribute(attribute) == expected


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys of an AWS account that nobody has, and no client of another test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    outside._clients.clear()
    yield
    outside._clients.clear()


def from_dynamodb(**more: str) -> Operator:
    table = {"Table": "sites", "KeyName": "id", **more}
    return operator(RealOutside(), Enrich={**BY_KEY, "From": {"DynamoDB": table}, "Ttl": 0})


def made_table(region: str, key_type: Literal["S", "N"], *items: dict[str, Any]) -> None:
    client = boto3.client("dynamodb", region_name=region)
    client.create_table(
        TableName="sites",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": key_type}],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in items:
        client.put_item(TableName="sites", Item=item)


@pytest.mark.usefixtures("aws")
def test_items_of_tables_as_moto_has_them() -> None:
    with mock_aws():
        owner = {"M": {"name": {"S": "Ann"}, "age": {"NULL": True}}}
        made_table("eu-west-1", "S", {"id": {"S": "a"}, "hall": {"N": "3"}, "tags": {"SS": ["y", "x"]}, "owner": owner})
        made_table("us-east-2", "N", {"id": {"N": "7"}, "site": {"S": "south"}})
        by_text = from_dynamodb()
        assert bodies(by_text.apply(event_of({"key": "a"}))) == [
            {"key": "a", "hall": 3, "tags": ["x", "y"], "owner": {"name": "Ann", "age": None}}
        ]
        assert bodies(by_text.apply(event_of({"key": "b"}))) == [{"key": "b"}]
        by_number = from_dynamodb(Region="us-east-2", KeyAttributeType="N")
        for key in (7, "7", 7.0):
            assert bodies(by_number.apply(event_of({"key": key}))) == [{"key": key, "site": "south"}]


def test_a_key_that_is_no_number_is_not_asked_for_where_keys_are_numbers() -> None:
    world = FakeOutside(items={"-1.5E+3": {"x": {"S": "y"}}})
    source = {"DynamoDB": {"Table": "sites", "KeyName": "id", "KeyAttributeType": "N"}}
    assert enriched({"key": "-1.5E+3"}, world, From=source) == {"key": "-1.5E+3", "x": "y"}
    for key in ("seven", "nan", "inf", "0x7", "1_000", "٣", " 7"):
        assert enriched({"key": key}, world, From=source) == {"key": key}
    assert world.asked == ["sites None id N -1.5E+3"]


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("ValidationException", Rejected, "enrichment_refused"),
        ("ProvisionedThroughputExceededException", Unavailable, "enrichment_unavailable"),
        ("ResourceNotFoundException", Unavailable, "enrichment_unavailable"),
        ("AccessDeniedException", Unavailable, "enrichment_unavailable"),
        ("InternalServerError", Unavailable, "enrichment_unavailable"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_what_aws_answers_is_the_key_s_fault_or_may_pass(code: str, outcome: type[Exception], reason: str) -> None:
    client = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    outside._clients["dynamodb", None] = client
    with Stubber(client) as stubbed:
        stubbed.add_client_error("get_item", code, "quotes the key a and the token")
        with pytest.raises(outcome) as raised:
            from_dynamodb().apply(event_of({"key": "a"}))
    assert str(raised.value) == f"{reason}: table sites: AWS answered {code}"


@pytest.mark.usefixtures("aws")
def test_without_a_region_aws_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(Unavailable) as raised:
        from_dynamodb().apply(event_of({"key": "a"}))
    assert raised.value.detail == "table sites: AWS cannot be asked: NoRegionError"


def test_without_boto3_aws_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(Unavailable) as raised:
        from_dynamodb().apply(event_of({"key": "a"}))
    assert raised.value.detail == "table sites: needs boto3 (extra mqbridge[aws])"
