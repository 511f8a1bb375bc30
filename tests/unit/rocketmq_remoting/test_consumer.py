"""The consumer against a scripted broker: where it starts, what it commits, and how it shares queues."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rocketmq_remoting import (
    BrokerBusy,
    BrokerForbids,
    Client,
    ConnectFailed,
    Consumer,
    IllegalMessage,
    OutcomeUnknown,
    RocketMQError,
    StartFrom,
    StoredMessage,
)

from .scripted_broker import GET_ROUTE, HANG_UP, Answer, Request, ScriptedBroker, ScriptedCluster, nobody
from .scripted_group import (
    HEART_BEAT,
    IDS_CHANGED,
    MAX,
    MEMBERS,
    PULL,
    QUERY_OFFSET,
    SEND_BACK,
    UNREGISTER,
    UPDATE_OFFSET,
    Clock,
    ScriptedGroup,
)
from .vectors import COMPRESSED

GROUP = "GID_test"
RETRY = f"%RETRY%{GROUP}"
BUSY = Answer(code=2, remark="busy")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("consumer", "connection", "exchange", "name_servers"):
        monkeypatch.setattr(f"rocketmq_remoting.{module}.time", made)
    return made


@pytest.fixture
def cluster() -> Iterator[ScriptedCluster]:
    """One broker, "a", with topic t of two queues and the group's retry topic of one."""
    with ScriptedCluster("a", topics={"t": 2, RETRY: 1}) as scripted:
        yield scripted


@pytest.fixture
def broker(cluster: ScriptedCluster) -> ScriptedBroker:
    return cluster.brokers["a"]


@pytest.fixture
def group(broker: ScriptedBroker) -> ScriptedGroup:
    return ScriptedGroup(broker, GROUP)


MakeConsumer = Callable[..., Consumer]


@pytest.fixture
def make_consumer(cluster: ScriptedCluster) -> Iterator[MakeConsumer]:
    with ExitStack() as stack:

        def make(**options: Any) -> Consumer:
            client = Client([cluster.name_server.address])
            stack.callback(client.close)
            return Consumer(client, **{"group": GROUP, "topic": "t"} | options)

        yield make


def poll_until(consumer: Consumer, condition: Callable[[], bool], *, timeout_s: float = 5.0) -> list[StoredMessage]:
    """Poll until the condition holds and return what came."""
    deadline = time.monotonic() + timeout_s
    messages: list[StoredMessage] = []
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time; problem: {consumer.problem!r}"
        messages += consumer.poll(0.005)
    return messages


def receive(consumer: Consumer, count: int, *, timeout_s: float = 5.0) -> list[StoredMessage]:
    """Poll until `count` messages have come; more at once are a failure."""
    messages: list[StoredMessage] = []
    deadline = time.monotonic() + timeout_s
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} messages came; problem: {consumer.problem!r}"
        messages += consumer.poll(0.05)
    assert len(messages) == count, [message.body for message in messages]
    return messages


def bodies(messages: list[StoredMessage]) -> list[bytes]:
    return [message.body for message in messages]


def idle(consumer: Consumer, group: ScriptedGroup, queues: int = 3) -> list[StoredMessage]:
    """Poll until a pull is held for every queue."""
    return poll_until(consumer, lambda: len({(r.fields["topic"], r.fields["queueId"]) for r in group.held}) >= queues)


# --- where a group starts ---


@pytest.mark.parametrize("zero", [True, False], ids=["broker says 0", "broker says not found"])
def test_new_group_starts_with_what_is_stored_from_now_on(
    group: ScriptedGroup, make_consumer: MakeConsumer, zero: bool
) -> None:
    """A broker that still has the queue's first message in memory answers 0 for a group that it never heard of."""
    group.zero_for_unknown_groups = zero
    for number in range(3):
        group.add(f"old {number}")
    consumer = make_consumer()
    assert idle(consumer, group) == []
    group.add("new")
    assert bodies(receive(consumer, 1)) == [b"new"]


