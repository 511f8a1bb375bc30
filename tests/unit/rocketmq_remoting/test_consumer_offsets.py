"""The consumer against a scripted broker: where a group starts, and what it commits."""

import pytest

from rocketmq_remoting import BrokerBusy, StartFrom, StoredMessage

from .consuming import BUSY, GROUP, RETRY, MakeConsumer, bodies, idle, poll_until, receive
from .scripted_broker import Answer
from .scripted_group import MAX, PULL, QUERY_OFFSET, UPDATE_OFFSET, Clock, ScriptedGroup

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
