"""AWS on loopback: moto's server, over HTTP as the real one, so that timeouts and connections are real too."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from moto.sqs.models import sqs_backends

from mqbridge.delivery import ENVELOPE, aws
from mqbridge.triggers import visibility

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

__all__ = ["ACCOUNT", "REGION", "Aws", "pretended"]

REGION, ACCOUNT = "eu-west-1", "123456789012"
SOON_MS = 20


class Aws:
    """Queues and buses of the pretended account."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqs: SQSClient = boto3.session.Session().client("sqs", region_name=REGION)
        self.events: EventBridgeClient = boto3.session.Session().client("events", region_name=REGION)

    def queue(self, name: str, visibility_timeout_s: int = 30) -> str:
        """Make a queue and return its ARN."""
        attributes: Any = {"VisibilityTimeout": str(visibility_timeout_s)}
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        self.sqs.create_queue(QueueName=name, Attributes=attributes)
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def queue_url(self, arn: str) -> str:
        """Return the address of a queue."""
        return f"{self.url}/{ACCOUNT}/{arn.rpartition(':')[2]}"

    def bus(self, name: str) -> tuple[str, str]:
        """Make a bus, and a queue that gets whatever the bus takes; return the ARNs of both."""
        queue = self.queue(f"behind-{name}")
        self.events.create_event_bus(Name=name)
        self.events.put_rule(Name="all", EventBusName=name, EventPattern='{"source":["mqbridge"]}')
        self.events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "queue", "Arn": queue}])
        return f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{name}", queue

    def lying_in(self, arn: str) -> list[tuple[str, str]]:
        """Return body and envelope of everything that lies in a queue, and leave it there, visible."""
        found: dict[str, tuple[str, str, str]] = {}
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue_url(arn),
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                VisibilityTimeout=60,
            )
            messages = answer.get("Messages", [])
            if not messages:
                break
            for each in messages:
                attributes: Any = each.get("MessageAttributes", {})
                envelope = attributes.get(ENVELOPE, {}).get("StringValue", "")
                found[each["MessageId"]] = (each["Body"], envelope, each["ReceiptHandle"])
        for _, _, handle in found.values():
            self.sqs.change_message_visibility(QueueUrl=self.queue_url(arn), ReceiptHandle=handle, VisibilityTimeout=0)
        return [(body, envelope) for body, envelope, _ in found.values()]


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """Yield an account that AWS_ENDPOINT_URL leads to, for this process and its children."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    assert server._server is not None
    server._server.app = _put_right(server._server.app)
    host, port = server.get_host_and_port()
    # What moto has lies in this process, and outlives its servers.
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    aws._clients.clear()
    visibility._clients.clear()
    try:
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()
        aws._clients.clear()
        visibility._clients.clear()


def _put_right(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return moto's application without two faults of its queues.

    It loses what is sent while it deletes, so that requests have to come one at a time. And of a group of a FIFO queue it gives out the
    last message first when several have become visible again, as it takes each for being processed until it has looked at it; nor may
    the last become visible while it looks.
    """
    lock = threading.Lock()

    def answer(environ: Any, start_response: Any) -> Iterable[bytes]:
        with lock:
            for queue in sqs_backends[ACCOUNT][REGION].queues.values():
                while any(0 < each.visible_at - time.time() * 1000 < SOON_MS for each in queue.pending_messages):
                    time.sleep(SOON_MS / 1000)
                queue.pending_messages.difference_update([each for each in queue.pending_messages if each.visible])
            return app(environ, start_response)

    return answer