def test_start_of_a_new_group_is_committed_at_once(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    """What arrives between the first start and a crash must not be skipped by the next "last"."""
    for _ in range(3):
        group.add("old")
    consumer = make_consumer()
    poll_until(consumer, lambda: bool(group.broker.of(PULL)))
    assert group.committed == {("t", 0): 3, ("t", 1): 0, (RETRY, 0): 0}
    group.add("while nobody reads")
    assert bodies(receive(make_consumer(), 1)) == [b"while nobody reads"]


def test_new_group_can_start_with_the_oldest(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.first["t", 0] = 5
    for number in range(2):
        group.add(f"{number}")
    messages = receive(make_consumer(start_from=StartFrom.first()), 2)
    assert [(message.body, message.queue_offset) for message in messages] == [(b"0", 5), (b"1", 6)]


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [(0, b"01234"), (2000, b"234"), (2400, b"34"), (2600, b"34"), (3000, b"34"), (3001, b"4"), (4000, b"4")],
)
def test_new_group_can_start_with_the_first_message_stored_at_a_time_or_after_it(
    group: ScriptedGroup, make_consumer: MakeConsumer, timestamp_ms: int, expected: bytes
) -> None:
    """A broker names the nearest message, which may be an older one."""
    for number in range(5):
        group.add(f"{number}", store_ms=1000 * number)
    messages = receive(make_consumer(start_from=StartFrom.at(timestamp_ms)), len(expected))
    assert b"".join(bodies(messages)) == expected


def test_new_group_can_start_at_a_time_that_many_messages_share(
    group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    """A batch has one time, and a broker names any message of it."""
    for number in range(9):
        group.add(f"{number}", store_ms=2000 if number else 1000)
    messages = receive(make_consumer(start_from=StartFrom.at(2000)), 8, timeout_s=1.0)
    assert bodies(messages) == [b"%d" % number for number in range(1, 9)]


def test_group_goes_on_where_it_committed(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 2, ("t", 1): 0}
    for number in range(4):
        group.add(f"{number}")
    assert bodies(receive(make_consumer(), 2)) == [b"2", b"3"]
    assert group.broker.of(MAX) == []


def test_offset_zero_that_was_really_committed_is_believed(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    group.add("unread")
    assert bodies(receive(make_consumer(), 1)) == [b"unread"]


def test_what_was_sent_back_before_the_first_start_is_never_too_old(
    group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    group.add("sent back", topic=RETRY, properties={"RETRY_TOPIC": "t"})
    assert bodies(receive(make_consumer(), 1)) == [b"sent back"]


@pytest.mark.parametrize("fields", [{}, {"offset": ""}, {"offset": "x"}, {"offset": "1.5"}])
def test_offset_that_is_not_readable_is_a_problem_and_starts_nothing(
    group: ScriptedGroup, make_consumer: MakeConsumer, fields: dict[str, str]
) -> None:
    group.broker.on(QUERY_OFFSET, Answer(fields=fields))
    consumer = make_consumer()
    poll_until(consumer, lambda: consumer.problem is not None)
    assert "answer without an offset" in str(consumer.problem)
    assert group.broker.of(PULL) == []


# --- what is committed ---


def test_nothing_is_committed_beyond_the_first_unsettled_message(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    for number in range(3):
        group.add(f"{number}")
    consumer = make_consumer()
    messages = receive(consumer, 3)

    def commits_after_settling(*settled: StoredMessage) -> list[int]:
        consumer.settle(settled)
        clock.ahead_s += 1.1
        consumer.poll(0)
        return [offset for _, _, offset in group.commits]

    assert commits_after_settling() == []
    assert commits_after_settling(messages[2]) == []
    assert commits_after_settling(messages[0]) == [1]
    assert commits_after_settling(messages[0]) == [1]
    assert commits_after_settling(messages[1]) == [1, 3]
    assert consumer.unsettled_count == 0


def test_offsets_are_committed_for_the_group_and_queue(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.add("old", queue=1)
    consumer = make_consumer()
    idle(consumer, group)
    (request,) = [each for each in group.broker.of(UPDATE_OFFSET) if each.fields["queueId"] == "1"]
    assert request.fields == {"consumerGroup": GROUP, "topic": "t", "queueId": "1", "commitOffset": "1"}


def test_commit_that_was_refused_is_tried_again(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    group.add("x")
    consumer = make_consumer()
    consumer.settle(receive(consumer, 1))
    group.broker.on(UPDATE_OFFSET, BUSY, group.update_offset)
    clock.ahead_s += 1.1
    consumer.poll(0)
    assert isinstance(consumer.problem, BrokerBusy)
    clock.ahead_s += 1.1
    consumer.poll(0)
    assert group.commits == [("t", 0, 1)]


def test_filtered_messages_do_not_stop_the_offset(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    """The broker compares hashes only: "BB" comes with "Aa", and the client looks again."""
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    for tag in ("BB", "Aa", "BB", ""):
        group.add(f"body {tag}", properties={"TAGS": tag} if tag else b"")
    consumer = make_consumer(expression="Aa")
    (message,) = receive(consumer, 1)
    assert message.body == b"body Aa"
    consumer.settle([message])
    clock.ahead_s += 1.1
    consumer.poll(0)
    assert group.committed["t", 0] == 4
    assert {request.fields["subscription"] for request in group.broker.of(PULL)} == {"Aa", "*"}


def test_settling_what_is_not_ours_is_harmless(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    group.add("x")
    (message,) = receive(consumer, 1)
    make_consumer().settle([message])
    consumer.settle([message, message])
    assert consumer.unsettled_count == 0


def test_no_more_is_pulled_than_may_be_unsettled(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0, (RETRY, 0): 0}
    for number in range(100):
        group.add(f"{number}")
    consumer = make_consumer(max_unsettled=32)
    messages = receive(consumer, 32)
    assert consumer.poll(0.05) == []
    assert len(group.pulls()) <= 2
    consumer.settle(messages)
    assert bodies(receive(consumer, 32))[0] == b"32"


# --- pulling ---


def test_pull_says_what_is_wanted(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    consumer = make_consumer()
    idle(consumer, group)
    (pull,) = [request for request in group.held if (request.fields["topic"], request.fields["queueId"]) == ("t", "0")]
    fields = dict(pull.fields)
    assert fields.pop("subVersion").isdigit()
    assert fields == {
        "consumerGroup": GROUP,
        "topic": "t",
        "queueId": "0",
        "queueOffset": "0",
        "maxMsgNums": "32",
        "sysFlag": "6",  # the broker may suspend it, and the subscription is in the request
        "commitOffset": "0",
        "suspendTimeoutMillis": "15000",
        "subscription": "*",
        "expressionType": "TAG",
    }


def test_messages_of_a_queue_come_in_stored_order_over_many_pulls(
    group: ScriptedGroup, make_consumer: MakeConsumer
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    for number in range(100):
        group.add(f"{number}")
    consumer = make_consumer()
    messages = poll_until(consumer, lambda: consumer.unsettled_count == 100)
    assert bodies(messages) == [b"%d" % number for number in range(100)]


def test_held_pull_is_answered_without_another(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    before = len(group.pulls())
    group.add("x")
    assert bodies(receive(consumer, 1)) == [b"x"]
    assert len(group.pulls()) == before


def test_polling_without_waiting_gets_what_has_arrived(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    group.add("x")
    consumer = make_consumer()
    messages: list[StoredMessage] = []
    deadline = time.monotonic() + 0.5
    while not messages and time.monotonic() < deadline:
        messages += consumer.poll(0)
        time.sleep(0.001)  # what a caller with a loop of its own does in between
    assert bodies(messages) == [b"x"]


def test_poll_ends_at_its_timeout(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer()
    idle(consumer, group)
    start = time.monotonic()
    assert consumer.poll(0.1) == []
    assert 0.05 < time.monotonic() - start < 1.0


def test_offset_that_the_broker_no_longer_has_moves_up(group: ScriptedGroup, make_consumer: MakeConsumer) -> None:
    group.committed = {("t", 0): 2, ("t", 1): 0}
    group.first["t", 0] = 10
    group.add("oldest")
    (message,) = receive(make_consumer(), 1)
    assert (message.body, message.queue_offset) == (b"oldest", 10)


def test_offset_that_the_broker_does_not_have_yet_moves_down_and_is_committed(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    """A broker that lost its store: an old, higher offset must not make a later consumer skip what comes (Java commits as well)."""
    group.committed = {("t", 0): 100, ("t", 1): 0, (RETRY, 0): 0}
    consumer = make_consumer()
    idle(consumer, group)
    group.add("first of the new store")
    consumer.settle(receive(consumer, 1))
    clock.ahead_s += 1.1
    consumer.poll(0)
    assert group.committed["t", 0] == 1


@pytest.mark.parametrize("code", [19, 20])
def test_pull_that_found_nothing_is_repeated_at_the_next_offset(
    group: ScriptedGroup, make_consumer: MakeConsumer, code: int
) -> None:
    """PULL_NOT_FOUND and PULL_RETRY_IMMEDIATELY: the broker may have passed over filtered messages."""
    group.broker.on(PULL, Answer(code=code, fields={"nextBeginOffset": "5"}))
    consumer = make_consumer()
    poll_until(consumer, lambda: "5" in {request.fields["queueOffset"] for request in group.broker.of(PULL)})
    assert consumer.problem is None


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (BUSY, BrokerBusy),
        (HANG_UP, OutcomeUnknown),
        (Answer(code=1, remark="...AclException: No default permission for group"), BrokerForbids),
        (Answer(code=19), RocketMQError),
        (Answer(fields={"nextBeginOffset": "1"}, body=b"rubbish"), RocketMQError),
    ],
    ids=["busy", "lost", "forbidden", "no offset", "rubbish"],
)
def test_failed_pull_is_a_problem_until_one_succeeds(
    group: ScriptedGroup,
    make_consumer: MakeConsumer,
    clock: Clock,
    action: Answer,
    kind: type[RocketMQError],
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    group.add("x")
    group.broker.on(PULL, action)
    consumer = make_consumer()
    poll_until(consumer, lambda: len(group.pulls()) >= 2 and consumer.problem is not None)
    assert isinstance(consumer.problem, kind)
    pulls = len(group.pulls())
    consumer.poll(0.05)
    assert len(group.pulls()) == pulls  # it waits a second before it asks again
    group.broker.on(PULL, group.pull)
    clock.ahead_s += 1.1
    assert bodies(receive(consumer, 1)) == [b"x"]
    assert consumer.problem is None


def test_pull_that_is_never_answered_is_given_up_and_dialled_anew(
    group: ScriptedGroup, make_consumer: MakeConsumer, clock: Clock
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    group.add("x")
    group.broker.on(PULL, None)
    consumer = make_consumer()
    poll_until(consumer, lambda: len(group.broker.of(PULL)) == 3)
    group.broker.on(PULL, group.pull)
    clock.ahead_s += 26
    consumer.poll(0.02)
    clock.ahead_s += 1.1
    assert bodies(receive(consumer, 1)) == [b"x"]
    assert len(group.broker.links) == 2


@pytest.mark.parametrize(
    "unreadable",
    [
        {"body": b"LZ4", "system_flag": COMPRESSED | 1 << 8},
        {"body": b"no zlib", "system_flag": COMPRESSED},
        {"body": b"x", "properties": b"name\x01\xff\x02"},
    ],
    ids=["LZ4", "damaged", "not UTF-8"],
)
def test_message_that_cannot_be_read_does_not_stop_its_queue(
    group: ScriptedGroup, make_consumer: MakeConsumer, unreadable: dict[str, Any]
) -> None:
    group.committed = {("t", 0): 0, ("t", 1): 0}
    group.add("before")
    group.add(**unreadable)
    group.add("after")
    consumer = make_consumer()
    seen: list[bytes] = []
    deadline = time.monotonic() + 0.5
    while len(seen) < 2 and time.monotonic() < deadline:
        seen += bodies(consumer.poll(0.02))
    assert (seen[0], seen[-1]) == (b"before", b"after")
    assert consumer.problem is None


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
