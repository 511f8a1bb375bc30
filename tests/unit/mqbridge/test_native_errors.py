"""What librocketmq's statuses and texts mean, before and after it had chosen a queue."""

import pytest

from mqbridge.delivery.native_errors import Status, send_failure
from rocketmq_remoting import (
    BrokerBusy,
    BrokerForbids,
    ConnectFailed,
    IllegalMessage,
    OutcomeUnknown,
    RocketMQError,
    RouteNotFound,
    TopicNotFound,
)
from tests.unit.mqbridge.native_stand_in import NO_ROUTE

# --- the table of statuses and texts ---

NO_QUEUE_YET = {
    Status.NOT_SUPPORTED_NOW: ConnectFailed,
    Status.NULL_POINTER: ConnectFailed,
    Status.MALLOC_FAILED: ConnectFailed,
    Status.PRODUCER_START_FAILED: ConnectFailed,
    Status.PRODUCER_SEND_SYNC_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ONEWAY_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ORDERLY_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ASYNC_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_ORDERLYASYNC_FAILED: RouteNotFound,
    Status.PRODUCER_SEND_TRANSACTION_FAILED: RouteNotFound,
    Status.NOT_SUPPORTED: ConnectFailed,
}


def test_every_status_has_a_meaning() -> None:
    assert set(NO_QUEUE_YET) == set(Status) - {Status.OK}


@pytest.mark.parametrize(("status", "expected"), [*NO_QUEUE_YET.items(), (999, RouteNotFound), (-7, RouteNotFound)])
def test_a_status_before_and_after_a_queue_was_chosen(status: int, expected: type[RocketMQError]) -> None:
    before = send_failure(status, NO_ROUTE.decode(), has_queue=False)
    after = send_failure(status, NO_ROUTE.decode(), has_queue=True)
    assert type(before) is expected
    assert type(after) is (ConnectFailed if expected is ConnectFailed else OutcomeUnknown)
    assert before.retriable
    assert after.retriable
    assert f"status {int(status)}" in str(before)


# Texts of 1.2 to 2.2 (Validators.cpp, DefaultMQProducerImpl.cpp, MQClientAPIImpl.cpp, MQClientException.h), and what other versions let
# through of a broker's answer; whether a queue had been chosen; what it means.
TEXTS = [
    ("msg: the message body is empty,error:-1,in file <Validators.cpp> line:108", False, IllegalMessage),
    ("msg: the message body size over max value, MAX: 4194304,error:-1,in file <V> line:114", False, IllegalMessage),
    ("msg: the specified topic is blank,error:-1,in file <Validators.cpp> line:58", False, IllegalMessage),
    ("msg: the specified topic is longer than topic max length 255.,error:-1", False, IllegalMessage),
    ("msg: the topic[TBW102] is conflict with default topic.,error:-1", False, IllegalMessage),
    ("msg: No route info for this topic,error:-1,in file <DefaultMQProducer.cpp> line:466", False, RouteNotFound),
    ("", False, RouteNotFound),
    ("", True, OutcomeUnknown),
    ("msg: No route info of this topic, ,error:-1,in file <DefaultMQProducer.cpp> line:516", True, OutcomeUnknown),
    ("msg: response is null,error:-1,in file <MQClientAPIImpl.cpp> line:402", True, OutcomeUnknown),
    ("msg: The broker[broker-a] not exist,error:-1,in file <D> line:443", True, ConnectFailed),
    ("msg: the message body,error:-1", True, OutcomeUnknown),
    ("msg: ok,error:0,in file <x> line:1", True, OutcomeUnknown),
    ("msg: org.apache.rocketmq.acl.common.AclException: no,error:1,in file <x> line:1", True, BrokerForbids),
    ("msg: The specified topic is blank,error:1,in file <x> line:1", True, BrokerForbids),
    ("msg: request queueId[9] is illegal,error:1,in file <x> line:1", True, BrokerForbids),
    ("msg: store putMessage return null,error:1,in file <x> line:1", True, BrokerBusy),
    ("msg: [TIMEOUT_CLEAN_QUEUE]broker busy,error:2,in file <x> line:1", True, BrokerBusy),
    ("msg: request type 310 not supported,error:3,in file <x> line:1", True, BrokerForbids),
    ("msg: the message is illegal,error:13,in file <x> line:1", True, BrokerForbids),
    ("msg: service not available now,error:14,in file <x> line:1", True, BrokerBusy),
    ("msg: the broker's message sending is forbidden,error:16,in file <x> line:1", True, BrokerForbids),
    ("msg: topic[t] not exist, apply first please!,error:17,in file <x> line:1", True, TopicNotFound),
    ("msg: flow control,error:215,in file <x> line:1", True, BrokerBusy),
]


@pytest.mark.parametrize(("text", "has_queue", "expected"), TEXTS)
def test_a_text_of_a_send_that_failed(text: str, has_queue: bool, expected: type[RocketMQError]) -> None:
    error = send_failure(Status.PRODUCER_SEND_ORDERLY_FAILED, text, has_queue=has_queue)
    assert type(error) is expected
    assert text in str(error)
