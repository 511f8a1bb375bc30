"""What each answer of a broker means, and which errors are worth another try."""

import inspect

import pytest

from rocketmq_remoting import errors
from rocketmq_remoting.codes import STORED, refusal
from rocketmq_remoting.errors import BrokerBusy, BrokerForbids, BrokerRefused, RocketMQError, TopicNotFound

ACL = "org.apache.rocketmq.acl.common.AclException: No default permission for topic: TopicA"
TREE = """
RocketMQError retriable
  IllegalMessage
  ProtocolError retriable
  TransportError retriable
    ConnectFailed retriable
    OutcomeUnknown retriable
  HeldBack retriable
  RouteNotFound retriable
  BrokerRefused retriable
    BrokerBusy retriable
    TopicNotFound retriable
    BrokerForbids
"""


@pytest.mark.parametrize(
    ("code", "remark", "kind"),
    [
        (1, "", BrokerBusy),
        (1, "java.lang.OutOfMemoryError", BrokerBusy),
        (1, ACL, BrokerForbids),
        (1, "org.apache.rocketmq.acl.common.AclException: Check signature failed for accessKey=x", BrokerForbids),
        (1, "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$", BrokerForbids),
        (1, "The specified topic is blank.", BrokerForbids),
        (1, "The specified topic is longer than topic max length.", BrokerForbids),
        (1, "request queueId[9] is illegal, TopicConfig [topicName=t] Producer: 127.0.0.1", BrokerForbids),
        (2, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while", BrokerBusy),
        (2, ACL, BrokerBusy),
        (3, "request type 310 not supported", BrokerForbids),
        (13, "the message is illegal, maybe msg body or properties length not matched", BrokerForbids),
        (14, "service not available now, maybe disk full", BrokerBusy),
        (16, "the broker[127.0.0.1] sending message is forbidden", BrokerForbids),
        (17, "topic[t] not exist, apply first please!", TopicNotFound),
        (26, "subscription group not exist", BrokerBusy),
        (204, "", BrokerBusy),
        (215, "flow control", BrokerBusy),
        (-1, "", BrokerBusy),
        (99_999, "", BrokerBusy),
    ],
)
def test_refusal_is_classified(code: int, remark: str, kind: type[BrokerRefused]) -> None:
    error = refusal(code, remark)
    assert type(error) is kind
    assert (error.code, error.remark) == (code, remark)
    assert str(error) == f"broker answered code {code}: {remark or 'no remark'}"


def test_codes_after_which_the_message_is_stored() -> None:
    assert {0, 10, 11, 12} == STORED


def test_error_tree_is_as_drawn() -> None:
    def drawn(kind: type[RocketMQError], depth: int = 0) -> list[str]:
        own = f"{'  ' * depth}{kind.__name__}{' retriable' * kind.retriable}"
        return [own, *(line for child in kind.__subclasses__() for line in drawn(child, depth + 1))]

    assert drawn(RocketMQError) == TREE.strip().splitlines()


def test_every_error_of_the_module_is_in_its_face_and_has_a_name_of_its_own() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]
    kinds = [each for each in classes if issubclass(each, RocketMQError)]
    assert kinds == classes
    assert {kind.__name__ for kind in kinds} == set(errors.__all__)
    assert len({kind.name for kind in kinds}) == len(kinds)
    assert all(kind.name.replace("_", "").isalpha() and kind.name.islower() for kind in kinds)


def test_every_error_is_mentioned_in_the_drawing() -> None:
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in errors.__all__)


def test_illegal_message_has_its_parts() -> None:
    error = errors.IllegalMessage("tags", "something", "something else")
    assert str(error) == "tags: expected something, got something else"
    assert (error.field, error.expected, error.got) == ("tags", "something", "something else")
