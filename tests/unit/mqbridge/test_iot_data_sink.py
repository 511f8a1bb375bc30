"""The iot-data sink against a server that speaks the API and answers as a test tells it: fields, errors, order, time."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from mqbridge.delivery import OpenSinks, Sent, iot_data_sink
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.rules import load
from tests.unit.mqbridge.support import document
from tests.unit.rocketmq_remoting.scripted_broker import nobody

TOKEN = "session-token-planted"


@dataclass(frozen=True)
class Published:
    """One request for Publish."""

    topic: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class PretendedApi:
    """Answers POST /topics/TOPIC with what `answer` says: a status and an error code; (0, "") hangs up, None never answers."""

    def __init__(self) -> None:
        self.requests: list[Published] = []
        self.answer: Callable[[Published], tuple[int, str] | None] = lambda _request: (200, "")
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                topic = unquote(parts.path.removeprefix("/topics/"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Published(topic, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)
                api.requests.append(request)
                answer = api.answer(request)
                if answer is None:
                    api.released.wait(10)
                if not answer or not answer[0]:
                    self.close_connection = True
                    return
                text = json.dumps({"message": f"no, {TOKEN}"}).encode()
                self.send_response(answer[0])
                if answer[1]:
                    self.send_header("x-amzn-ErrorType", answer[1])
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: Any) -> None:
                del format, arguments

        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedApi]:
    made = PretendedApi()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    yield made
    made.close()


@pytest.fixture
def sinks() -> Iterator[OpenSinks]:
    made = document()
    made["Instances"]["Mqtt"][0]["Endpoint"] = "iot-data://a1b2c3-ats.iot.eu-central-1.amazonaws.com"
    opened = OpenSinks(load(made))
    yield opened
    opened.close()


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take a second for ten answers, and that is not what these tests are about."""
    monkeypatch.setattr(iot_data_sink, "TIMEOUT_S", 10.0)


def message(topic: str = "devices/d1", payload: bytes = b"on", **more: Any) -> MqttMessage:
    return MqttMessage(instance_id="mqtt-local", topic=topic, payload=payload, **more)


def send(sinks: OpenSinks, *messages: MqttMessage, left_s: float = 10.0) -> list[Sent]:
    return sinks.send("mqtt", "mqtt-local", messages, time.monotonic() + left_s)


def test_everything_that_a_message_has_is_sent(api: PretendedApi, sinks: OpenSinks) -> None:
    outcomes = send(
        sinks,
        message(
            "devices/d 1/ü/",
            b"\x00\xff",
            qos=1,
            user_properties=(("k", "v"), ("k", "w"), ("ü", '"')),
            message_expiry_interval=60,
            content_type="application/x; a=b",
        ),
    )
    assert outcomes == [Delivered()]
    (request,) = api.requests
    assert (request.topic, request.body) == ("devices/d 1/ü/", b"\x00\xff")
    query = {"qos": "1", "retain": "false", "messageExpiry": "60", "contentType": "application/x; a=b"}
    assert request.query == query
    properties = json.loads(base64.b64decode(request.headers["x-amz-mqtt5-user-properties"]))
    assert properties == [{"k": "v"}, {"k": "w"}, {"ü": '"'}]
    assert "/eu-central-1/iotdata/" in request.headers["authorization"]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OpenSinks]:
    """An address that tells no region, and no profile that does."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    made = document()
    made["Instances"]["Mqtt"][0]["Endpoint"] = "iot-data://iot.example.com"
    opened = OpenSinks(load(made))
    yield opened
    opened.close()


@pytest.mark.parametrize("setting", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_where_the_address_tells_no_region_the_environment_does(
    setting: str, api: PretendedApi, elsewhere: OpenSinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, "ap-south-1")
    assert send(elsewhere, message()) == [Delivered()]
    assert "/ap-south-1/iotdata/" in api.requests[0].headers["authorization"]


def test_the_address_tells_the_region_first(
    api: PretendedApi, sinks: OpenSinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert send(sinks, message()) == [Delivered()]
    assert "/eu-central-1/iotdata/" in api.requests[0].headers["authorization"]


def test_without_any_region_it_says_what_to_set(api: PretendedApi, elsewhere: OpenSinks) -> None:
    told = "mqtt-local: expected a region in AWS_REGION, a profile or the endpoint, got none"
    assert send(elsewhere, message()) == [Failed("cannot_connect", told)]
    assert api.requests == []


def test_what_a_message_has_not_is_not_sent_and_qos_2_becomes_1(api: PretendedApi, sinks: OpenSinks) -> None:
    assert send(sinks, message(payload=b"", qos=2), message(qos=0)) == [Delivered()] * 2
    assert [request.query for request in api.requests] == [
        {"qos": "1", "retain": "false"},
        {"qos": "0", "retain": "false"},
    ]
    assert not any("x-amz-mqtt5-user-properties" in request.headers for request in api.requests)


def test_nothing_is_sent_for_nothing(api: PretendedApi, sinks: OpenSinks) -> None:
    assert send(sinks) == []
    assert api.requests == []


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (429, "ThrottlingException", Failed("broker_refused", "mqtt-local: AWS answered ThrottlingException")),
        (
            500,
            "InternalFailureException",
            Failed("broker_refused", "mqtt-local: AWS answered InternalFailureException"),
        ),
        (503, "", Failed("broker_refused", "mqtt-local: AWS answered 503")),
        (403, "ExpiredTokenException", Failed("broker_refused", "mqtt-local: AWS answered ExpiredTokenException")),
        (401, "UnauthorizedException", Reject("broker_forbids", "mqtt-local: AWS answered UnauthorizedException")),
        (403, "ForbiddenException", Reject("broker_forbids", "mqtt-local: AWS answered ForbiddenException")),
        (400, "InvalidRequestException", Reject("illegal_message", "mqtt-local: AWS answered InvalidRequestException")),
        (413, "", Reject("illegal_message", "mqtt-local: AWS answered 413")),
    ],
)
def test_errors_of_the_api_are_told_apart_and_quote_nothing(
    api: PretendedApi, sinks: OpenSinks, status: int, code: str, outcome: Sent
) -> None:
    """AWS's text about a wrong signature holds the session token."""
    api.answer = lambda _request: (status, code)
    assert send(sinks, message()) == [outcome]
    assert len(api.requests) == 1  # nothing is slept away in retries


