"""ApsaraMQ 4.0 instances: plain names in rules and logs, the instance's id before them on the wire."""

import pytest

from mqbridge.delivery.rocketmq_sink import outcome_of
from mqbridge.messages import RocketMQMessage
from mqbridge.namespace import plain_text, wire_messages, wire_name
from mqbridge.outcomes import Answer, Failed, Reject
from mqbridge.rules import InvalidRules, RocketMQInstance, load
from rocketmq_remoting import BrokerForbids, RouteNotFound
from tests.unit.mqbridge.support import document

APSARA = "http://MQ_INST_1_a.mq.example"


def instance(*name_servers: str) -> RocketMQInstance:
    parts = document()
    parts["Instances"]["RocketMQ"][0]["NameServers"] = list(name_servers)
    return load(parts).rocketmq["rmq-local"]


@pytest.mark.parametrize(
    ("name_server", "address", "namespace"),
    [
        (APSARA, "MQ_INST_1_a.mq.example:80", "MQ_INST_1_a"),
        (f"{APSARA}/", "MQ_INST_1_a.mq.example:80", "MQ_INST_1_a"),
        (f"{APSARA}:8080", "MQ_INST_1_a.mq.example:8080", "MQ_INST_1_a"),
        (
            "http://MQ_INST_1234567890123456_BXabc123.cn-hangzhou.mq-internal.aliyuncs.com:8080",
            "MQ_INST_1234567890123456_BXabc123.cn-hangzhou.mq-internal.aliyuncs.com:8080",
            "MQ_INST_1234567890123456_BXabc123",
        ),
        ("127.0.0.1:9876", "127.0.0.1:9876", ""),
        ("[::1]:9876", "[::1]:9876", ""),
        ("MQ_INST_1_a.mq.example:80", "MQ_INST_1_a.mq.example:80", ""),
    ],
)
def test_endpoint_says_address_and_namespace(name_server: str, address: str, namespace: str) -> None:
    made = instance(name_server)
    assert (made.addresses, made.namespace) == ((address,), namespace)


@pytest.mark.parametrize(
    "name_server",
    [
        "http://mq.example",
        "http://MQ_INST_",
        "http://MQ_INST_1_a",
        f"https{APSARA[4:]}",
        f"{APSARA}/path",
        f"{APSARA}:x",
        "http://MQ_INST_1%a.mq.example",
    ],
)
def test_other_addresses_are_faults(name_server: str) -> None:
    with pytest.raises(InvalidRules, match="http://MQ_INST_"):
        instance(name_server)


def test_several_endpoints_of_one_instance_are_allowed() -> None:
    made = instance(APSARA, "http://MQ_INST_1_a.other.example:81")
    assert made.addresses == ("MQ_INST_1_a.mq.example:80", "MQ_INST_1_a.other.example:81")


def test_names_of_one_cluster_stay_as_they_are() -> None:
    messages = [RocketMQMessage(instance_id="i", topic="telemetry", body=b"", message_id="0" * 32)]
    assert wire_name("", "telemetry") == "telemetry"
    assert wire_messages("", messages) is messages
    assert plain_text("", "topic 'a%b'") == "topic 'a%b'"


def test_names_of_an_apsaramq_instance_get_its_id_once() -> None:
    message = RocketMQMessage(instance_id="i", topic="telemetry", body=b"b", message_id="0" * 32, keys="k")
    (sent,) = wire_messages("MQ_INST_1_a", [message])
    assert sent.topic == wire_name("MQ_INST_1_a", "telemetry") == "MQ_INST_1_a%telemetry"
    assert (sent.body, sent.keys, sent.instance_id) == (b"b", "k", "i")
    assert wire_name("MQ_INST_1_a", "MQ_INST_1_a%GID_x") == "MQ_INST_1_a%GID_x"
    assert plain_text("MQ_INST_1_a", sent.topic) == "telemetry"


def test_what_the_client_says_is_told_in_plain_names() -> None:
    missing = outcome_of(RouteNotFound("topic 'MQ_INST_1_a%t' does not exist"), "MQ_INST_1_a")
    refused = outcome_of(BrokerForbids(1, "No default permission for topic:MQ_INST_1_a%t"), "MQ_INST_1_a")
    assert missing == Failed("route_not_found", "topic 't' does not exist")
    assert refused == Reject(
        "broker_forbids", "broker answered code 1: No default permission for topic:t", answer=Answer(1)
    )
