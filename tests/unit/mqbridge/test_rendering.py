"""Dry-run lines: exactly the keys of DESIGN.md section 7, in its order; absent means absent."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.messages import RocketMQMessage
from mqbridge.outcomes import Drop, Plan, Planned, Reject, Send
from mqbridge.rendering import render_message, render_plan
from tests.unit.mqbridge.support import both_ways, command, publish, quick, record

ROCKETMQ_KEYS = "to instance topic id tags keys sharding_key delay_level properties body body_encoding".split()
MQTT_KEYS = (
    "to instance topic qos retain payload payload_encoding user_properties message_expiry_interval content_type".split()
)


def test_a_rocketmq_message_with_everything() -> None:
    message = RocketMQMessage(
        instance_id="rmq-local",
        topic="telemetry",
        body=b"on",
        message_id="0" * 32,
        tags="a",
        keys="k1 k2",
        sharding_key="d1",
        delay_level=3,
        properties={"p": "v"},
        time_ms=5,
    )
    line = render_message(message)
    assert list(line) == ROCKETMQ_KEYS
    assert line == {
        "to": "rocketmq",
        "instance": "rmq-local",
        "topic": "telemetry",
        "id": "0" * 32,
        "tags": "a",
        "keys": "k1 k2",
        "sharding_key": "d1",
        "delay_level": 3,
        "properties": {"p": "v"},
        "body": "on",
        "body_encoding": "utf-8",
    }


def test_a_rocketmq_message_with_nothing() -> None:
    assert list(render_message(command())) == ["to", "instance", "topic", "id", "properties", "body", "body_encoding"]


def test_an_mqtt_message_with_everything() -> None:
    message = publish(
        qos=2,
        retain=True,
        client_id="unseen",
        protocol_version=5,
        user_properties=(("k", "v"), ("k", "w")),
        message_expiry_interval=60,
        content_type="UTF-8",
    )
    line = render_message(message)
    assert list(line) == MQTT_KEYS
    assert line == {
        "to": "mqtt",
        "instance": "mqtt-local",
        "topic": "devices/d1/up",
        "qos": 2,
        "retain": True,
        "payload": "payload",
        "payload_encoding": "utf-8",
        "user_properties": [["k", "v"], ["k", "w"]],
        "message_expiry_interval": 60,
        "content_type": "UTF-8",
    }


def test_an_mqtt_message_with_nothing() -> None:
    assert list(render_message(publish(qos=0))) == MQTT_KEYS[:7]


def test_an_expiry_of_0_is_not_absent() -> None:
    assert render_message(publish(message_expiry_interval=0))["message_expiry_interval"] == 0


@quick
@given(data=st.binary(max_size=20))
def test_bytes_are_shown_as_text_where_they_are_utf_8_and_else_in_base64(data: bytes) -> None:
    for line, name in (
        (render_message(publish(payload=data)), "payload"),
        (render_message(command(body=data)), "body"),
    ):
        json.dumps(line)
        if line[f"{name}_encoding"] == "utf-8":
            assert line[name].encode() == data
        else:
            assert line[f"{name}_encoding"] == "base64"
            assert base64.b64decode(line[name], validate=True) == data
            with pytest.raises(UnicodeDecodeError):
                data.decode()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Send((publish(),)), {"outcome": "send", "messages": [render_message(publish())]}),
        (Drop("no_rule"), {"outcome": "drop", "reason": "no_rule", "messages": []}),
        (Drop("no_rule", "why"), {"outcome": "drop", "reason": "no_rule: why", "messages": []}),
        (Reject("illegal_topic", "why"), {"outcome": "reject", "reason": "illegal_topic: why", "messages": []}),
    ],
)
@pytest.mark.parametrize("with_rule", [True, False])
def test_a_plan_is_one_line_per_record_and_rule(outcome: Plan, expected: dict[str, object], with_rule: bool) -> None:
    rule = both_ways().inbound[0] if with_rule else None
    line = render_plan(3, Planned(record(command(), "r-7"), rule, outcome))
    assert line == {"event": 3, "record": "r-7", "rule": "commands" if with_rule else None, "stages": [], **expected}
    order = ["event", "record", "rule", "outcome", "reason", "stages", "messages"]
    assert list(line) == [key for key in order if key in line]