@pytest.mark.usefixtures("_patience")
def test_a_topic_s_order_is_kept_and_topics_do_not_wait_for_each_other(api: PretendedApi, sinks: OpenSinks) -> None:
    topics = [f"devices/d{at}" for at in range(30)]
    batch = [message(topic, str(number).encode()) for number in range(5) for topic in topics]
    api.answer = lambda request: (503, "") if request.topic == "devices/d7" and request.body == b"2" else (200, "")
    outcomes = send(sinks, *batch)
    by_topic: dict[str, list[bytes]] = {}
    for request in api.requests:
        by_topic.setdefault(request.topic, []).append(request.body)
    assert by_topic.pop("devices/d7") == [b"0", b"1", b"2"]
    assert set(by_topic) == set(topics) - {"devices/d7"}
    assert all(bodies == [b"0", b"1", b"2", b"3", b"4"] for bodies in by_topic.values())
    failed = [each for each in outcomes if isinstance(each, Failed)]
    assert [each.reason for each in failed] == ["broker_refused", "held_back", "held_back"]


def test_a_reject_holds_nothing_back(api: PretendedApi, sinks: OpenSinks) -> None:
    api.answer = lambda request: (400, "InvalidRequestException") if request.body == b"1" else (200, "")
    outcomes = send(sinks, *(message(payload=str(at).encode()) for at in range(3)))
    assert [type(each) for each in outcomes] == [Delivered, Reject, Delivered]


@pytest.mark.usefixtures("_patience")
def test_messages_go_several_at_once(api: PretendedApi, sinks: OpenSinks) -> None:
    together = threading.Barrier(10)

    def meet(_request: Published) -> tuple[int, str]:
        together.wait(5)
        return 200, ""

    api.answer = meet
    assert send(sinks, *(message(f"devices/d{at}") for at in range(10))) == [Delivered()] * 10


def test_an_answer_that_never_comes_is_an_unknown_outcome(api: PretendedApi, sinks: OpenSinks) -> None:
    api.answer = lambda _request: None
    began = time.monotonic()
    (outcome,) = send(sinks, message())
    assert time.monotonic() - began < 10
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.is_unknown) == ("outcome_unknown", True)


def test_a_connection_that_was_closed_is_made_anew(api: PretendedApi, sinks: OpenSinks) -> None:
    """A function that was frozen: AWS has hung up meanwhile, and the first write finds out."""
    hung_up: list[Published] = []

    def once(request: Published) -> tuple[int, str]:
        if not hung_up:
            hung_up.append(request)
            return 0, ""
        return 200, ""

    assert send(sinks, message()) == [Delivered()]
    api.answer = once
    assert send(sinks, message()) == [Delivered()]
    assert len(api.requests) == 3


def test_nothing_begins_that_might_not_end_in_time(api: PretendedApi, sinks: OpenSinks) -> None:
    outcomes = send(sinks, message(), message("devices/d2"), left_s=1.5)
    assert [each.reason for each in outcomes if isinstance(each, Failed)] == ["no_time_left"] * 2
    assert api.requests == []


def test_where_nobody_listens_nothing_is_tried_twice(
    api: PretendedApi, sinks: OpenSinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nobody() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
        outcomes = send(sinks, *(message(f"devices/d{at % 3}") for at in range(9)))
    reasons = {each.reason for each in outcomes if isinstance(each, Failed)}
    assert "connect_failed" in reasons
    assert reasons <= {"connect_failed", "held_back"}
    assert len(outcomes) == 9
    assert api.requests == []


def test_without_credentials_messages_wait(sinks: OpenSinks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    (outcome,) = send(sinks, message())
    assert outcome == Failed("connect_failed", "mqtt-local: AWS cannot be asked: NoCredentialsError")
