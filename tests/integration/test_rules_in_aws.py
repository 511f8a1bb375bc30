"""A handler's rules in AWS: over HTTP, changed while it works, and when nobody answers."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from devstack.rocketmq import RocketMQ
from functions.outbound.app import handler
from mqbridge import handler as handler_module
from mqbridge.rules import UnreadableRules
from rocketmq_remoting import Client, Consumer, StartFrom
from tests.identity import faults_of
from tests.integration.aws_server import REGION, pretended


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new execution environment, and one that ends, with accounts that add up."""
    monkeypatch.setattr(handler_module, "_own", {})
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    yield
    for own in handler_module._own.values():
        assert faults_of(own.telemetry.counters.snapshot()) == []
        own.close()


def rules_to(cluster: RocketMQ, topic: str) -> str:
    return json.dumps(
        {
            "Instances": {
                "Mqtt": [{"InstanceId": "mqtt-test", "Endpoint": "mqtt://127.0.0.1:1"}],
                "RocketMQ": [{"InstanceId": "rmq-test", "NameServers": [cluster.name_server]}],
            },
            "OutboundRules": [{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": topic}}],
        }
    )


def event(body: str) -> list[dict[str, Any]]:
    data = {"props": {"firstTopic": "devices", "secondTopic": "/d1"}, "body": body}
    cloud_event = {"specversion": "1.0", "id": body, "source": "acs:mqtt", "type": "mqtt:Topic:SendMessage"}
    return [{**cloud_event, "data": data}]


def bodies_in(cluster: RocketMQ, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(Client([cluster.name_server]), group=f"GID_{topic}", topic=topic, start_from=StartFrom.first())
    found: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        messages = consumer.poll(0.5)
        found += [each.body for each in messages]
        consumer.settle(messages)
    consumer.close()
    return found


@pytest.mark.parametrize("source", ["ssm:/bridge/rules", "ssm:/bridge/", "s3://bridge-rules/rules.json"])
def test_a_handler_follows_rules_in_aws_and_works_on_when_they_spoil(
    source: str, rocketmq: RocketMQ, fresh_topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = f"{fresh_topic}-one", f"{fresh_topic}-two"
    rocketmq.create_topic(one, two)
    monkeypatch.setenv("MQBRIDGE_RULES", source)
    monkeypatch.setenv("MQBRIDGE_RULES_TTL", "0")
    with pretended(monkeypatch):
        put = bucket() if source.startswith("s3:") else parameters(in_parts=source.endswith("/"))
        with pytest.raises(UnreadableRules, match=f"^{source}: (AWS answered|there are no parameters)"):
            handler(event("too early"), None)
        put(rules_to(rocketmq, one))
        assert handler(event("1"), None) == {"batchItemFailures": []}
        put(rules_to(rocketmq, two))
        assert handler(event("2"), None) == {"batchItemFailures": []}
        put(rules_to(rocketmq, "a/b"))
        assert handler(event("3"), None) == {"batchItemFailures": []}
    assert handler(event("4"), None) == {"batchItemFailures": []}  # and nobody answers there any more
    assert bodies_in(rocketmq, one, 1) == [b"1"]
    assert bodies_in(rocketmq, two, 3) == [b"2", b"3", b"4"]


def bucket() -> Any:
    client: Any = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="bridge-rules", CreateBucketConfiguration={"LocationConstraint": REGION})
    return lambda text: client.put_object(Bucket="bridge-rules", Key="rules.json", Body=text.encode())


def parameters(*, in_parts: bool) -> Any:
    client: Any = boto3.session.Session().client("ssm")
    # moto reads all of AWS's own parameters when it is first asked for one: that takes longer than a handler waits.
    client.put_parameter(Name="first", Value="x", Type="String")

    def put(text: str) -> None:
        middle = len(text) // 2
        parts = {"1": text[:middle], "2": text[middle:]} if in_parts else {"rules": text}
        for name, value in parts.items():
            client.put_parameter(Name=f"/bridge/{name}", Value=value, Type="String", Overwrite=True)

    return put


@pytest.mark.parametrize("source", ["ssm:/rules", "s3://rules/rules.json", "appconfig:a/b/c"])
def test_a_store_that_hangs_takes_a_few_seconds_of_an_invocation(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("MQBRIDGE_RULES", source)
        began = time.monotonic()
        with pytest.raises(UnreadableRules, match=f"^{source}: AWS cannot be asked: ReadTimeoutError"):
            handler(event("1"), None)
        assert time.monotonic() - began < 9
