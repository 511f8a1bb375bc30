"""Where rules come from: every kind of place, what is said when one gives none, and what holds while one changes or fails."""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from moto import mock_aws

from functions.outbound.app import handler as outbound_handler
from mqbridge import handler as handler_module
from mqbridge.handler import Bridge
from mqbridge.rules import InvalidRules, Rules, RulesError, UnreadableRules, load
from mqbridge.sources import RefreshedRules
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
from mqbridge.telemetry import Counters
from tests.unit.mqbridge.support import ROOT, document, forget_boto3, outbound_rule


def text_of(topic: str = "telemetry", **more: Any) -> str:
    return json.dumps(document(OutboundRules=[outbound_rule(topic=topic)], **more))


FAULTY = json.dumps(document(OutboundRules=[outbound_rule(parent="a/b")]))


def topic_of(rules: Rules) -> str:
    return str(rules.outbound[0].destination.topic)


class Clock:
    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """Rules of a source, a clock to move, and what was counted."""

    def __init__(self, source: str, ttl: str | None = None, **more: Any) -> None:
        self.clock, self.counters = Clock(), Counters()
        self.rules = RefreshedRules(source, ttl, self.counters, clock=self.clock, **more)

    def topic(self, after_s: float = 0.0) -> str:
        self.clock.now += after_s
        return topic_of(self.rules.current())

    def refusal(self) -> str:
        with pytest.raises(RulesError) as raised:
            self.rules.current()
        return str(raised.value)

    @property
    def counted(self) -> dict[str, float]:
        return {
            dict(labels)["outcome"]: value
            for (name, labels), value in self.counters.snapshot().items()
            if name == "mqbridge_config_reloads_total"
        }


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


# --- While rules are in force: a scripted place ---


class ScriptedReader:
    """Gives what it is told to, in turn."""

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = list(answers)

    def read(self) -> Rules | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # what the test put there


def scripted(*answers: Any, ttl: str | None = None) -> Watched:
    reader = ScriptedReader([load(each) if isinstance(each, str) else each for each in answers])
    return Watched("ssm:/rules", ttl, opened=lambda: reader)


def refused() -> InvalidRules:
    with pytest.raises(InvalidRules) as raised:
        load(FAULTY)
    return raised.value


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records]


def test_rules_are_looked_at_again_when_their_time_is_over_and_not_before() -> None:
    watched = scripted(text_of("one"), None, text_of("two"))
    assert watched.topic() == "one"
    first = watched.rules.current()
    assert watched.topic(59.9) == "one"
    assert watched.topic(0.2) == "one"  # looked: nothing new
    assert watched.rules.current() is first
    assert watched.topic(60.0) == "two"
    assert watched.counted == {"ok": 1}


def test_a_time_to_live_of_0_looks_every_time() -> None:
    watched = scripted(text_of("one"), text_of("two"), text_of("three"), ttl="0")
    assert [watched.topic() for _ in range(3)] == ["one", "two", "three"]


def test_a_clock_that_is_set_back_puts_no_look_off() -> None:
    watched = scripted(text_of("one"), text_of("two"))
    watched.topic()
    assert watched.topic(-86_400) == "two"


