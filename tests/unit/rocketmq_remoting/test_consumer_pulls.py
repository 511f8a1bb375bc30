"""The consumer against a scripted broker: what it pulls, and what it makes of the answers."""

import time
from typing import Any

import pytest

from rocketmq_remoting import BrokerBusy, BrokerForbids, OutcomeUnknown, RocketMQError, StoredMessage

from .consuming import BUSY, GROUP, RETRY, MakeConsumer, bodies, idle, poll_until, receive
from .scripted_broker import HANG_UP, Answer
from .scripted_group import PULL, Clock, ScriptedGroup
from .vectors import COMPRESSED


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
