"""Rules from AppConfig: moto has no appconfigdata, and nothing has the extension. Stand-ins for both, by AWS's documentation."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mqbridge.sources.places import AppConfigProfile
from tests.unit.mqbridge.watched_rules import Clock, Watched, saying, text_of

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