def test_changed_rules_with_faults_are_refused_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The reader gives a document once; it stays refused until it changes, whether or not the place answers."""
    watched = scripted(text_of("one"), refused(), None, CannotRead("x"), None, text_of("one"), text_of("two"))
    watched.topic()
    caplog.clear()
    assert [watched.topic(60) for _ in range(6)] == ["one", "one", "one", "one", "one", "two"]
    assert watched.counted == {"refused": 1, "failed": 1, "ok": 1}
    lines = logged(caplog)
    assert [line["levelname"] for line in lines] == ["ERROR", "ERROR", "INFO", "INFO", "INFO"]
    assert lines[0]["message"] == "changed rules are refused; those from before stay in force"
    assert lines[0]["source"] == "ssm:/rules"
    (fault,) = lines[0]["faults"]
    assert "OutboundRules[0].Source.Topic: expected" in fault


def test_a_place_that_fails_is_said_once_counted_each_time_and_left_alone_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = CannotRead("AWS cannot be asked: ReadTimeoutError")
    watched = scripted(text_of("one"), slow, slow, CannotRead("AWS answered AccessDenied"), None, ttl="0")
    watched.topic()
    caplog.clear()
    assert watched.topic(1) == "one"
    assert watched.topic(9) == "one"  # not asked
    assert watched.counted == {"failed": 1}
    assert [watched.topic(10) for _ in range(3)] == ["one"] * 3
    assert watched.counted == {"failed": 3}
    assert [(line["levelname"], line.get("faults")) for line in logged(caplog)] == [
        ("ERROR", ["AWS cannot be asked: ReadTimeoutError"]),
        ("ERROR", ["AWS answered AccessDenied"]),
        ("INFO", None),
    ]


def test_a_defect_that_a_document_brings_to_light_leaves_the_rules_in_force(caplog: pytest.LogCaptureFixture) -> None:
    watched = scripted(text_of("one"), ZeroDivisionError("x"), text_of("two"))
    watched.topic()
    assert [watched.topic(60) for _ in range(2)] == ["one", "two"]
    assert watched.counted == {"refused": 1, "ok": 1}
    (said, _) = logged(caplog)
    assert said["exc_info"][0] is ZeroDivisionError


def test_the_same_rules_in_another_layout_are_no_change() -> None:
    watched = scripted(text_of("one"), json.dumps(json.loads(text_of("one")), indent=4))
    first = watched.rules.current()
    watched.topic(60)
    assert watched.rules.current() is first
    assert watched.counted == {}


def test_a_place_that_gives_nothing_at_first_is_said() -> None:
    assert scripted(None).refusal() == "ssm:/rules: it gave no document"


def test_without_rules_yet_every_call_tries_anew() -> None:
    watched = scripted(CannotRead("no such place"), refused(), text_of("one"))
    assert watched.refusal() == "ssm:/rules: no such place"
    assert "OutboundRules[0].Source.Topic: expected" in watched.refusal()
    assert watched.topic() == "one"
    assert watched.counted == {"failed": 1, "refused": 1}


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


def replace_file(path: Path, text: str) -> None:
    """As a mounted volume changes: another file takes the name."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


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


# --- AppConfig: moto has no appconfigdata, and nothing has the extension. Stand-ins for both, by AWS's documentation ---


class AppConfigStandIn:
    """AppConfig's data API and its Lambda extension on one port of loopback; `document` is what is deployed."""

    def __init__(self) -> None:
        self.document = b""
        self.status = 200
        self.asked: list[str] = []
        self.poll_interval_s = 15
        self.tokens: dict[str, bytes] = {}  # good for one question each, with what the asker has already
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.asked.append(f"session {'/'.join(str(value) for value in request.values())}")
                token = stand_in.token(b"")
                self.answer(201, json.dumps({"InitialConfigurationToken": token}).encode())

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if stand_in.status != 200:
                    stand_in.asked.append("failed")
                    self.answer(stand_in.status, b"{}")
                elif url.path != "/configuration":
                    stand_in.asked.append(url.path)
                    self.answer(200, stand_in.document)
                else:
                    stand_in.asked.append("latest")
                    has = stand_in.tokens.pop(parse_qs(url.query)["configuration_token"][0], None)
                    if has is None:
                        self.answer(400, b'{"Message": "expired"}', {"X-Amzn-ErrorType": "BadRequestException"})
                        return
                    changed = stand_in.document if stand_in.document != has else b""
                    headers = {
                        "Next-Poll-Configuration-Token": stand_in.token(stand_in.document),
                        "Next-Poll-Interval-In-Seconds": str(stand_in.poll_interval_s),
                    }
                    self.answer(200, changed, headers)

            def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                del arguments

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def token(self, has: bytes) -> str:
        name = f"token-{len(self.asked)}"
        self.tokens[name] = has
        return name


