"""Who may send requests: nobody unless it is said, and then who presents the token, or whom the platform has let pass."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import functions.outbound.app
from mqbridge import handler as handler_module
from mqbridge import http_access, secrets
from mqbridge.http_access import NoAccess, admit, check_access
from mqbridge.triggers import HttpRequest, HttpResponse, UnreadableEvent
from tests.unit.mqbridge.support import EVENTS, document, outbound_rule

TOKEN = "s3cr3t-t0ken"


@pytest.fixture
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "env:HTTP_TOKEN")
    monkeypatch.setenv("HTTP_TOKEN", TOKEN)


def request(authorization: str | None = None, **more: Any) -> HttpRequest:
    headers = {} if authorization is None else {"Authorization": authorization}
    return HttpRequest(headers=headers, **more)


def refusal(refused: HttpRequest) -> HttpResponse:
    with pytest.raises(UnreadableEvent) as caught:
        admit(refused)
    assert isinstance(caught.value.answer, HttpResponse)
    return caught.value.answer


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN} "])
def test_who_presents_the_token_may_send(authorization: str) -> None:
    admit(request(authorization))
    check_access()


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(
    "authorization",
    [
        *(
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            TOKEN,
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
        ),
        *("Bearer \udcff\u00e9", f"Bearer {TOKEN} {TOKEN}", "Bearer env:HTTP_TOKEN"),
    ],
)
def test_who_presents_another_or_none_may_not(authorization: str | None) -> None:
    answer = refusal(request(authorization))
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.body


@pytest.mark.usefixtures("_token")
def test_a_token_is_asked_for_even_where_a_gateway_vouches() -> None:
    assert refusal(request(is_vouched_for=True)).status == 401


def test_nobody_may_send_where_nothing_is_said() -> None:
    """503 and not 401: senders keep what they have until it is put right."""
    answer = refusal(request(f"Bearer {TOKEN}"))
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    with pytest.raises(
        NoAccess, match=r"^MQBRIDGE_HTTP_AUTH: expected the reference to a bearer token .*, got nothing$"
    ):
        check_access()


def test_a_gateway_s_word_is_enough_where_nothing_is_said() -> None:
    admit(request(is_vouched_for=True))


def test_the_platform_s_word_is_enough_where_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "platform")
    admit(request())
    check_access()


@pytest.mark.parametrize(
    ("setting", "secret", "said"),
    [
        ("env:HTTP_TOKEN", None, "env:HTTP_TOKEN: there is no such secret"),
        ("env:HTTP_TOKEN", "", "env:HTTP_TOKEN: there is no such secret"),
        ("env:HTTP_TOKEN", " \n", "env:HTTP_TOKEN is empty"),
        ("file:/nowhere/token", None, "file:/nowhere/token: No such file"),
        (TOKEN, None, "got something else, not shown here"),
        (f"bearer:{TOKEN}", None, "got something else, not shown here"),
    ],
)
def test_a_setting_that_leads_nowhere_lets_nobody_in(
    setting: str, secret: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", setting)
    if secret is not None:
        monkeypatch.setenv("HTTP_TOKEN", secret)
    assert refusal(request("Bearer ")).status == 503
    assert refusal(request()).status == 503
    with pytest.raises(NoAccess) as caught:
        check_access()
    assert said in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_during_a_rotation_both_tokens_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", f"file:{path}")
    path.write_text("old\n")
    admit(request("Bearer old"))
    path.write_text("new old\n")
    admit(request("Bearer old"))
    admit(request("Bearer new"))
    path.write_text("new\n")
    assert refusal(request("Bearer old")).status == 401


def test_a_token_that_aws_keeps_is_asked_for_again_before_a_sender_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for every wrong token: who guesses must not cost a request each."""
    stored, asked = ["old"], []

    def ask(_service: str, _name: str) -> str:
        asked.append(stored[0])
        return stored[0]

    now = [1_000_000.0]
    monkeypatch.setattr(secrets, "_ask_aws", ask)
    monkeypatch.setattr(secrets, "_cached", {})
    monkeypatch.setattr(http_access, "resolve", lambda reference: secrets.resolve(reference, lambda: now[0]))
    monkeypatch.setattr(http_access, "expire", lambda references: secrets.expire(references, lambda: now[0]))
    monkeypatch.setenv("MQBRIDGE_HTTP_AUTH", "secretsmanager:http-token")
    admit(request("Bearer old"))
    stored[0] = "new"
    now[0] += 20
    admit(request("Bearer new"))
    for _ in range(5):
        assert refusal(request("Bearer guess")).status == 401
    assert asked == ["old", "new"]


