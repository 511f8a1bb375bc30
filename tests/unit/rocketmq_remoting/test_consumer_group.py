"""The consumer against a scripted broker: how the members of a group share queues."""

import json

import pytest

from rocketmq_remoting import BrokerForbids, OutcomeUnknown

from .consuming import BUSY, GROUP, RETRY, MakeConsumer, bodies, idle, poll_until, receive
from .scripted_broker import Answer, Request, ScriptedBroker, ScriptedCluster, nobody
from .scripted_group import HEART_BEAT, MEMBERS, PULL, QUERY_OFFSET, UNREGISTER, Clock, ScriptedGroup

# --- sharing queues with other members ---


def test_heartbeat_says_what_java_s_says(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    """Every member of a group must name the same topics, the retry topic among them."""
    consumer = make_consumer(expression="b||a")
    idle(consumer, group)
    (heartbeat,) = group.heartbeats
    (data,) = json.loads(json.dumps(heartbeat))["consumerDataSet"]
    assert heartbeat["producerDataSet"] == []
    assert (data["groupName"], data["consumeType"], data["messageModel"]) == (GROUP, "CONSUME_PASSIVELY", "CLUSTERING")
    assert [(each["topic"], each["subString"]) for each in data["subscriptionDataSet"]] == [("t", "b||a"), (RETRY, "*")]


def test_heartbeats_go_on(group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    for count in (2, 3):
        clock.ahead_s += 20.1
        consumer.poll(0.02)
        assert len(group.heartbeats) == count


def test_members_have_names_of_their_own(make_consumer: MakeConsumer, group: ScriptedGroup) -> None:
    names = set()
    for _ in range(3):
        idle(make_consumer(), group)
        names.add(group.me)
        group.held.clear()
    assert len(names) == 3


def test_queues_are_shared_with_other_members(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.others = ["~ sorts last"]
    consumer = make_consumer()
    idle(consumer, group, queues=2)
    assert set(group.pulls()) == {("t", 0)}
    assert set(group.pulls(RETRY)) == {(RETRY, 0)}


def test_member_that_is_listed_twice_keeps_all_its_queues(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    """A broker that hung lists a member's broken connection beside the new one."""
    consumer = make_consumer()
    idle(consumer, group, queues=2)
    asked = len(group.broker.of(MEMBERS))
    group.change_members(group.me)
    poll_until(consumer, lambda: len(group.broker.of(MEMBERS)) > asked)
    group.add("first", queue=0)
    group.add("second", queue=1)
    assert sorted(bodies(receive(consumer, 2))) == [b"first", b"second"]


def test_released_queue_is_committed_first_and_pulled_no_more(
    group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    for number in range(3):
        group.add(f"{number}", queue=1)
    consumer = make_consumer()
    messages = receive(consumer, 3)
    consumer.settle(messages[:2])
    group.change_members("~ sorts last")
    poll_until(consumer, lambda: consumer.unsettled_count == 0)
    assert group.committed["t", 1] == 2
    pulls = group.pulls().count(("t", 1))
    consumer.settle(messages[2:])  # too late: it will come again, to the other member
    group.add("for the other", queue=1)
    group.add("for us", queue=0)
    assert bodies(receive(consumer, 1)) == [b"for us"]
    assert group.pulls().count(("t", 1)) == pulls
    assert group.committed["t", 1] == 2


def test_queue_of_a_member_that_left_is_taken_over_where_it_committed(
    group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    group.others = ["~ sorts last"]
    group.committed = {("t", 0): 0, ("t", 1): 1, (RETRY, 0): 0}
    for number in range(2):
        group.add(f"{number}", queue=1)
    consumer = make_consumer()
    idle(consumer, group, queues=2)
    group.change_members()
    assert bodies(receive(consumer, 1)) == [b"1"]


def test_queues_are_shared_anew_from_time_to_time_without_being_told(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    group.others = ["~ sorts last"]
    clock.ahead_s += 20.1
    consumer.poll(0.02)
    group.held.clear()
    group.add("x", queue=1)
    assert consumer.poll(0.1) == []


def test_change_of_members_during_a_rebalance_is_not_overlooked(
    group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    """Two members that start together: the second joins while the first still asks for its offsets."""

    def joined_meanwhile(request: Request) -> Answer:
        group.broker.on(QUERY_OFFSET, group.query_offset)
        group.change_members("~ sorts last")
        return group.query_offset(request)

    group.broker.on(QUERY_OFFSET, joined_meanwhile)
    consumer = make_consumer()
    poll_until(consumer, lambda: len(group.broker.of(MEMBERS)) >= 2, timeout_s=1.0)


def test_member_that_the_broker_does_not_list_takes_nothing(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    group.broker.on(MEMBERS, Answer(body=b'{"consumerIdList":["other"]}'))
    consumer = make_consumer()
    poll_until(consumer, lambda: consumer.problem is not None)
    assert "does not list this member" in str(consumer.problem)
    assert group.broker.of(PULL) == []
    group.broker.on(MEMBERS, group.members)
    clock.ahead_s += 1.1
    idle(consumer, group)


def test_problem_of_a_member_without_queues_ends_when_it_is_overcome(
    cluster: ScriptedCluster, group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    group.others = ["  sorts first"]
    cluster.topics["t"] = 1
    group.broker.on(MEMBERS, BUSY, group.members)
    consumer = make_consumer()
    poll_until(consumer, lambda: consumer.problem is not None)
    clock.ahead_s += 1.1
    poll_until(consumer, lambda: len(group.broker.of(MEMBERS)) == 2)
    assert group.pulls() == []
    assert consumer.problem is None


def test_problem_of_a_member_whose_queues_are_empty_ends_when_it_is_overcome(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    """The broker answers a pull only when there is a message, or after 15 s."""
    group.broker.on(MEMBERS, BUSY, group.members)
    consumer = make_consumer()
    poll_until(consumer, lambda: consumer.problem is not None)
    clock.ahead_s += 1.1
    idle(consumer, group)
    assert consumer.problem is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"consumerIdList":null}', b'{"consumerIdList":7}', b"\xff"])
def test_member_list_that_is_not_readable_is_a_problem(
    group: ScriptedGroup, make_consumer: MakeConsumer, body: bytes
) -> None:
    group.broker.on(MEMBERS, Answer(body=body))
    consumer = make_consumer()
    poll_until(consumer, lambda: consumer.problem is not None)
    assert "consumer list is not readable" in str(consumer.problem)


def test_refused_heartbeat_is_a_problem(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.broker.on(HEART_BEAT, Answer(code=1, remark="...AclException: No default permission for group"))
    consumer = make_consumer()
    poll_until(consumer, lambda: consumer.problem is not None)
    assert isinstance(consumer.problem, BrokerForbids)


def test_missing_retry_topic_does_not_stop_the_others(
    cluster: ScriptedCluster, group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    """The broker makes it with the first heartbeat; its route follows."""
    del cluster.topics[RETRY]
    consumer = make_consumer()
    idle(consumer, group, queues=2)
    assert group.pulls(RETRY) == []


def test_retry_topic_is_read_soon_after_the_broker_made_it(
    cluster: ScriptedCluster, group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    """Its route reaches the name server a moment after the first heartbeat: what is sent back must not wait 20 s for that."""
    del cluster.topics[RETRY]
    consumer = make_consumer()
    idle(consumer, group, queues=2)
    cluster.topics[RETRY] = 1
    group.add("again", topic=RETRY, properties={"RETRY_TOPIC": "t"}, reconsume_times=1)
    clock.ahead_s += 5
    assert bodies(receive(consumer, 1, timeout_s=1.0)) == [b"again"]


def test_membership_is_renewed_at_once_after_the_connection_broke(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    """A broker strikes a member off when its connection ends: until the next heartbeat others would read its queues, too."""
    consumer = make_consumer()
    idle(consumer, group)
    group.held.clear()
    group.broker.hang_up()
    poll_until(consumer, lambda: isinstance(consumer.problem, OutcomeUnknown))
    clock.ahead_s += 1.1
    poll_until(consumer, lambda: len(group.heartbeats) == 2, timeout_s=1.0)


# --- several brokers ---


def test_broker_that_is_down_does_not_keep_the_queues_of_others_from_being_read(
    cluster: ScriptedCluster, group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    """A name server lists a dead broker for up to 120 s; "0" sorts before "a"."""
    with nobody() as address:
        cluster.addresses = {"0": address, **cluster.addresses}
        group.committed = {("t", 0): 0, ("t", 1): 0}
        group.add("x")
        assert bodies(receive(make_consumer(), 1, timeout_s=1.0)) == [b"x"]


def test_broker_that_is_down_does_not_keep_queues_from_being_released(
    cluster: ScriptedCluster, group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    with ScriptedBroker() as second:
        cluster.addresses["b"] = second.address
        other = ScriptedGroup(second, GROUP)
        consumer = make_consumer()
        idle(consumer, group)
        idle(consumer, other)
        other.add("x")
        consumer.settle(receive(consumer, 1))
    # The second broker is down now, with an offset to be committed.
    group.change_members("0 sorts first")
    poll_until(consumer, lambda: len(group.broker.of(MEMBERS)) == 2)
    for queue in (0, 1):
        group.add("for the other", queue=queue)
    clock.ahead_s += 1.1
    assert consumer.poll(0.1) == []


def test_all_brokers_hear_of_a_member(
    cluster: ScriptedCluster, group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    with ScriptedBroker() as second:
        cluster.addresses["b"] = second.address
        other = ScriptedGroup(second, GROUP)
        consumer = make_consumer()
        idle(consumer, group)
        idle(consumer, other)
        assert len(group.heartbeats) == len(other.heartbeats) == 1
        assert group.me == other.me
        consumer.close()
        assert len(group.broker.of(UNREGISTER)) == len(second.of(UNREGISTER)) == 1
