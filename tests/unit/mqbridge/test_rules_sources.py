"""Where rules come from: every kind of place, and what is said when one gives none."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mqbridge.rules import InvalidRules, UnreadableRules
from mqbridge.sources.parameters import in_parts
from mqbridge.sources.places import (
    DEFAULT_TTL_S,
    AppConfigProfile,
    Inline,
    LocalFile,
    Parameter,
    S3Object,
    place_of,
    ttl_s_of,
)
from mqbridge.sources.reading import CannotRead
from tests.unit.mqbridge.support import ROOT, forget_boto3
from tests.unit.mqbridge.watched_rules import FAULTY, Watched, replace_file, saying, text_of


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture
def aws(aws_keys: None) -> Iterator[None]:
    """An AWS account of this test's own, in memory."""
    del aws_keys
    with mock_aws():
        yield


# --- What the settings say ---


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("rules.json", LocalFile("rules.json")),
        ("/opt/rules.json", LocalFile("/opt/rules.json")),
        ("ssm", LocalFile("ssm")),
        (' \n{"Instances": {}}', Inline(' \n{"Instances": {}}')),
        ("ssm:/mqbridge/rules", Parameter("/mqbridge/rules")),
        ("ssm:rules", Parameter("rules")),
        ("ssm:/mqbridge/rules/", Parameter("/mqbridge/rules/")),
        ("appconfig:app/prod/rules", AppConfigProfile("app", "prod", "rules")),
        ("s3://bucket/a/b.json", S3Object("bucket", "a/b.json")),
    ],
)
def test_the_setting_names_a_place(source: str, place: Any) -> None:
    assert place_of(source) == place


def test_the_documentation_names_every_kind_of_place_as_it_is_written() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    table = page.partition("## Where rules come from")[2].partition("\n\nWhat comes from")[0]
    places = [place_of(each) for each in re.findall(r"^\| `([^`]+)` \| (?!what)", table, re.MULTILINE)]
    assert [type(each) for each in places] == [LocalFile, Inline, Parameter, Parameter, AppConfigProfile, S3Object]
    assert f"`{DEFAULT_TTL_S:g}`" in page


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ssm:", "ssm:/name"),
        ("ssm:/", "ssm:/name"),
        ("appconfig:app/prod", "appconfig:APPLICATION/ENVIRONMENT/PROFILE"),
        ("appconfig:app//rules", "appconfig:APPLICATION/ENVIRONMENT/PROFILE"),
        ("appconfig:a/b/c/d", "appconfig:APPLICATION/ENVIRONMENT/PROFILE"),
        ("s3://bucket", "s3://bucket/key"),
        ("s3:///key", "s3://bucket/key"),
        ("s3:bucket/key", "s3://bucket/key"),
    ],
)
def test_what_only_begins_as_a_place_is_refused_with_its_form(source: str, expected: str) -> None:
    with pytest.raises(UnreadableRules, match=f"^{re.escape(source)}: expected {re.escape(expected)}"):
        place_of(source)


@pytest.mark.parametrize(
    ("setting", "place", "ttl_s"),
    [
        (None, Parameter("/a"), 60),
        ("", S3Object("b", "k"), 60),
        ("5", AppConfigProfile("a", "b", "c"), 5),
        ("0", Parameter("/a"), 0),
        ("0.5", Parameter("/a"), 0.5),
        (None, LocalFile("a"), None),
        ("30", LocalFile("a"), 30),
        (None, Inline("{}"), None),
        ("30", Inline("{}"), None),
    ],
)
def test_the_time_to_live_is_a_minute_for_what_is_remote(setting: str | None, place: Any, ttl_s: float | None) -> None:
    assert ttl_s_of(setting, place) == ttl_s


@pytest.mark.parametrize("setting", ["-1", "a minute", "nan", "inf"])
def test_a_time_to_live_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(UnreadableRules, match=r"MQBRIDGE_RULES_TTL: expected seconds, 0 or more, got '"):
        ttl_s_of(setting, Parameter("/a"))


# --- Files and the environment ---