# The process's own bridge asks; the one that a test or the runner puts in place does not.


@pytest.fixture
def _process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_module, "_own", {})
    monkeypatch.setenv("MQBRIDGE_RULES", json.dumps(document(OutboundRules=[outbound_rule(Status="Disabled")])))


Change = Callable[[dict[str, Any]], Any]

VOUCHED: list[tuple[str, Change]] = [
    ("function-url-emqx", lambda context: context.update(authorizer={"iam": {"userArn": "arn:aws:iam::1:user/emqx"}})),
    (
        "api-gateway-v1-cloudevents-binary",
        lambda context: context.update(identity={"userArn": "arn:aws:iam::1:user/x"}),
    ),
    ("api-gateway-v2-cloudevents-batch", lambda context: context.update(authorizer={"jwt": {"claims": {"sub": "x"}}})),
]
ANYBODY: list[tuple[str, Change]] = [
    ("function-url-emqx", lambda context: context.update(authorizer={})),
    (
        "api-gateway-v1-cloudevents-binary",
        lambda context: context.update(identity={"userArn": None, "sourceIp": "192.0.2.1"}),
    ),
    ("api-gateway-v2-cloudevents-batch", lambda context: context.pop("authorizer", None)),
    ("fc-http", lambda _context: None),
]


def invoked(name: str, change: Change, **headers: str) -> int:
    event = json.loads((EVENTS / f"trigger-{name}.json").read_text())
    change(event["requestContext"])
    event["headers"] = {**(event.get("headers") or {}), **headers}
    return int(functions.outbound.app.handler(event, None)["statusCode"])


@pytest.mark.usefixtures("_process")
@pytest.mark.parametrize(("name", "change"), VOUCHED)
def test_what_a_gateway_has_authenticated_is_taken(name: str, change: Change) -> None:
    assert invoked(name, change) == 200


@pytest.mark.usefixtures("_process")
@pytest.mark.parametrize(("name", "change"), ANYBODY)
def test_what_anybody_may_have_sent_through_a_gateway_is_not(name: str, change: Change) -> None:
    assert invoked(name, change) == 503


@pytest.mark.usefixtures("_process", "_token")
@pytest.mark.parametrize(("name", "change"), ANYBODY)
def test_what_comes_through_a_gateway_with_the_token_is_taken(name: str, change: Change) -> None:
    assert invoked(name, change, authorization=f"Bearer {TOKEN}") == 200
    assert invoked(name, change, authorization="Bearer wrong") == 401


@pytest.mark.usefixtures("_process", "_token")
@pytest.mark.parametrize(
    ("path", "control_path", "token", "statuses"),
    [
        ("/invoke", "/invoke", None, (200, "200")),  # an event, and RAM says who may invoke
        ("/invoke", "/http-invoke", None, (401, "404")),
        ("/events", None, None, (401, "404")),
        ("/invoke", None, None, (401, "404")),  # anybody may choose a path
        ("/events", "/http-invoke", "wrong", (401, "404")),
        ("/events", "/http-invoke", TOKEN, (200, "200")),
    ],
)
def test_a_custom_runtime_asks_requests_for_the_token_and_invocations_not(
    path: str, control_path: str | None, token: str | None, statuses: tuple[int, str]
) -> None:
    headers = {
        "x-fc-request-id": "1-65a1",
        "x-fc-control-path": control_path,
        "authorization": token and f"Bearer {token}",
    }
    sent = {name: value for name, value in headers.items() if value is not None}
    body = json.dumps([{"props": {"firstTopic": "devices"}, "body": "x"}]).encode()
    answer = functions.outbound.app.handler(HttpRequest(path=path, headers=sent, body=body, is_from_fc=True), None)
    assert (answer.status, answer.headers["x-fc-status"]) == statuses


@pytest.mark.usefixtures("_process", "_token")
def test_nothing_of_a_body_is_read_before_its_sender_is_known() -> None:
    answer = functions.outbound.app.handler(HttpRequest(body=b"not JSON"), None)
    assert answer.status == 401


def test_a_request_shows_no_token() -> None:
    assert TOKEN not in repr(request(f"Bearer {TOKEN}"))