@pytest.fixture
def app_config(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppConfigStandIn]:
    stand_in = AppConfigStandIn()
    thread = threading.Thread(target=stand_in.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{stand_in.port}",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()
    thread.join()


def test_app_config_is_asked_in_a_session_whose_empty_answer_means_no_change(app_config: AppConfigStandIn) -> None:
    app_config.poll_interval_s = 0
    app_config.document = text_of("one").encode()
    watched = Watched("appconfig:app/prod/rules", "1")
    assert watched.topic() == "one"
    assert watched.topic(1) == "one"
    app_config.document = text_of("two").encode()
    assert watched.topic(1) == "two"
    assert app_config.asked == ["session app/prod/rules", "latest", "latest", "latest"]
    assert watched.counted == {"ok": 1}
    assert watched.rules.current().name == "appconfig:app/prod/rules"


def test_a_session_that_has_expired_is_begun_anew_at_once(app_config: AppConfigStandIn) -> None:
    app_config.poll_interval_s = 0
    app_config.document = text_of("one").encode()
    watched = Watched("appconfig:app/prod/rules", "1")
    watched.topic()
    app_config.tokens.clear()
    app_config.document = text_of("two").encode()
    assert watched.topic(1) == "two"
    assert app_config.asked[2:] == ["latest", "session app/prod/rules", "latest"]


def test_after_an_answer_that_was_lost_the_session_is_begun_anew(app_config: AppConfigStandIn) -> None:
    app_config.poll_interval_s = 0
    app_config.document = text_of("one").encode()
    watched = Watched("appconfig:app/prod/rules", "10")
    watched.topic()
    app_config.status = 500
    assert watched.topic(10) == "one"
    assert watched.counted == {"failed": 1}
    app_config.status = 200
    app_config.asked.clear()
    assert watched.topic(10) == "one"
    assert app_config.asked == ["session app/prod/rules", "latest"]
    assert watched.counted == {"failed": 1}


def test_an_empty_profile_is_said(app_config: AppConfigStandIn) -> None:
    assert (
        Watched("appconfig:app/prod/rules").refusal() == "appconfig:app/prod/rules: AppConfig has no configuration here"
    )
    app_config.status = 403
    assert Watched("appconfig:app/prod/rules").refusal() == "appconfig:app/prod/rules: AWS answered 403"


def test_app_config_is_not_asked_sooner_than_it_wants(
    app_config: AppConfigStandIn,
) -> None:
    from mqbridge.sources.appconfig import AppConfig

    clock = Clock()
    app_config.document = b"{}"
    profile = AppConfig(AppConfigProfile("app", "prod", "rules"), {}, clock)
    assert profile.fetch() == b"{}"
    app_config.document = b"{ }"
    clock.now += 14.9
    assert profile.fetch() is None
    clock.now += 0.1
    assert profile.fetch() == b"{ }"


def test_in_lambda_the_extension_is_asked_where_there_is_one(
    app_config: AppConfigStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "outbound")
    monkeypatch.setenv("AWS_APPCONFIG_EXTENSION_HTTP_PORT", str(app_config.port))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    app_config.document = text_of("one").encode()
    watched = Watched("appconfig:my app/prod/rules", "1")
    assert watched.topic() == "one"
    app_config.document = text_of("two").encode()
    assert watched.topic(1) == "two"
    assert set(app_config.asked) == {"/applications/my%20app/environments/prod/configurations/rules"}
    app_config.status = 500
    assert watched.topic(1) == "two"
    assert watched.counted == {"ok": 1, "failed": 1}
    assert Watched("appconfig:a/b/c").refusal() == "appconfig:a/b/c: the AppConfig extension answered 500"


def test_in_lambda_without_the_extension_app_config_itself_is_asked(
    app_config: AppConfigStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "outbound")
    monkeypatch.setenv("AWS_APPCONFIG_EXTENSION_HTTP_PORT", "1")  # nobody listens there
    app_config.document = text_of("one").encode()
    assert Watched("appconfig:app/prod/rules").topic() == "one"
    assert app_config.asked == ["session app/prod/rules", "latest"]


def test_an_extension_that_went_away_is_not_replaced(
    app_config: AppConfigStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "outbound")
    with other_extension(text_of("one")) as port:
        monkeypatch.setenv("AWS_APPCONFIG_EXTENSION_HTTP_PORT", str(port))
        watched = Watched("appconfig:app/prod/rules", "1")
        assert watched.topic() == "one"
    assert watched.topic(1) == "one"
    assert watched.counted == {"failed": 1}
    assert app_config.asked == []


@contextmanager
def saying(answer: bytes) -> Iterator[int]:
    """Yield the port of a server that says this to the first who asks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("answer", [b"", b"not HTTP\r\n\r\n"])
def test_an_extension_that_says_nothing_useful_is_a_failure(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its absence: AppConfig itself is not asked."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "outbound")
    with saying(answer) as port:
        monkeypatch.setenv("AWS_APPCONFIG_EXTENSION_HTTP_PORT", str(port))
        refusal = Watched("appconfig:a/b/c").refusal()
    assert refusal.startswith("appconfig:a/b/c: the AppConfig extension cannot be asked: ")


@contextmanager
def other_extension(text: str) -> Iterator[int]:
    stand_in = AppConfigStandIn()
    stand_in.document = text.encode()
    thread = threading.Thread(target=stand_in.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield stand_in.port
    stand_in.server.shutdown()
    stand_in.server.server_close()
    thread.join()


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1"])
def test_a_port_of_the_extension_that_is_none_is_said(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "outbound")
    monkeypatch.setenv("AWS_APPCONFIG_EXTENSION_HTTP_PORT", port)
    assert "AWS_APPCONFIG_EXTENSION_HTTP_PORT: expected a port" in Watched("appconfig:a/b/c").refusal()


# --- The handler ---


@pytest.fixture
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_module, "_own", {})


def lent() -> Bridge:
    """Return the bridge that one invocation at a time goes over."""
    with handler_module._own_bridges("outbound").lease() as bridge:
        return bridge


@pytest.mark.usefixtures("_fresh_process")
def test_invocations_at_once_have_a_bridge_each_and_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", text_of("one"))
    with (
        handler_module._own_bridges("outbound").lease() as first,
        handler_module._own_bridges("outbound").lease() as second,
    ):
        assert first.sinks is not second.sinks
        assert first.counters is second.counters
        assert first.rules is second.rules
    assert lent() is first  # given back last, used next


@pytest.mark.usefixtures("_fresh_process")
def test_a_handler_goes_by_changed_rules_and_keeps_what_they_leave_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections to instances that stay, and what was counted."""
    path = tmp_path / "rules.json"
    path.write_text(text_of("one"))
    monkeypatch.setenv("MQBRIDGE_RULES", str(path))
    monkeypatch.setenv("MQBRIDGE_RULES_TTL", "0")
    first = lent()
    assert lent() is first
    replace_file(path, text_of("two"))
    second = lent()
    assert topic_of(second.rules) == "two"
    assert second.sinks is first.sinks
    assert second.counters is first.counters


@pytest.mark.usefixtures("_fresh_process")
def test_another_source_is_another_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_RULES", text_of("one"))
    first = lent()
    monkeypatch.setenv("MQBRIDGE_RULES", text_of("two"))
    second = lent()
    assert (topic_of(first.rules), topic_of(second.rules)) == ("one", "two")
    assert second.sinks is not first.sinks


@pytest.mark.usefixtures("_fresh_process")
def test_a_handler_without_rules_fails_with_the_source_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so every time, until it finds some: nothing is acknowledged meanwhile."""
    monkeypatch.setenv("MQBRIDGE_RULES", "appconfig:app")
    for _ in range(2):
        with pytest.raises(UnreadableRules, match=r"^appconfig:app: expected appconfig:APPLICATION"):
            outbound_handler([], None)
    monkeypatch.setenv("MQBRIDGE_RULES", "")
    with pytest.raises(UnreadableRules, match=r"^/opt/rules\.json: "):
        outbound_handler([], None)
