"""Which topic and group names a broker accepts for sending and consuming (TopicValidator.java, 4.9)."""

import re
from functools import lru_cache

from .errors import IllegalMessage

__all__ = ["check_group", "check_topic"]

MAX_TOPIC_LENGTH = 127
MAX_GROUP_LENGTH = 255
_NAME = re.compile(r"[%|a-zA-Z0-9_-]+")

# The broker refuses the first six; it would accept the others, but what is sent there vanishes or disturbs the broker.
_SYSTEM_TOPICS = frozenset(
    {
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
        "TBW102",
        "BenchmarkTest",
        "RMQ_SYS_TRACE_TOPIC",
    }
)
_SYSTEM_PREFIXES = ("rmq_sys_", "%RETRY%", "%DLQ%")


@lru_cache(maxsize=256)  # it is asked for every message; what raises is not kept
def check_topic(topic: str) -> None:
    """Raise `IllegalMessage` unless a producer may send to `topic`."""
    if len(topic) > MAX_TOPIC_LENGTH or not _NAME.fullmatch(topic):
        raise IllegalMessage(
            "topic", f"1 to {MAX_TOPIC_LENGTH} letters, digits, '-', '_', '%' or '|'", f"{topic[:150]!r}"
        )
    if topic in _SYSTEM_TOPICS or topic.startswith(_SYSTEM_PREFIXES):
        raise IllegalMessage("topic", "a topic that is not one of RocketMQ's own", repr(topic))


def check_group(group: str) -> None:
    """Raise `IllegalMessage` unless `group` can name a consumer group."""
    if len(group) > MAX_GROUP_LENGTH or not _NAME.fullmatch(group):
        raise IllegalMessage(
            "group", f"1 to {MAX_GROUP_LENGTH} letters, digits, '-', '_', '%' or '|'", f"{group[:300]!r}"
        )
