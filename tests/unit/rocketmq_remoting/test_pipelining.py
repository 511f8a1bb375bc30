"""The producer's window against scripted brokers: batch size, requests under way, order whatever fails in the middle, and the deadline."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rocketmq_remoting import Client, ConnectFailed, Message, OutcomeUnknown, Producer, SendOutcome

from .scripted_broker import HANG_UP, SEND, SEND_BATCH, SENDS, Action, Answer, Request, Script, ScriptedCluster, nobody

BUSY = Answer(code=2, remark="[TIMEOUT_CLEAN_QUEUE]broker busy")


@pytest.fixture
def cluster() -> Iterator[ScriptedCluster]:
    """One broker, "a", with topic t of 4 queues and s of a single one."""
    with ScriptedCluster("a", topics={"t": 4, "s": 1}) as scripted:
        yield scripted


def message(place: int, key: str = "", topic: str = "t", body: bytes = b"") -> Message:
    return Message(topic=topic, body=body or b"%d" % place, message_id=f"{place:032X}", sharding_key=key)


def send(cluster: ScriptedCluster, messages: Any, *, timeout_s: float = 10.0, **options: Any) -> list[SendOutcome]:
    producer = Producer(Client([cluster.name_server.address]), **options)
    try:
        return producer.send(messages, time.monotonic() + timeout_s)
    finally:
        producer.close()


def errors(outcomes: list[SendOutcome]) -> list[type[Exception] | None]:
    return [type(outcome.error) if outcome.error else None for outcome in outcomes]


# --- how much travels together ---


def test_batches_are_as_large_as_allowed_and_outcomes_name_each_message_s_own_place(cluster: ScriptedCluster) -> None:
    messages = [message(place) for place in range(25)]
    outcomes = send(cluster, messages, max_batch_messages=10)
    assert [len(request.items) for request in cluster.sent()] == [10, 10, 5]
    for sent, outcome in zip(messages, outcomes, strict=True):
        assert outcome.queue is not None
        bodies = cluster.stored()["t", "a", outcome.queue.queue_id]
        assert bodies[outcome.queue_offset] == sent.body


def test_batches_of_one_call_are_spread_over_the_queues(cluster: ScriptedCluster) -> None:
    send(cluster, [message(place) for place in range(16)], max_batch_messages=2)
    assert {queue: len(bodies) for queue, bodies in cluster.stored().items()} == {
        ("t", "a", queue_id): 4 for queue_id in range(4)
    }


def test_batches_of_a_key_are_as_large_as_allowed_too(cluster: ScriptedCluster) -> None:
    send(cluster, [message(place, key="k") for place in range(7)], max_batch_messages=3)
    assert [[body for body, _ in request.items] for request in cluster.sent()] == [
        [b"0", b"1", b"2"],
        [b"3", b"4", b"5"],
        [b"6"],
    ]


def test_batch_of_one_is_a_single_send(cluster: ScriptedCluster) -> None:
    assert errors(send(cluster, [message(place) for place in range(5)], max_batch_messages=1)) == [None] * 5
    assert [request.code for request in cluster.sent()] == [SEND] * 5


@pytest.mark.parametrize("options", [{"max_batch_messages": 0}, {"max_requests": 0}, {"max_requests": -1}])
def test_limits_of_less_than_one_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Producer(Client(["127.0.0.1:1"]), **options)


# --- how much is under way ---


class SlowBroker:
    """Answers nothing until no further request has come for a moment, then all that came."""

    def __init__(self, cluster: ScriptedCluster) -> None:
        self._cluster = cluster
        self._waiting: list[Request] = []
        self.under_way: list[int] = []  # how many were waiting whenever it answered

    def __call__(self, request: Request) -> Action:
        self._waiting.append(request)
        if len(self._waiting) == 1:
            threading.Timer(0.05, self._answer).start()
        return None

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.under_way.append(len(waiting))
        for request in waiting:
            request.reply(self._cluster.brokers["a"].store(request))


@pytest.mark.parametrize("max_requests", [1, 3])
def test_no_more_requests_are_under_way_than_allowed(cluster: ScriptedCluster, max_requests: int) -> None:
    slow = SlowBroker(cluster)
    cluster.brokers["a"].on(SENDS, slow)
    messages = [message(place) for place in range(12)]
    assert errors(send(cluster, messages, max_batch_messages=2, max_requests=max_requests)) == [None] * 12
    assert slow.under_way == [max_requests] * (6 // max_requests)


def test_single_messages_of_different_keys_of_a_queue_are_under_way_together_and_those_of_one_are_not(
    cluster: ScriptedCluster,
) -> None:
    slow = SlowBroker(cluster)
    cluster.brokers["a"].on(SENDS, slow)
    messages = [message(place, key=f"k{place % 3}", topic="s") for place in range(6)]
    assert errors(send(cluster, messages, max_batch_messages=1)) == [None] * 6
    assert slow.under_way == [3, 3]


def test_no_more_bytes_are_under_way_than_a_broker_can_store_before_it_gives_requests_up(
    cluster: ScriptedCluster,
) -> None:
    slow = SlowBroker(cluster)
    cluster.brokers["a"].on(SENDS, slow)
    messages = [message(place, body=bytes(700_000)) for place in range(6)]
    assert errors(send(cluster, messages)) == [None] * 6
    assert slow.under_way == [3, 3]  # the third request began below 2 MiB


def test_requests_leave_while_messages_are_still_being_made(cluster: ScriptedCluster) -> None:
    broker = cluster.brokers["a"]

    def until_one_has_come() -> Iterator[Message]:
        end = time.monotonic() + 5
        place = 0
        while not broker.of(*SENDS):
            assert time.monotonic() < end, "nothing was sent before the last message was made"
            yield message(place, body=bytes(40_000))
            place += 1

    outcomes = send(cluster, until_one_has_come(), max_batch_messages=1)
    assert outcomes
    assert set(errors(outcomes)) == {None}


def test_error_in_making_a_message_leaves_a_producer_that_can_be_used(cluster: ScriptedCluster) -> None:
    def broken() -> Iterator[Message]:
        for place in range(50):
            yield message(place, body=bytes(40_000))
        raise RuntimeError("no more")

    producer = Producer(Client([cluster.name_server.address]), max_batch_messages=1)
    with pytest.raises(RuntimeError, match="no more"):
        producer.send(broken(), time.monotonic() + 5)
    assert errors(producer.send([message(99)], time.monotonic() + 5)) == [None]
    producer.close()


# --- order, whatever fails in the middle ---

ACTIONS = ["store", "late flush", "busy", "closing", "moved", "illegal", "hang up", "store, hang up"]


def action_of(cluster: ScriptedCluster, name: str, order: list[bytes]) -> Script:
    def act(request: Request) -> Action:
        if name in ("store", "late flush", "store, hang up"):
            answer = cluster.brokers["a"].store(request)
            order.extend(body for body, _ in request.items)
            if name == "late flush":
                return Answer(code=10, fields=answer.fields)
            return answer if name == "store" else HANG_UP
        codes = {"busy": 2, "closing": 14, "moved": 17, "illegal": 13}
        return HANG_UP if name == "hang up" else Answer(code=codes[name])

    return act


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    keys=st.lists(st.sampled_from(["", "k0", "k1", "k2"]), max_size=30),
    actions=st.lists(st.sampled_from(ACTIONS), max_size=12),
    max_batch_messages=st.integers(1, 6),
    max_requests=st.integers(1, 4),
)
def test_nothing_overtakes_a_message_of_its_key_that_is_not_stored(
    keys: list[str], actions: list[str], max_batch_messages: int, max_requests: int
) -> None:
    order: list[bytes] = []
    with ScriptedCluster("a", topics={"t": 2}) as cluster:
        cluster.brokers["a"].on(SENDS, *(action_of(cluster, name, order) for name in [*actions, "store"]))
        messages = [message(place, key=key) for place, key in enumerate(keys)]
        limits = {"max_batch_messages": max_batch_messages, "max_requests": max_requests}
        outcomes = send(cluster, messages, **limits)
        assert len(outcomes) == len(messages)
        assert all(len(request.items) <= max_batch_messages for request in cluster.sent())
        first_times = list(dict.fromkeys(order))
        for sent, outcome in zip(messages, outcomes, strict=True):
            if outcome.error is None:
                assert outcome.queue is not None
                assert cluster.stored()["t", "a", outcome.queue.queue_id][outcome.queue_offset] == sent.body
        for key in {"k0", "k1", "k2"}.intersection(keys):
            of_key = [at for at, each in enumerate(messages) if each.sharding_key == key]
            # Stored is a beginning of them, in order, and so is what is said to be stored.
            bodies = [b"%d" % at for at in of_key]
            stored = [body for body in first_times if body in bodies]
            assert stored == bodies[: len(stored)]
            said = [outcomes[at].error is None for at in of_key]
            assert said == sorted(said, reverse=True)


# --- the deadline ---


def test_deadline_in_the_middle_tells_stored_from_unknown_from_never_sent(cluster: ScriptedCluster) -> None:
    store = cluster.brokers["a"].store
    cluster.brokers["a"].on(SENDS, store, store, None)
    start = time.monotonic()
    messages = [message(place) for place in range(6)]
    outcomes = send(cluster, messages, timeout_s=0.3, max_batch_messages=1, max_requests=2)
    assert errors(outcomes) == [None, None, OutcomeUnknown, OutcomeUnknown, ConnectFailed, ConnectFailed]
    assert time.monotonic() - start < 2
    assert len(cluster.sent()) == 4


def test_deadline_that_passes_while_messages_are_made_sends_no_more(cluster: ScriptedCluster) -> None:
    broker = cluster.brokers["a"]
    deadline = time.monotonic() + 0.2

    def beyond_the_deadline() -> Iterator[Message]:
        place = 0
        while time.monotonic() < deadline or not place:
            yield message(place, body=bytes(40_000))
            place += 1
        for late in range(place, place + 3):
            yield message(late, body=b"late")

    producer = Producer(Client([cluster.name_server.address]), max_batch_messages=1)
    outcomes = producer.send(beyond_the_deadline(), deadline)
    producer.close()
    assert errors(outcomes)[-3:] == [ConnectFailed] * 3
    assert b"late" not in [body for bodies in broker.stored.values() for body in bodies]


def test_silent_broker_with_a_full_window_does_not_stop_the_batches_of_another() -> None:
    with ScriptedCluster("a", "b", topics={"s": 1}) as pair:
        pair.brokers["b"].on(SENDS, None)
        messages = [message(place, key="\x00" if place % 2 else "\x01", topic="s") for place in range(40)]
        outcomes = send(pair, messages, timeout_s=0.5, max_batch_messages=2, max_requests=1)
    assert errors(outcomes)[1::2] == [None] * 20
    assert None not in errors(outcomes)[::2]


def test_broker_that_is_down_is_dialled_once_a_round_however_many_batches_wait() -> None:
    with ScriptedCluster("a", topics={"t": 4}) as cluster, nobody() as address:
        cluster.addresses["a"] = address
        messages = [message(place, key=f"k{place}") for place in range(100)]
        outcomes = send(cluster, messages, max_batch_messages=1, max_requests=1)
        assert set(errors(outcomes)) == {ConnectFailed}
        assert len({id(outcome.error) for outcome in outcomes}) == 1


def test_deadline_that_has_passed_is_no_reason_to_avoid_a_broker() -> None:
    with ScriptedCluster("a", "b", topics={"s": 1}) as pair:
        producer = Producer(Client([pair.name_server.address]))
        producer.send([message(0, topic="s")], time.monotonic() + 5)
        assert errors(producer.send([message(1, topic="s")], time.monotonic() - 1)) == [ConnectFailed]
        for place in range(2, 6):
            producer.send([message(place, topic="s")], time.monotonic() + 5)
        producer.close()
        assert {len(bodies) for bodies in pair.stored().values()} == {2, 3}


def test_all_batches_are_sent_as_batches(cluster: ScriptedCluster) -> None:
    send(cluster, [message(place) for place in range(6)], max_batch_messages=2)
    assert {request.code for request in cluster.sent()} == {SEND_BATCH}


def test_busy_answer_in_the_middle_fails_its_own_batch_only(cluster: ScriptedCluster) -> None:
    store = cluster.brokers["a"].store
    cluster.brokers["a"].on(SENDS, store, BUSY, store)
    outcomes = send(cluster, [message(place) for place in range(6)], max_batch_messages=2)
    assert [error is None for error in errors(outcomes)] == [True, True, False, False, True, True]
