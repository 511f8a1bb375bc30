"""Request and response codes, and what each response means for a sender.

The numbers are RocketMQ's own: common/.../protocol/RequestCode.java and ResponseCode.java,
remoting/.../protocol/RemotingSysResponseCode.java.
"""

from enum import IntEnum

from .errors import BrokerBusy, BrokerForbids, BrokerRefused, TopicNotFound

__all__ = ["STORED", "RequestCode", "ResponseCode", "refusal"]


class RequestCode(IntEnum):
    PULL_MESSAGE = 11
    QUERY_CONSUMER_OFFSET = 14
    UPDATE_CONSUMER_OFFSET = 15
    SEARCH_OFFSET_BY_TIMESTAMP = 29
    GET_MAX_OFFSET = 30
    GET_MIN_OFFSET = 31
    HEART_BEAT = 34
    UNREGISTER_CLIENT = 35
    CONSUMER_SEND_MSG_BACK = 36
    GET_CONSUMER_LIST_BY_GROUP = 38
    CHECK_TRANSACTION_STATE = 39
    NOTIFY_CONSUMER_IDS_CHANGED = 40
    LOCK_BATCH_MQ = 41
    UNLOCK_BATCH_MQ = 42
    GET_ALL_CONSUMER_OFFSET = 43
    GET_ROUTEINFO_BY_TOPIC = 105
    SEND_MESSAGE_V2 = 310
    SEND_BATCH_MESSAGE = 320


class ResponseCode(IntEnum):
    SUCCESS = 0
    SYSTEM_ERROR = 1
    SYSTEM_BUSY = 2
    REQUEST_CODE_NOT_SUPPORTED = 3
    FLUSH_DISK_TIMEOUT = 10
    SLAVE_NOT_AVAILABLE = 11
    FLUSH_SLAVE_TIMEOUT = 12
    MESSAGE_ILLEGAL = 13
    SERVICE_NOT_AVAILABLE = 14
    NO_PERMISSION = 16
    TOPIC_NOT_EXIST = 17
    PULL_NOT_FOUND = 19
    PULL_RETRY_IMMEDIATELY = 20
    PULL_OFFSET_MOVED = 21
    QUERY_NOT_FOUND = 22
    FLOW_CONTROL = 215


STORED = frozenset(
    {
        ResponseCode.SUCCESS,
        # The message is in the master's commit log; only the flush or the copy was late. Sending again would duplicate it.
        ResponseCode.FLUSH_DISK_TIMEOUT,
        ResponseCode.SLAVE_NOT_AVAILABLE,
        ResponseCode.FLUSH_SLAVE_TIMEOUT,
    }
)

_PERMANENT = frozenset(
    {ResponseCode.REQUEST_CODE_NOT_SUPPORTED, ResponseCode.MESSAGE_ILLEGAL, ResponseCode.NO_PERMISSION}
)

# SYSTEM_ERROR is a mixed bag; only its remark tells. Seen in 4.9.7: AclException texts of PlainPermissionManager, TopicValidator's
# "The specified topic ...", AbstractSendMessageProcessor.msgCheck's "request queueId[..] is illegal".
_PERMANENT_REMARKS = ("AclException", "The specified topic", "is illegal")


def refusal(code: int, remark: str) -> BrokerRefused:
    """Return the error that a response code other than those in `STORED` stands for."""
    if code == ResponseCode.TOPIC_NOT_EXIST:
        return TopicNotFound(code, remark)
    if code in _PERMANENT or (code == ResponseCode.SYSTEM_ERROR and any(text in remark for text in _PERMANENT_REMARKS)):
        return BrokerForbids(code, remark)
    return BrokerBusy(code, remark)
