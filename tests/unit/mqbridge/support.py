"""Builders and fakes that the tests of this folder and of tests/unit/functions share."""

import copy
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mqbridge.delivery import Outgoing, Sent
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Delivered, Reject
from mqbridge.rules import Rules, load
from mqbridge.telemetry import logger
from rocketmq_remoting import check_message

ROOT = Path(__file__).parents[3]
EVENTS = ROOT / "tests" / "events"
DATA = Path(__file__).parent / "data"

# Few examples and no database: this suite reads files, writes none, and ends in seconds.
quick = settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

MQTT_INSTANCE: Mapping[str, Any] = {"InstanceId": "mqtt-local", "Endpoint": "mqtt://127.0.0.1:1883"}
ROCKETMQ_INSTANCE: Mapping[str, Any] = {"InstanceId": "rmq-local", "NameServers": ["127.0.0.1:9876"]}
DLQ: Mapping[str, Any] = {"Arn": "acs:mq:local:0:/instances/rmq-local/topic/mqbridge_dlq"}


def document(**parts: Any) -> dict[str, Any]:
    """Return a rules document with one instance of each kind and whatever else is given."""
    instances = {"Mqtt": [dict(MQTT_INSTANCE)], "RocketMQ": [dict(ROCKETMQ_INSTANCE)]}
    return copy.deepcopy({"Instances": instances, **parts})


def outbound_rule(
    rule_id: str = "telemetry", parent: str = "devices", topic: str = "telemetry", **more: Any
) -> dict[str, Any]:
    return {"RuleId": rule_id, "Source": {"Topic": parent}, "Destination": {"Topic": topic}, **more}


def inbound_rule(
    rule_id: str = "commands", topic: str = "commands", parent: str = "devices", **more: Any
) -> dict[str, Any]:
    return {"RuleId": rule_id, "Source": {"Topic": topic}, "Destination": {"Topic": parent}, **more}


