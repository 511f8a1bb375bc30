"""Handlers with dead-letter queues and sources on AWS, over HTTP: what lies there, and what a hung AWS costs."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.ports import free_port
from functions.outbound.app import handler as outbound
from mqbridge.rules import load
from tests.integration.aws_server import Aws, pretended
from tests.integration.handling import handling


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with pretended(monkeypatch) as account:
        yield account


def rules(dead_letters: str = "", **options: Any) -> dict[str, Any]:
    """Return rules whose RocketMQ does not answer, with dead letters where `dead_letters` says."""
    if dead_letters:
        options["DeadLetterQueue"] = {"Arn": dead_letters}
    gone = f"127.0.0.1:{free_port()}"
    return {
        "Instances": {
            "Mqtt": [{"InstanceId": "mqtt-test", "Endpoint": "mqtt://127.0.0.1:1"}],
            "RocketMQ": [{"InstanceId": "rmq-test", "NameServers": [gone]}],
        },
        "Defaults": {"RunOptions": options},
        "OutboundRules": [{"RuleId": "out", "Source": {"Topic": "devices"}, "Destination": {"Topic": "t"}}],
    }


def batch(*bodies: Any, **more: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m-{at}",
                "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": "1"},
                "body": body if isinstance(body, str) else json.dumps(body),
                **more,
            }
            for at, body in enumerate(bodies)
        ]
    }


def handled(document: dict[str, Any], event: dict[str, Any], context: Any = None) -> list[str]:
    """Return the ids that the handler reports."""
    loaded = load(document)
    with handling(loaded):
        response = outbound(event, context)
    return [each["itemIdentifier"] for each in response["batchItemFailures"]]


def test_what_cannot_be_read_lies_in_the_queue_and_its_neighbour_is_tried_again(aws: Aws) -> None:
    arn = aws.queue("dead")
    event = batch("not JSON", {"payload_b64": "", "topic": "devices/d1"}, "x" * 400_000, "\uffff")
    assert handled(rules(arn), event) == ["m-1"]
    found = sorted(aws.lying_in(arn), key=lambda pair: json.loads(pair[1])["source"]["id"])
    first, large, odd = ((body, json.loads(envelope)) for body, envelope in found)
    assert json.loads(first[0]) == event["Records"][0]
    assert (first[1]["rule"], first[1]["stage"], first[1]["reason"]) == (None, "receiving", "unreadable_record")
    assert large[1]["truncated"]["length"] > 400_000
    assert json.loads(odd[0]) == event["Records"][3]


def test_what_cannot_be_read_goes_by_a_bus_to_whoever_asked_for_it(aws: Aws) -> None:
    bus, queue = aws.bus("dead")
    event = batch("not JSON")
    assert handled(rules(bus), event) == []
    ((body, _),) = aws.lying_in(queue)
    assert json.loads(body)["detail"]["event"] == event["Records"][0]
    assert json.loads(body)["detail"]["deadLetter"]["reason"] == "unreadable_record"


def test_a_fifo_queue_keeps_the_letters_of_a_batch(aws: Aws) -> None:
    arn = aws.queue("dead.fifo")
    assert handled(rules(arn), batch(*(f"not JSON {at}" for at in range(15)))) == []
    assert len(aws.lying_in(arn)) == 15


class SevenSeconds:
    def get_remaining_time_in_millis(self) -> int:
        return 7_000


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("service", ["sqs", "events"])
def test_an_aws_that_hangs_costs_no_more_than_the_function_has(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records stay with their source, and the platform hears so in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        name = "dead" if service == "sqs" else "event-bus/dead"
        began = time.monotonic()
        failed = handled(
            rules(f"arn:aws:{service}:eu-west-1:123456789012:{name}"),
            batch(*(f"not JSON {at}" for at in range(30))),
            SevenSeconds(),
        )
        assert time.monotonic() - began < 6
    assert len(failed) == 30


def test_a_source_queue_s_message_comes_back_after_the_rule_s_delay(aws: Aws) -> None:
    """RocketMQ is away: the rule tries again after half a second or so, the queue itself would after ten minutes."""
    arn = aws.queue("source", visibility_timeout_s=600)
    body = json.dumps({"payload_b64": base64.b64encode(b"x").decode(), "topic": "devices/d1"})
    aws.sqs.send_message(QueueUrl=aws.queue_url(arn), MessageBody=body)
    (message,) = aws.sqs.receive_message(QueueUrl=aws.queue_url(arn))["Messages"]
    event = batch(body, receiptHandle=message["ReceiptHandle"], eventSourceARN=arn)
    assert handled(rules(), event) == ["m-0"]
    began = time.monotonic()
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=aws.queue_url(arn)), "too early"
    while "Messages" not in aws.sqs.receive_message(QueueUrl=aws.queue_url(arn), WaitTimeSeconds=1):
        assert time.monotonic() - began < 10, "the queue's own timeout holds"
