"""The consumer against a scripted broker: what it sends back, how it ends, and what it survives."""

import pytest

from rocketmq_remoting import BrokerBusy, ConnectFailed, IllegalMessage, OutcomeUnknown, RocketMQError

from .consuming import BUSY, GROUP, RETRY, MakeConsumer, bodies, idle, poll_until, receive
from .scripted_broker import GET_ROUTE, HANG_UP, Answer, ScriptedCluster
from .scripted_group import IDS_CHANGED, MEMBERS, SEND_BACK, UNREGISTER, UPDATE_OFFSET, Clock, ScriptedGroup

# --- messages that were sent back ---


def test_message_from_the_retry_topic_is_given_out_under_its_own_and_settled_where_it_was_read(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    group.add("again", topic=RETRY, properties={"RETRY_TOPIC": "t"}, reconsume_times=2)
    consumer = make_consumer()
    (message,) = receive(consumer, 1)
    assert (message.topic, message.retry_topic, message.reconsume_times) == ("t", RETRY, 2)
    consumer.settle([message])
    clock.ahead_s += 1.1
    consumer.poll(0)
    assert group.commits == [(RETRY, 0, 1)]


def test_property_cannot_pretend_another_topic(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    """Java renames only what it read from the group's retry topic (resetRetryAndNamespace); any producer can set the property."""
    group.committed = {("t", 0): 0, ("t", 1): 0}
    group.add("x", properties={"RETRY_TOPIC": "admin-commands"})
    (message,) = receive(make_consumer(), 1)
    assert (message.topic, message.retry_topic) == ("t", "")


def test_message_is_sent_back_with_its_place_and_delay(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    group.add("x", queue=1, properties={"UNIQ_KEY": "C" * 32})
    (message,) = receive(consumer, 1)
    consumer.send_back(message, delay_level=-1)
    (request,) = group.broker.of(SEND_BACK)
    assert request.fields == {
        "offset": str(message.physical_offset),
        "group": GROUP,
        "delayLevel": "-1",
        "originMsgId": "C" * 32,
        "originTopic": "t",
        "unitMode": "false",
        "maxReconsumeTimes": "16",
    }
    assert consumer.unsettled_count == 1  # to settle it is the caller's business


def test_message_from_the_retry_topic_can_be_sent_back_again(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.add("again", topic=RETRY, properties={"RETRY_TOPIC": "t"}, reconsume_times=1)
    consumer = make_consumer()
    (message,) = receive(consumer, 1)
    consumer.send_back(message, delay_level=0)
    (request,) = group.broker.of(SEND_BACK)
    assert (request.fields["originTopic"], request.fields["delayLevel"]) == ("t", "0")


@pytest.mark.parametrize(("action", "kind"), [(BUSY, BrokerBusy), (HANG_UP, OutcomeUnknown)])
def test_message_that_the_broker_did_not_take_back_is_still_ours(
    group: ScriptedGroup, make_consumer: MakeConsumer, action: Answer, kind: type[RocketMQError]
) -> None:
    group.broker.on(SEND_BACK, action)
    consumer = make_consumer()
    idle(consumer, group)
    group.add("x")
    (message,) = receive(consumer, 1)
    with pytest.raises(kind):
        consumer.send_back(message, delay_level=1)
    assert consumer.unsettled_count == 1


# --- the end ---


def test_close_commits_what_is_settled_and_leaves_the_group(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    for number in range(3):
        group.add(f"{number}")
    consumer = make_consumer()
    consumer.settle(receive(consumer, 3)[:2])
    consumer.close()
    assert group.commits == [("t", 0, 2)]
    (request,) = group.broker.of(UNREGISTER)
    assert request.fields == {"clientID": group.me, "consumerGroup": GROUP}
    assert [each.code for each in group.broker.requests[-2:]] == [UPDATE_OFFSET, UNREGISTER]


@pytest.mark.parametrize("action", [BUSY, HANG_UP])
def test_close_leaves_the_group_though_the_commit_failed(
    group: ScriptedGroup, make_consumer: MakeConsumer, action: Answer
) -> None:
    """Otherwise the others wait up to 120 s before they take over; a connection that is lost leaves by itself."""
    consumer = make_consumer()
    idle(consumer, group)
    group.add("x")
    consumer.settle(receive(consumer, 1))
    group.broker.on(UPDATE_OFFSET, action)
    consumer.close()
    assert consumer.problem is not None
    assert len(group.broker.of(UNREGISTER)) == (1 if action is BUSY else 0)


def test_close_before_the_first_poll_asks_nobody(cluster: ScriptedCluster, make_consumer: MakeConsumer) -> None:
    make_consumer().close()
    assert cluster.name_server.of(GET_ROUTE) == []


def test_unreachable_cluster_is_a_problem_that_polling_overcomes(
    group: ScriptedGroup, cluster: ScriptedCluster, make_consumer: MakeConsumer, clock: Clock
) -> None:
    cluster.name_server.on(GET_ROUTE, HANG_UP)
    consumer = make_consumer()
    assert consumer.poll(0.02) == []
    assert isinstance(consumer.problem, ConnectFailed)
    cluster.name_server.on(GET_ROUTE, cluster.route)
    clock.ahead_s += 1.1
    idle(consumer, group)
    group.add("x")
    assert bodies(receive(consumer, 1)) == [b"x"]
    assert consumer.problem is None


def test_notices_of_other_kinds_are_ignored(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    for code in (39, 220, 221):
        group.broker.ask(code)
    consumer.poll(0.05)
    assert len(group.broker.of(MEMBERS)) == 1
    group.broker.ask(IDS_CHANGED)
    poll_until(consumer, lambda: len(group.broker.of(MEMBERS)) == 2)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 256])
def test_group_has_to_have_a_legal_name(make_consumer: MakeConsumer, name: str) -> None:
    with pytest.raises(IllegalMessage, match="group"):
        make_consumer(group=name)
