"""AWS IoT Core as the MQTT side: which brokers it is, and what it takes no message beyond."""

from typing import Any

import pytest

from mqbridge.flows import inbound
from mqbridge.outcomes import Reject, Send
from mqbridge.rules import MqttInstance, load
from tests.unit.mqbridge.support import command, document, inbound_rule, record

HOST = "a1b2c3-ats.iot.eu-central-1.amazonaws.com"


def rules_for(endpoint: str) -> Any:
    made = document(InboundRules=[inbound_rule()], Limits={"MaxTopicLength": 1_000})
    made["Instances"]["Mqtt"][0]["Endpoint"] = endpoint
    return load(made)


@pytest.mark.parametrize(
    ("endpoint", "is_aws", "region"),
    [
        (f"iot-data://{HOST}", True, "eu-central-1"),
        (f"mqtts://{HOST}", True, "eu-central-1"),
        (f"mqtts://{HOST}:443/", True, "eu-central-1"),
        ("mqtts://a1b2c3.ats.iot.cn-north-1.amazonaws.com.cn:8883", True, "cn-north-1"),
        ("mqtts://vpce-1-2.data.iot.us-east-1.vpce.amazonaws.com", True, "us-east-1"),
        ("iot-data://iot.example.com", True, ""),
        ("mqtts://iot.example.com", False, ""),
        ("mqtts://amazonaws.com.example.com", False, ""),
        ("mqtt://127.0.0.1:1883", False, ""),
    ],
)
def test_it_is_known_by_its_address(endpoint: str, is_aws: bool, region: str) -> None:
    instance = MqttInstance(instance_id="m", endpoint=endpoint)
    assert (instance.is_aws_iot, instance.aws_region) == (is_aws, region)


@pytest.mark.parametrize("endpoint", [f"mqtts://{HOST}", f"iot-data://{HOST}"])
@pytest.mark.parametrize(
    ("sub_topic", "body_bytes", "refused"),
    [
        ("/a/b/c/d/e/f/g", 131_072, ""),
        ("/a", 131_073, "body_too_large: AWS IoT Core takes a body of at most 131072 bytes, got 131073"),
        ("/a/b/c/d/e/f/g/h", 1, "illegal_topic: AWS IoT Core takes a topic of at most 7 slashes, got 8"),
        ("/" + "x" * 248, 1, ""),
        ("/" + "x" * 249, 1, "illegal_topic: AWS IoT Core takes a topic of at most 256 bytes, got 257"),
        ("/" + "ü" * 125, 1, "illegal_topic: AWS IoT Core takes a topic of at most 256 bytes, got 258"),
    ],
)
def test_what_it_never_takes_is_refused_before_it_is_sent(
    endpoint: str, sub_topic: str, body_bytes: int, refused: str
) -> None:
    """Sent, it would end the connection, again and again."""
    message = command({"mqttSecondTopic": sub_topic}, body=b"x" * body_bytes)
    (planned,) = inbound.plan([record(message)], rules_for(endpoint))
    if refused:
        assert isinstance(planned.outcome, Reject)
        assert f"{planned.outcome.reason}: {planned.outcome.detail}" == refused
    else:
        assert isinstance(planned.outcome, Send)
    (elsewhere,) = inbound.plan([record(message)], rules_for("mqtt://127.0.0.1:1883"))
    assert isinstance(elsewhere.outcome, Send)
