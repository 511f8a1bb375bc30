"""functions/main.py under the real functions-framework, as Knative, Cloud Run and OpenFaaS run it, into a real RocketMQ."""

import json
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from devstack.errors import StartError
from devstack.javatool import consume
from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.processes import ManagedProcess
from devstack.rocketmq import RocketMQ
from tests.identity import faults_of, written_values
from tests.integration.running_bridge import data_rules

ROOT = Path(__file__).parents[2]
TOKEN = "t0ken"
ATTRIBUTES = {"specversion": "1.0", "source": "acs:mqtt", "type": "mqtt:Topic:SendMessage"}


class Function:
    """A target of functions/main.py, served by functions-framework."""

    def __init__(self, directory: Path, target: str, rules: Mapping[str, Any], **environment: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rules.json").write_text(json.dumps(rules))
        self.url = f"http://127.0.0.1:{free_port()}/"
        self.process = ManagedProcess(
            f"functions-framework {target}",
            [str(Path(sys.executable).with_name("functions-framework")), "--source", "functions/main.py"],
            log_path=directory / "log",
            environment={
                "FUNCTION_TARGET": target,
                "HOST": "127.0.0.1",
                "PORT": self.url.rpartition(":")[2].strip("/"),
                "PYTHONPATH": f"{ROOT / 'layers/common'}{os.pathsep}{ROOT}",
                "MQBRIDGE_RULES": str(directory / "rules.json"),
                "MQBRIDGE_HTTP_AUTH": "env:HTTP_TOKEN",
                "HTTP_TOKEN": TOKEN,
                "MQBRIDGE_METRICS": "emf",
                **environment,
            },
        )

    @contextmanager
    def running(self) -> Iterator["Function"]:
        self.process.start(lambda: self.post(b"", token="")[0] == 401, timeout_s=30)
        try:
            yield self
        finally:
            self.process.stop()
        assert faults_of(written_values(self.process.output)) == []

    def post(self, body: Any, *, token: str = TOKEN, **headers: str) -> tuple[int, Message, dict[str, Any]]:
        """Post a body; return status, headers, and what the answer says. Status 0 is no answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url, content, {"Authorization": f"Bearer {token}", **sent})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.load(error)
        except urllib.error.URLError:
            return 0, Message(), {}


def rules(mosquitto: Mosquitto, rocketmq: RocketMQ, topic: str) -> dict[str, Any]:
    rule = {"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": topic}}
    return data_rules(mosquitto, rocketmq, OutboundRules=[rule])


def event(event_id: str, body: str) -> dict[str, Any]:
    data = {"props": {"firstTopic": "devices", "secondTopic": f"/{event_id}"}, "body": body}
    return {**ATTRIBUTES, "id": event_id, "data": data}


@pytest.fixture
def served(tmp_path: Path, mosquitto: Mosquitto, rocketmq: RocketMQ, fresh_topic: str) -> Iterator[Function]:
    rocketmq.create_topic(fresh_topic)
    with Function(tmp_path, "outbound", rules(mosquitto, rocketmq, fresh_topic)).running() as function:
        yield function


def test_cloudevents_in_all_three_modes_are_stored(served: Function, rocketmq: RocketMQ, fresh_topic: str) -> None:
    binary = {f"ce_{name}": value for name, value in ATTRIBUTES.items()}
    answers = [
        # Of another type: the subject is the topic, beyond ASCII percent-encoded on the way, and the data are any bytes.
        served.post(
            b"\x00\xffbinary",
            **{**binary, "ce_type": "com.example.photo"},
            ce_id="b1",
            ce_subject="devices/d%C3%A9",
            content_type="image/png",
        ),
        served.post(
            json.dumps(event("b2", "x")["data"]).encode(), **binary, ce_id="b2", content_type="application/json"
        ),
        served.post(event("s1", "structured"), content_type="application/cloudevents+json; charset=utf-8"),
        served.post(
            [event("a1", "batch 1"), event("a2", "batch 2")], content_type="application/cloudevents-batch+json"
        ),
        served.post([], content_type="application/cloudevents-batch+json"),
    ]
    assert [status for status, _, _ in answers] == [200] * 5
    assert [said["records"] for _, _, said in answers] == [1, 1, 1, 2, 0]
    stored = consume(rocketmq.name_server, fresh_topic, 5, timeout_s=15)
    by_body = {bytes(each["body"]): each["properties"]["mqttSecondTopic"] for each in stored}
    assert by_body == {
        b"\x00\xffbinary": "/d\u00e9",
        b"x": "/b2",
        b"structured": "/s1",
        b"batch 1": "/a1",
        b"batch 2": "/a2",
    }


def test_requests_at_once_are_all_stored(served: Function, rocketmq: RocketMQ, fresh_topic: str) -> None:
    statuses: list[int] = []
    content_type = "application/cloudevents+json"

    def send(sender: int) -> None:
        for at in range(20):
            statuses.append(served.post(event(f"{sender}-{at}", f"{sender}-{at}"), content_type=content_type)[0])

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100
    stored = consume(rocketmq.name_server, fresh_topic, 100, timeout_s=15)
    assert sorted(bytes(each["body"]).decode() for each in stored) == sorted(
        f"{sender}-{at}" for sender in range(5) for at in range(20)
    )


def test_a_wrong_token_is_401_and_what_is_no_event_400(served: Function, rocketmq: RocketMQ, fresh_topic: str) -> None:
    good = event("1", "good")
    statuses = [
        served.post(good, token="wrong")[0],
        served.post(good, x_fc_request_id="1", token="")[0],
        served.post(b"\x00not JSON")[0],
        served.post({"what": "is this"})[0],
        served.post([{"not": "a CloudEvent"}], content_type="application/cloudevents-batch+json")[0],
        served.post({**good, "data": {"body": "no topic"}})[0],
        served.post(good)[0],
    ]
    assert statuses == [401, 401, 400, 400, 400, 400, 200]
    (stored,) = consume(rocketmq.name_server, fresh_topic, 1, timeout_s=15)
    assert bytes(stored["body"]) == b"good"
    assert "expected a valid bearer token" in served.process.output
    assert TOKEN not in served.process.output


def test_a_broker_that_is_away_is_503_with_a_time_to_come_back(
    tmp_path: Path, mosquitto: Mosquitto, rocketmq: RocketMQ
) -> None:
    document = rules(mosquitto, rocketmq, "telemetry")
    document["Instances"]["RocketMQ"][0]["NameServers"] = [f"127.0.0.1:{free_port()}"]
    with Function(tmp_path, "outbound", document).running() as function:
        status, headers, said = function.post(event("1", "later"))
    assert status == 503
    assert int(headers["Retry-After"]) >= 1
    assert [each["id"] for each in said["failed"]] == ["1"]


def test_it_does_not_start_open(tmp_path: Path, mosquitto: Mosquitto, rocketmq: RocketMQ) -> None:
    function = Function(tmp_path, "outbound", rules(mosquitto, rocketmq, "telemetry"), MQBRIDGE_HTTP_AUTH="")
    with pytest.raises(StartError):
        function.process.start(lambda: False, timeout_s=30)
    assert "MQBRIDGE_HTTP_AUTH: expected the reference to a bearer token" in function.process.output
