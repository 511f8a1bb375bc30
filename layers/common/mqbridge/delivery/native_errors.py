"""What librocketmq's status numbers and error texts mean, in the errors of `rocketmq_remoting`. Pure.

A failed send says little: up to 2.2 the library catches the broker's answer itself and reports "No route info of this topic" for a
refusal, a lost connection and a silence alike (DefaultMQProducerImpl.cpp, sendAutoRetrySelectImpl; MQClientAPIImpl.cpp,
sendMessageSync). What is not known to be unsent is therefore `OutcomeUnknown`, which is sent again with the same message id.
"""

import re
from enum import IntEnum

from rocketmq_remoting import (
    ConnectFailed,
    IllegalMessage,
    OutcomeUnknown,
    RocketMQError,
    RouteNotFound,
    refusal,
)

__all__ = ["STORED", "Status", "send_failure"]


class Status(IntEnum):
    """CStatus, CCommon.h, as far as a producer can meet it."""

    NOT_SUPPORTED_NOW = -1
    OK = 0
    NULL_POINTER = 1
    MALLOC_FAILED = 2
    PRODUCER_START_FAILED = 10
    PRODUCER_SEND_SYNC_FAILED = 11
    PRODUCER_SEND_ONEWAY_FAILED = 12
    PRODUCER_SEND_ORDERLY_FAILED = 13
    PRODUCER_SEND_ASYNC_FAILED = 14
    PRODUCER_SEND_ORDERLYASYNC_FAILED = 15
    PRODUCER_SEND_TRANSACTION_FAILED = 16
    NOT_SUPPORTED = 500


# CSendStatus: sent, disk flush late, slave flush late, no slave. The master holds the message in all four.
STORED = frozenset({0, 1, 2, 3})

_NOTHING_SENT = frozenset(
    {
        Status.NOT_SUPPORTED_NOW,
        Status.NULL_POINTER,
        Status.MALLOC_FAILED,
        Status.PRODUCER_START_FAILED,
        Status.NOT_SUPPORTED,
    }
)

# Validators.cpp: what it says before it has looked for a queue, and which part of the message it means.
_ILLEGAL = {
    "message body": ("body", "a body that librocketmq takes"),
    "the specified topic": ("topic", "a topic that librocketmq takes"),
    "conflict with default topic": ("topic", "a topic that is not RocketMQ's own"),
}
# MQException::what() ends in ",error:CODE,in file <...>"; a positive one is a broker's response code (ResponseCode.java).
_CODE = re.compile(r"error:\s?(\d+)")
# sendKernelImpl: the route names a broker that has no address.
_NO_BROKER = re.compile(r"The broker\[.*\] not exist")


def send_failure(status: int, text: str, *, has_queue: bool) -> RocketMQError:
    """Return the error that a status other than `Status.OK` stands for.

    Args:
        status: a CStatus.
        text: what GetLatestErrorMessage says.
        has_queue: whether the library had a queue chosen. If not, it has sent nothing.
    """
    said = f"librocketmq status {status}: {text or 'no reason given'}"
    if status in _NOTHING_SENT:
        return ConnectFailed(said)
    if not has_queue:
        for part, (field, expected) in _ILLEGAL.items():
            if part in text:
                return IllegalMessage(field, expected, said)
        return RouteNotFound(said)
    if _NO_BROKER.search(text):
        return ConnectFailed(said)
    code = _CODE.search(text)
    if code is None or int(code[1]) == 0:
        return OutcomeUnknown(said)
    return refusal(int(code[1]), text)