def streaming(name: str = "hot-readings", *, sink: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a task from devices/... to alarms; `sink` adds to its sink parameters or replaces them."""
    parameters = {
        "Topic": {"Form": "CONSTANT", "Value": "alarms"},
        "Body": {"Form": "JSONPATH", "Value": "$.data.body"},
        **(sink or {}),
    }
    body_data_type = more.pop("BodyDataType", "JSON")
    return {
        "EventStreamingName": name,
        "Source": {"SourceMQTTParameters": {"Topic": "devices", "BodyDataType": body_data_type}},
        "Sink": {"SinkRocketMQParameters": parameters},
        **more,
    }


def both_ways(**parts: Any) -> Rules:
    """Return rules that export devices/... to telemetry and bring commands to devices/..."""
    return load(document(**{"OutboundRules": [outbound_rule()], "InboundRules": [inbound_rule()], **parts}))


_PUBLISH = MqttMessage(
    instance_id="mqtt-local", topic="devices/d1/up", payload=b"payload", message_id="m-1", time_ms=1_767_225_600_000
)
_STORED = RocketMQMessage(
    instance_id="rmq-local", topic="commands", body=b"body", message_id="0A0B0C0D00002A139A5B00D5E1F30001"
)


def publish(**changes: Any) -> MqttMessage:
    """Return what a device published, with `changes`."""
    return replace(_PUBLISH, **changes)


def command(properties: Mapping[str, str] | None = None, **changes: Any) -> RocketMQMessage:
    """Return what a back end sent, with `changes`."""
    return replace(_STORED, properties=dict(properties or {}), **changes)


def record(
    message: MqttMessage | RocketMQMessage | Reject, id: str = "r-1", attempt: int = 1, event: Any = None
) -> Record:
    return Record(id=id, attempt=attempt, message=message, event={"id": id} if event is None else event)


@dataclass(frozen=True)
class Call:
    """One call of a sink."""

    kind: str
    instance_id: str
    messages: tuple[Outgoing, ...]
    deadline: float


class FakeSinks:
    """Sinks that remember, and answer each message by a function of it; like a broker they refuse what cannot be stored."""

    def __init__(self, answer: Callable[[Outgoing], Sent] = lambda _message: Delivered()) -> None:
        self.calls: list[Call] = []
        self._answer = answer

    def send(self, kind: str, instance_id: str, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        self.calls.append(Call(kind, instance_id, tuple(messages), deadline))
        return [self._refusal(message) or self._answer(message) for message in messages]

    @property
    def messages(self) -> list[Outgoing]:
        return [message for call in self.calls for message in call.messages]

    def to_topic(self, topic: str) -> list[RocketMQMessage]:
        return [each for each in self.messages if isinstance(each, RocketMQMessage) and each.topic == topic]

    @staticmethod
    def _refusal(message: Outgoing) -> Reject | None:
        if isinstance(message, RocketMQMessage):
            try:
                check_message(message)
            except Exception as error:  # whatever it is, the message would not be stored
                return Reject("illegal_message", str(error))
        return None


def on_the_wire(message: RocketMQMessage) -> list[tuple[str, str]]:
    """Return the name-value pairs that a consumer finds in the message's property block."""
    pairs = check_message(message).decode().split("\x02")
    assert pairs.pop() == "", "the last pair must be terminated too"
    return [(name, value) for name, _, value in (pair.partition("\x01") for pair in pairs)]


def sqs_event(*bodies: Any, **more: Any) -> dict[str, Any]:
    """Return an SQS batch; a body that is not text is sent as its JSON."""
    return {
        "Records": [
            {
                "messageId": f"id-{at}",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600123"},
                "eventSource": "aws:sqs",
                **more,
            }
            for at, body in enumerate(bodies)
        ]
    }


def mqtt_event(id: str = "e-1", **more: Any) -> dict[str, Any]:
    """Return a CloudEvent that carries what a device published."""
    data = {"props": {"instanceId": "mqtt-local", "firstTopic": "devices", "secondTopic": "/d1/up"}, "body": "on"}
    return {
        "specversion": "1.0",
        "id": id,
        "source": "acs:mqtt",
        "type": "mqtt:Topic:SendMessage",
        "data": data,
        **more,
    }


def rocketmq_event(id: str = "e-1", properties: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a CloudEvent that carries what a back end sent."""
    data = {"instanceId": "rmq-local", "topic": "commands", "userProperties": dict(properties or {}), "body": "on"}
    return {"specversion": "1.0", "id": id, "source": "acs:mq", "type": "mq:Topic:SendMessage", "data": data, **more}


def case_file(name: str) -> list[Any]:
    """Return the cases of a JSON file beside the tests."""
    cases = json.loads((DATA / name).read_text())
    assert isinstance(cases, list)
    return cases


# Strategies.

any_text = st.text(st.characters(), max_size=20)  # lone surrogates and control characters too
unicode_text = st.text(max_size=20)
mqtt_text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
levels = st.text(st.characters(exclude_characters="\0+#/", codec="utf-8"), max_size=6)
parents = st.text(st.characters(exclude_characters="\0+#/$", codec="utf-8"), min_size=1, max_size=6)


@st.composite
def mqtt_topics(draw: st.DrawFn) -> str:
    """A topic that a device can publish to, with any number of levels, empty ones among them."""
    return "/".join([draw(parents), *draw(st.lists(levels, max_size=4))])


def forget_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have imports of boto3 fail, also those of Powertools, which may have imported it for another test."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    for name in [each for each in sys.modules if each.startswith("aws_lambda_powertools.utilities.parameters")]:
        monkeypatch.delitem(sys.modules, name)


class Lines(logging.Handler):
    """The records of log lines."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def captured_lines() -> Iterator[Lines]:
    """What is logged, from DEBUG up; nothing of it goes to standard output."""
    logger()  # makes the handlers that are set aside here
    ours = logging.getLogger("mqbridge")
    handlers, level, captured = ours.handlers[:], ours.level, Lines()
    ours.handlers[:] = [captured]
    ours.setLevel(logging.DEBUG)
    try:
        yield captured
    finally:
        ours.handlers[:] = handlers
        ours.setLevel(level)
