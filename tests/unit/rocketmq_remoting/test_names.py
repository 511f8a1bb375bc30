"""Names of topics and groups, after TopicValidator.java."""

import pytest

from rocketmq_remoting import IllegalMessage, check_group, check_topic

SYSTEM = """SCHEDULE_TOPIC_XXXX RMQ_SYS_TRANS_HALF_TOPIC RMQ_SYS_TRANS_OP_HALF_TOPIC TRANS_CHECK_MAX_TIME_TOPIC SELF_TEST_TOPIC
OFFSET_MOVED_EVENT TBW102 BenchmarkTest RMQ_SYS_TRACE_TOPIC rmq_sys_REVIVE_LOG_x %RETRY%group %DLQ%group""".split()
ILLEGAL = ["", " ", "a b", "a/b", "a+b", "a#b", "a.b", "ü", "a\n", "a\x00", "a\ud800", "\uff41"]


@pytest.mark.parametrize("name", ["a", "A-_9", "%|", "MQ_INST_1_2%topic", "x" * 127, "tbw102", "retry%RETRY%"])
def test_legal_topics_pass(name: str) -> None:
    check_topic(name)


@pytest.mark.parametrize("name", [*ILLEGAL, "x" * 128, *SYSTEM])
def test_illegal_and_system_topics_are_refused(name: str) -> None:
    with pytest.raises(IllegalMessage) as raised:
        check_topic(name)
    assert raised.value.field == "topic"
    assert not raised.value.retriable


@pytest.mark.parametrize("name", ["a", "GID_mqbridge-1", "MQ_INST_1%GID_x", "x" * 255])
def test_legal_groups_pass(name: str) -> None:
    check_group(name)


@pytest.mark.parametrize("name", [*ILLEGAL, "x" * 256])
def test_illegal_groups_are_refused(name: str) -> None:
    with pytest.raises(IllegalMessage) as raised:
        check_group(name)
    assert raised.value.field == "group"


def test_refusal_of_an_endless_name_stays_short() -> None:
    with pytest.raises(IllegalMessage) as raised:
        check_topic("x" * 10_000)
    assert len(str(raised.value)) < 300
