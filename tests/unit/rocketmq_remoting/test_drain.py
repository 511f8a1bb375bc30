"""The drain against a scripted broker: it reads what is there and ends, beside others and after failures."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rocketmq_remoting import (
    BrokerBusy,
    Client,
    ConnectFailed,
    Drain,
    MessageQueue,
    OutcomeUnknown,
    ProtocolError,
    RouteNotFound,
    StartFrom,
    StoredMessage,
)

from .consuming import BUSY, GROUP, RETRY
from .scripted_broker import HANG_UP, Answer, Request, ScriptedBroker, ScriptedCluster
from .scripted_group import (
    HEART_BEAT,
    LOCK,
    MEMBERS,
    PULL,
    QUERY_OFFSET,
    SEND_BACK,
    UNLOCK,
    UPDATE_OFFSET,
    Clock,
    ScriptedGroup,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("rocketmq_remoting.drain.time", made)
    return made


@pytest.fixture
def cluster() -> Iterator[ScriptedCluster]:
    """One broker, "a", with topic t of two queues."""
    with ScriptedCluster("a", topics={"t": 2}) as scripted:
        yield scripted


MakeDrain = Callable[..., Drain]


@pytest.fixture
def make_drain(cluster: ScriptedCluster) -> Iterator[MakeDrain]:
    with ExitStack() as stack:

        def make(**options: Any) -> Drain:
            client = Client([cluster.name_server.address])
            stack.callback(client.close)
            made: dict[str, Any] = {"group": GROUP, "topic": "t", "start_from": StartFrom.first()} | options
            return Drain(client, **made)

        yield make


def soon() -> float:
    return time.monotonic() + 5


def read(drain: Drain, *, is_settled: bool = True) -> list[StoredMessage]:
    """Pull until nothing is left."""
    messages: list[StoredMessage] = []
    while not drain.is_done:
        found = drain.pull(soon())
        messages += found
        if is_settled:
            drain.settle(found)
        drain.commit(soon())
    return messages


def test_all_queues_are_read_to_their_end_and_committed(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    for at in range(100):
        group.add(str(at), queue=at % 2)
    drain = make_drain()
    drain.open(soon())
    messages = read(drain)
    drain.close(soon())
    assert sorted(int(each.body) for each in messages) == list(range(100))
    assert group.committed == {("t", 0): 50, ("t", 1): 50}
    assert drain.left == 0
    assert drain.problem is None
    assert group.locks == {}
    assert not group.broker.of(HEART_BEAT)  # it is no member


def test_an_empty_topic_is_not_waited_for(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    drain = make_drain()
    drain.open(soon())
    assert drain.pull(soon()) == []
    assert drain.is_done
    assert {request.fields["sysFlag"] for request in group.broker.of(PULL)} == {"4"}


def test_a_new_group_starts_at_the_end_and_that_is_committed_at_once(
    group: ScriptedGroup, make_drain: MakeDrain
) -> None:
    """Else what comes before the next drain would be skipped by "last"."""
    group.add("old")
    first = make_drain(start_from=StartFrom.last())
    first.open(soon())
    assert read(first) == []
    first.close(soon())
    group.add("new")
    second = make_drain(start_from=StartFrom.last())
    second.open(soon())
    assert [each.body for each in read(second)] == [b"new"]


def test_a_group_that_the_broker_does_not_know_is_made_by_the_first_pull(
    group: ScriptedGroup, broker: ScriptedBroker, make_drain: MakeDrain
) -> None:
    """RocketMQ 5.x takes no offsets of a group before that."""

    def update(request: Request) -> Answer:
        is_known = bool(broker.of(PULL))
        return group.update_offset(request) if is_known else Answer(code=26, remark=f"Group {GROUP} not exist!")

    broker.on(UPDATE_OFFSET, update)
    group.add("old")
    drain = make_drain(start_from=StartFrom.last())
    drain.open(soon())
    assert drain.pull(soon()) == []
    assert drain.problem is None
    assert group.committed == {("t", 0): 1, ("t", 1): 0}


def test_what_is_not_settled_is_not_committed_and_comes_again(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    for at in range(5):
        group.add(str(at))
    drain = make_drain()
    drain.open(soon())
    found = drain.pull(soon())
    drain.settle([found[0], found[1], found[3]])
    drain.close(soon())
    assert group.committed["t", 0] == 2
    assert drain.left == 2
    again = make_drain()
    again.open(soon())
    assert [each.body for each in read(again)] == [b"2", b"3", b"4"]


def test_a_stopped_queue_is_pulled_no_more(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    for at in range(80):
        group.add(str(at), queue=at % 2)
    drain = make_drain()
    drain.open(soon())
    first = drain.pull(soon())
    assert len(first) == 64
    drain.stop(MessageQueue("t", "a", 0))
    assert {each.queue_id for each in drain.pull(soon())} == {1}
    assert drain.left == 80


def test_a_second_drain_gets_the_queues_that_the_first_does_not_hold(
    group: ScriptedGroup, make_drain: MakeDrain
) -> None:
    group.add("0", queue=0)
    group.add("1", queue=1)
    group.locks["t", 0] = "another"
    drain = make_drain()
    drain.open(soon())
    assert [each.body for each in read(drain)] == [b"1"]
    assert drain.taken == 1
    drain.close(soon())
    assert group.committed == {("t", 1): 1}
    assert group.locks == {("t", 0): "another"}


def test_queues_to_be_left_alone_are_not_taken(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    group.add("0", queue=0)
    drain = make_drain()
    drain.open(soon(), but=[MessageQueue("t", "a", 0)])
    assert read(drain) == []
    assert set(group.locks) == {("t", 1)}
    assert drain.taken == 0


def test_where_the_group_has_members_nothing_is_taken(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    group.add("0")
    group.others = ["a-runner"]
    drain = make_drain()
    drain.open(soon())
    assert drain.is_done
    assert drain.members == ("a-runner",)
    assert not group.broker.of(LOCK, PULL, QUERY_OFFSET)
    drain.close(soon())
    assert group.commits == []


def test_what_was_sent_back_is_read_too(cluster: ScriptedCluster, group: ScriptedGroup, make_drain: MakeDrain) -> None:
    cluster.topics[RETRY] = 1
    group.add("again", topic=RETRY, properties={"RETRY_TOPIC": "t"}, reconsume_times=1)
    drain = make_drain(start_from=StartFrom.last())
    drain.open(soon())
    (message,) = read(drain)
    drain.close(soon())
    assert (message.topic, message.body) == ("t", b"again")
    assert group.committed[RETRY, 0] == 1


def test_a_message_can_be_sent_to_the_dead_letters(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    group.add("poison")
    drain = make_drain()
    drain.open(soon())
    (message,) = drain.pull(soon())
    drain.send_back(message, delay_level=-1, deadline=soon())
    (request,) = group.broker.of(SEND_BACK)
    assert (request.fields["delayLevel"], request.fields["group"], request.fields["offset"]) == ("-1", GROUP, "1000")


# Locks.


def test_locks_are_asked_for_again_before_they_end(group: ScriptedGroup, make_drain: MakeDrain, clock: Clock) -> None:
    drain = make_drain()
    group.add("0")
    drain.open(clock.monotonic() + 5)
    assert len(group.broker.of(LOCK)) == 1
    clock.ahead_s = 21
    assert len(drain.pull(clock.monotonic() + 5)) == 1
    assert len(group.broker.of(LOCK)) == 2


def test_what_another_has_meanwhile_is_neither_read_nor_committed(
    group: ScriptedGroup, make_drain: MakeDrain, clock: Clock
) -> None:
    """A process that stood still for more than a minute: the broker has given the queues away."""
    for at in range(100):
        group.add(str(at), queue=at % 2)
    drain = make_drain()
    drain.open(soon())
    found = drain.pull(soon())
    drain.settle(found)
    clock.ahead_s = 70
    group.locks["t", 0] = "another"
    assert {each.queue_id for each in drain.pull(clock.monotonic() + 5)} == {1}
    drain.commit(clock.monotonic() + 5)
    drain.close(clock.monotonic() + 5)
    assert ("t", 0, 32) not in group.commits
    assert drain.taken == 1


def test_without_an_answer_about_its_locks_it_trusts_none(
    group: ScriptedGroup, broker: ScriptedBroker, make_drain: MakeDrain, clock: Clock
) -> None:
    group.add("0")
    drain = make_drain()
    drain.open(soon())
    drain.settle(drain.pull(soon()))
    broker.on(LOCK, BUSY)
    clock.ahead_s = 40
    drain.close(clock.monotonic() + 5)
    assert ("t", 0, 1) not in group.commits
    assert isinstance(drain.problem, BrokerBusy)


# Brokers that fail.


@pytest.mark.usefixtures("group")
def test_a_missing_topic_is_an_error(make_drain: MakeDrain) -> None:
    with pytest.raises(RouteNotFound, match="'missing'"):
        make_drain(topic="missing").open(soon())


@pytest.mark.parametrize("code", [MEMBERS, LOCK, QUERY_OFFSET])
def test_a_broker_that_refuses_from_the_beginning_is_an_error(
    group: ScriptedGroup, broker: ScriptedBroker, make_drain: MakeDrain, code: int
) -> None:
    broker.on(code, BUSY)
    drain = make_drain()
    with pytest.raises(BrokerBusy):
        drain.open(soon())
    drain.close(soon())
    assert group.locks == {}


@pytest.mark.usefixtures("group")
def test_an_answer_to_a_lock_that_is_none_is_an_error(broker: ScriptedBroker, make_drain: MakeDrain) -> None:
    broker.on(LOCK, Answer(body=b"[]"))
    with pytest.raises(ProtocolError, match="lock"):
        make_drain().open(soon())


def test_a_broker_that_is_gone_keeps_nobody_from_the_others() -> None:
    with ScriptedCluster("b", "c", topics={"t": 1}) as two:
        groups = {name: ScriptedGroup(broker, GROUP) for name, broker in two.brokers.items()}
        groups["b"].add("here")
        two.brokers["c"].close()
        client = Client([two.name_server.address])
        drain = Drain(client, group=GROUP, topic="t", start_from=StartFrom.first())
        drain.open(soon())
        assert [each.body for each in read(drain)] == [b"here"]
        assert isinstance(drain.problem, ConnectFailed | OutcomeUnknown)
        client.close()


@pytest.mark.parametrize("answer", [BUSY, HANG_UP])
def test_a_queue_whose_pull_fails_is_done_for_this_time(
    group: ScriptedGroup, broker: ScriptedBroker, make_drain: MakeDrain, answer: Any
) -> None:
    group.add("0")
    drain = make_drain()
    drain.open(soon())
    broker.on(PULL, answer)
    assert drain.pull(soon()) == []
    assert drain.is_done
    assert isinstance(drain.problem, BrokerBusy | OutcomeUnknown)


def test_an_offset_that_is_gone_is_followed(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    """The broker has deleted old messages meanwhile: it says where to go on."""
    group.committed["t", 0] = 3
    group.first["t", 0] = 10
    group.add("ten")
    drain = make_drain()
    drain.open(soon())
    assert [each.body for each in read(drain)] == [b"ten"]
    assert group.committed["t", 0] == 11


def test_a_commit_that_fails_is_told_and_costs_no_message(
    group: ScriptedGroup, broker: ScriptedBroker, make_drain: MakeDrain
) -> None:
    group.committed.update({("t", 0): 0, ("t", 1): 0})
    group.add("0")
    drain = make_drain()
    drain.open(soon())
    broker.on(UPDATE_OFFSET, BUSY)
    assert len(read(drain)) == 1
    assert isinstance(drain.problem, BrokerBusy)
    assert group.committed["t", 0] == 0


def test_each_queue_is_unlocked_in_the_end(group: ScriptedGroup, make_drain: MakeDrain) -> None:
    drain = make_drain()
    drain.open(soon())
    assert set(group.locks) == {("t", 0), ("t", 1)}
    drain.close(soon())
    (request,) = group.broker.of(UNLOCK)
    assert b'"consumerGroup": "GID_test"' in request.body
    assert isinstance(request, Request)
    assert group.locks == {}