def test_a_file_stays_as_it_was_read_unless_a_time_to_live_is_set(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(text_of("one"))
    once, watched = Watched(str(path)), Watched(str(path), "10")
    assert (once.topic(), watched.topic()) == ("one", "one")
    replace_file(path, text_of("two"))
    assert (once.topic(86_400), watched.topic(10)) == ("one", "two")
    assert watched.rules.current().name == str(path)
    replace_file(path, FAULTY)
    assert watched.topic(10) == "two"
    assert watched.topic(10) == "two"
    path.unlink()
    assert watched.topic(10) == "two"
    replace_file(path, text_of("three"))
    assert watched.topic(10) == "three"
    assert watched.counted == {"ok": 2, "refused": 1, "failed": 1}


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert (
        Watched(f"{tmp_path}/none.json").refusal() == f"{tmp_path}/none.json: cannot be read: No such file or directory"
    )
    assert Watched(str(tmp_path)).refusal() == f"{tmp_path}: cannot be read: Is a directory"
    (tmp_path / "torn.json").write_text(text_of()[:-5])
    assert Watched(f"{tmp_path}/torn.json").refusal().startswith(f"{tmp_path}/torn.json: not JSON: ")
    assert Watched("nul\0").refusal().startswith("nul\0: cannot be read: ")


def test_the_document_itself_is_a_source() -> None:
    watched = Watched(text_of("one"), "0")
    assert watched.topic() == "one"
    assert watched.topic(1) == "one"
    assert watched.counted == {}
    with pytest.raises(InvalidRules, match=r"^\(rules\)"):
        Watched(FAULTY).rules.current()
    assert Watched("{").refusal().startswith("(rules)")


# --- Parameter Store ---


def put(name: str, value: str, kind: Any = "String") -> None:
    boto3.client("ssm").put_parameter(Name=name, Value=value, Type=kind, Overwrite=True, Tier="Advanced")


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("kind", ["String", "SecureString"])
def test_a_parameter_is_a_source(kind: str) -> None:
    put("/mqbridge/rules", text_of("one"), kind)
    watched = Watched("ssm:/mqbridge/rules")
    assert watched.topic() == "one"
    assert watched.rules.current().name == "ssm:/mqbridge/rules"
    put("/mqbridge/rules", text_of("two"), kind)
    assert watched.topic(30) == "one"
    assert watched.topic(30) == "two"


@pytest.mark.usefixtures("aws")
def test_a_document_in_parts_is_joined_in_the_order_of_their_names_counted_as_numbers() -> None:
    """Twelve: AWS gives ten a page. Deeper ones, and neighbours, are no parts."""
    text = text_of("one")
    size = -(-len(text) // 12)
    for at in range(12):
        put(f"/rules/{at}", text[at * size : (at + 1) * size])
    put("/rules/12/x", "deeper")
    put("/rulesets", "beside")
    watched = Watched("ssm:/rules/", "1")
    assert watched.topic() == "one"
    put("/rules/11", "torn")
    assert watched.topic(1) == "one"
    assert watched.counted == {"refused": 1}


@pytest.mark.usefixtures("aws")
def test_a_parameter_that_gives_no_rules_is_said() -> None:
    put("/yaml", "Instances: {}")
    put("/torn", text_of()[:-5])
    put("/faulty", FAULTY)
    assert Watched("ssm:/missing").refusal() == "ssm:/missing: AWS answered ParameterNotFound"
    assert Watched("ssm:/missing/").refusal() == "ssm:/missing/: there are no parameters directly below this path"
    assert Watched("ssm:/yaml").refusal() == "ssm:/yaml: expected a JSON object, got something else"
    assert Watched("ssm:/torn").refusal().startswith("ssm:/torn: not JSON: ")
    assert re.match(
        r"ssm:/faulty:1:\d+ MB\d+ OutboundRules\[0\]\.Source\.Topic: expected", Watched("ssm:/faulty").refusal()
    )


def test_without_region_or_boto3_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for source in ("ssm:/rules", "appconfig:a/b/c"):
        assert Watched(source).refusal() == f"{source}: AWS cannot be asked: NoRegionError"
    forget_boto3(monkeypatch)
    for source in ("ssm:/rules", "s3://bucket/key", "appconfig:a/b/c"):
        assert Watched(source).refusal() == f"{source}: needs boto3 (extra mqbridge[aws])"


class ScriptedParameters:
    """Pages of the Parameter Store; what moto cannot do."""

    def __init__(self, *pages: Any) -> None:
        self.pages = list(pages)

    def get_parameters_by_path(self, **request: Any) -> Any:
        assert request["Path"] == "/rules/"
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return page


def page_of(first: int, count: int) -> dict[str, Any]:
    parts = [{"Name": f"/rules/{at}", "Value": "x"} for at in range(first, first + count)]
    return {"Parameters": parts, "NextToken": "more"}


def test_parts_are_not_read_without_end_nor_taken_for_the_whole() -> None:
    endless = ScriptedParameters(*(page_of(10 * at, 10) for at in range(100)))
    with pytest.raises(CannotRead, match="expected at most 512 parts, got more"):
        in_parts(endless, "/rules/")
    assert len(endless.pages) > 40
    with pytest.raises(CannotRead, match="AWS cannot be asked: TimeoutError"):
        in_parts(ScriptedParameters(page_of(0, 10), TimeoutError()), "/rules/")


# --- S3 ---


@pytest.mark.usefixtures("aws")
def test_an_object_is_a_source_and_is_fetched_again_only_if_it_changed() -> None:
    client: Any = boto3.client("s3")
    client.create_bucket(Bucket="rules", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_object(Bucket="rules", Key="a/rules.json", Body=b"\xef\xbb\xbf" + text_of("one").encode())
    watched = Watched("s3://rules/a/rules.json", "1")
    assert watched.topic() == "one"
    assert watched.rules.current().name == "s3://rules/a/rules.json"
    assert watched.topic(1) == "one"
    client.put_object(Bucket="rules", Key="a/rules.json", Body=text_of("two").encode())
    assert watched.topic(1) == "two"
    client.delete_object(Bucket="rules", Key="a/rules.json")
    assert watched.topic(1) == "two"
    assert watched.counted == {"ok": 1, "failed": 1}


@pytest.mark.usefixtures("aws")
def test_an_object_that_gives_no_rules_is_said() -> None:
    client: Any = boto3.client("s3")
    client.create_bucket(Bucket="rules", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_object(Bucket="rules", Key="bytes", Body=b"\xff\xfe")
    client.put_object(Bucket="rules", Key="large", Body=b"{" * (4 * 1024 * 1024 + 1))
    assert Watched("s3://nowhere/key").refusal() == "s3://nowhere/key: AWS answered NoSuchBucket"
    assert Watched("s3://rules/key").refusal() == "s3://rules/key: AWS answered NoSuchKey"
    assert Watched("s3://rules/bytes").refusal() == "s3://rules/bytes: expected JSON in UTF-8, got other bytes"
    assert Watched("s3://rules/large").refusal() == "s3://rules/large: expected at most 4194304 bytes, got more"


@pytest.mark.usefixtures("aws_keys")
def test_an_object_that_broke_off_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a document that is refused the tag is kept; this one's must not be."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nETag: x\r\n\r\n{"
    with saying(half) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert re.match("s3://b/k: (the answer broke off|AWS cannot be asked: )", Watched("s3://b/k").refusal())
