"""The producer against scripted brokers: grouping, outcomes in input order, order within a key, and what is tried again."""

import time
from collections.abc import Iterator
from itertools import count

import pytest

from rocketmq_remoting import (
    BrokerBusy,
    BrokerForbids,
    Client,
    ConnectFailed,
    HeldBack,
    IllegalMessage,
    Message,
    MessageQueue,
    OutcomeUnknown,
    Producer,
    ProtocolError,
    RouteNotFound,
    SendOutcome,
    TopicNotFound,
)

from .scripted_broker import (
    GET_ROUTE,
    HANG_UP,
    SEND,
    SEND_BATCH,
    SENDS,
    Action,
    Answer,
    Request,
    Script,
    ScriptedCluster,
    black_hole,
    encode_frame,
    nobody,
    route_document,
)

BUSY = Answer(code=2, remark="[TIMEOUT_CLEAN_QUEUE]broker busy")
NUMBERS = count()


def message(body: bytes | str = b"", key: str = "", topic: str = "t", delay_level: int = 0) -> Message:
    raw = body if isinstance(body, bytes) else body.encode()
    return Message(topic=topic, body=raw, message_id=f"{next(NUMBERS):032X}", sharding_key=key, delay_level=delay_level)


@pytest.fixture
def cluster() -> Iterator[ScriptedCluster]:
    """One broker, "a", with the topics t and u of 4 queues and s of a single one."""
    with ScriptedCluster("a", topics={"t": 4, "u": 4, "s": 1}) as scripted:
        yield scripted


@pytest.fixture
def pair() -> Iterator[ScriptedCluster]:
    """Two brokers, "a" and "b", with topic t of 4 queues on each and s of one on each."""
    with ScriptedCluster("a", "b", topics={"t": 4, "s": 1}) as scripted:
        yield scripted


def producer_of(*name_servers: str) -> Producer:
    return Producer(Client(name_servers), group="producers", clock=lambda: 1_700_000_000.5)


def send(cluster: ScriptedCluster, *messages: Message, timeout_s: float = 5.0) -> list[SendOutcome]:
    producer = producer_of(cluster.name_server.address)
    try:
        return producer.send(messages, time.monotonic() + timeout_s)
    finally:
        producer.close()


def errors(outcomes: list[SendOutcome]) -> list[type[Exception] | None]:
    return [type(outcome.error) if outcome.error else None for outcome in outcomes]


def assert_stored_where_said(cluster: ScriptedCluster, message: Message, outcome: SendOutcome) -> None:
    assert outcome.error is None
    assert outcome.queue is not None
    queue = (outcome.queue.topic, outcome.queue.broker_name, outcome.queue.queue_id)
    assert queue[0] == message.topic
    assert cluster.stored()[queue][outcome.queue_offset] == message.body


# --- grouping and outcomes ---


def test_single_message_is_sent_as_send_message_v2(cluster: ScriptedCluster) -> None:
    single = Message(topic="t", body=b"\x00\xff", message_id="A" * 32, tags="red", properties={"ü": "☃"})
    (outcome,) = send(cluster, single)
    (request,) = cluster.sent()
    assert outcome.queue is not None
    assert request.code == SEND
    assert request.fields == {
        "a": "producers",
        "b": "t",
        "c": "TBW102",
        "d": "4",
        "e": str(outcome.queue.queue_id),
        "f": "0",
        "g": "1700000000500",
        "h": "0",
        "i": f"UNIQ_KEY\x01{'A' * 32}\x02TAGS\x01red\x02ü\x01☃\x02",
        "j": "0",
        "k": "false",
        "m": "false",
    }
    assert request.body == b"\x00\xff"
    assert_stored_where_said(cluster, single, outcome)


def test_several_messages_are_one_batch_with_empty_common_properties(cluster: ScriptedCluster) -> None:
    messages = [message("1"), message("2"), message("3")]
    outcomes = send(cluster, *messages)
    (request,) = cluster.sent()
    assert request.code == SEND_BATCH
    assert (request.fields["i"], request.fields["m"]) == ("", "true")
    assert request.items == [(each.body, {"UNIQ_KEY": each.message_id}) for each in messages]
    assert [outcome.queue_offset for outcome in outcomes] == [0, 1, 2]


def test_one_request_per_topic_and_queue_and_one_outcome_per_message_in_input_order(pair: ScriptedCluster) -> None:
    pair.topics["u"] = 4
    messages = [
        message(f"{number}", key=f"device-{number % 11}" if number % 3 else "", topic="tu"[number % 2])
        for number in range(60)
    ]
    messages[17] = message("illegal", topic="no/topic")
    outcomes = send(pair, *messages)
    assert isinstance(outcomes[17].error, IllegalMessage)
    for at, (sent, outcome) in enumerate(zip(messages, outcomes, strict=True)):
        if at != 17:
            assert_stored_where_said(pair, sent, outcome)
    groups = {
        (out.queue, bool(sent.sharding_key))
        for sent, out in zip(messages, outcomes, strict=True)
        if out.queue is not None
    }
    assert len(pair.sent()) == len(groups)


def test_nothing_to_send_asks_nobody(cluster: ScriptedCluster) -> None:
    assert send(cluster) == []
    assert cluster.name_server.requests == []


def test_illegal_messages_are_not_sent_and_the_others_are(cluster: ScriptedCluster) -> None:
    bad = Message(topic="t", body=b"", message_id="A" * 32, properties={"TAGS": "x"})
    outcomes = send(cluster, bad, message("good"), bad)
    assert errors(outcomes) == [IllegalMessage, None, IllegalMessage]
    assert cluster.brokers["a"].stored.popitem()[1] == [b"good"]


def test_messages_without_a_key_are_spread_over_the_queues_from_call_to_call(cluster: ScriptedCluster) -> None:
    producer = producer_of(cluster.name_server.address)
    for _ in range(8):
        producer.send([message()], time.monotonic() + 5)
    producer.close()
    assert {queue_id: len(bodies) for (_, queue_id), bodies in cluster.brokers["a"].stored.items()} == dict.fromkeys(
        range(4), 2
    )


def test_lone_empty_body_is_a_batch_of_one_unless_it_is_delayed(cluster: ScriptedCluster) -> None:
    """RocketMQ 5.5.0 has a NullPointerException for a lone empty body; a batch cannot be delayed."""
    assert errors(send(cluster, message(""))) == [None]
    assert errors(send(cluster, message("", delay_level=3))) == [None]
    assert [request.code for request in cluster.sent()] == [SEND_BATCH, SEND]


def test_delayed_messages_travel_alone_and_in_their_place(cluster: ScriptedCluster) -> None:
    messages = [message(str(at), key="k", delay_level=3 if at == 2 else 0) for at in range(5)]
    assert errors(send(cluster, *messages)) == [None] * 5
    assert [request.code for request in cluster.sent()] == [SEND_BATCH, SEND, SEND_BATCH]
    assert cluster.sent()[1].items[0][1]["DELAY"] == "3"
    assert cluster.brokers["a"].stored.popitem()[1] == [b"0", b"1", b"2", b"3", b"4"]


def test_large_input_is_cut_into_batches_that_a_broker_takes(cluster: ScriptedCluster) -> None:
    messages = [message(bytes(300_000)) for _ in range(10)] + [message(bytes(3_000_000))]
    outcomes = send(cluster, *messages)
    assert errors(outcomes) == [None] * 11
    assert all(len(request.body) <= 1024 * 1024 or request.code == SEND for request in cluster.sent())
    assert len(cluster.sent()) == 5  # 3 + 3 + 3 + 1, and the large one by itself


def test_batch_as_the_broker_counts_it_stays_below_its_limit(cluster: ScriptedCluster) -> None:
    """CommitLog.calMsgLength: 91 bytes and the topic per message on top.

    Brokers before 4.9.x's last ones throw if all of it exceeds 4 MiB (totalMsgLen in MessageExtBatchEncoder.encode).
    """
    topic = "t" * 127
    cluster.topics[topic] = 1
    assert set(errors(send(cluster, *(message(topic=topic) for _ in range(17_000))))) == {None}
    for request in cluster.sent():
        stored_bytes = sum(
            91 + 127 + len(body) + sum(len(name) + len(value) + 2 for name, value in properties.items()) + 30
            for body, properties in request.items
        )
        assert stored_bytes <= 4 * 1024 * 1024


def test_answer_without_an_offset_still_means_stored(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, Answer(fields={}))
    (outcome,) = send(cluster, message())
    assert outcome.error is None
    assert outcome.queue_offset == -1


@pytest.mark.parametrize("code", [10, 11, 12], ids=["FLUSH_DISK_TIMEOUT", "SLAVE_NOT_AVAILABLE", "FLUSH_SLAVE_TIMEOUT"])
def test_message_that_only_the_flush_or_the_copy_is_late_for_counts_as_stored(
    cluster: ScriptedCluster, code: int
) -> None:
    cluster.brokers["a"].on(SENDS, Answer(code=code, fields={"queueOffset": "7"}))
    outcomes = send(cluster, message(), message())
    assert [(outcome.error, outcome.queue_offset) for outcome in outcomes] == [(None, 7), (None, 8)]
    assert len(cluster.sent()) == 1


# --- order within a key ---


def test_key_chooses_the_queue_by_its_java_hash(pair: ScriptedCluster) -> None:
    outcomes = send(pair, message(key="hello"), message(key="polygenelubricants"))
    chosen = [(outcome.queue.broker_name, outcome.queue.queue_id) for outcome in outcomes if outcome.queue]
    assert chosen == [("a", 99162322 % 8), ("a", 0)]


def test_messages_of_a_key_are_stored_in_order_over_several_batches(cluster: ScriptedCluster) -> None:
    messages = [message(f"{at}-" + "x" * 400_000, key=f"k{at % 2}", topic="s") for at in range(12)]
    assert errors(send(cluster, *messages)) == [None] * 12
    assert len(cluster.sent()) > 3
    assert [body[:3] for body in cluster.brokers["a"].stored["s", 0]] == [f"{at}-x"[:3].encode() for at in range(12)]


def test_after_a_failure_later_messages_of_its_key_are_held_back_and_those_of_other_keys_are_not(
    cluster: ScriptedCluster,
) -> None:
    cluster.brokers["a"].on(SENDS, BUSY, cluster.brokers["a"].store)
    first = message(bytes(1_048_500), key="k1", topic="s")  # fills a batch
    second = [message(f"{at}", key=f"k{1 + at % 2}", topic="s") for at in range(4)]
    outcomes = send(cluster, first, *second)
    assert errors(outcomes) == [BrokerBusy, HeldBack, None, HeldBack, None]
    assert all(outcome.error.retriable for outcome in outcomes if outcome.error)
    assert cluster.brokers["a"].stored == {("s", 0): [b"1", b"3"]}


def test_second_batch_of_a_queue_waits_for_the_answer_to_the_first(cluster: ScriptedCluster) -> None:
    """Otherwise it would have been sent before the refusal of the first arrived."""
    cluster.brokers["a"].on(SENDS, BUSY)
    outcomes = send(cluster, *(message(bytes(600_000), key="k") for _ in range(5)))
    assert errors(outcomes) == [BrokerBusy, *[HeldBack] * 4]
    assert len(cluster.sent()) == 1


def test_key_that_failed_in_one_topic_holds_nothing_back_in_another(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(
        SEND, lambda request: BUSY if request.fields["b"] == "t" else cluster.brokers["a"].store(request)
    )
    outcomes = send(cluster, message("a", key="k", topic="t"), message("a", key="k", topic="u"))
    assert errors(outcomes) == [BrokerBusy, None]


def test_order_of_a_key_survives_another_try(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, HANG_UP, cluster.brokers["a"].store)
    messages = [message(f"{at}" + "x" * 400_000, key="k", topic="s") for at in range(6)]
    assert errors(send(cluster, *messages)) == [None] * 6
    assert [body[:1] for body in cluster.brokers["a"].stored["s", 0]] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_failures_of_messages_without_a_key_hold_nothing_back(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, BUSY, cluster.brokers["a"].store)
    outcomes = send(cluster, *(message(bytes(600_000)) for _ in range(3)))
    assert sorted(map(str, errors(outcomes))) == sorted(map(str, [BrokerBusy, None, None]))


# --- refusals ---


@pytest.mark.parametrize("code", [1, 2, 215], ids=["SYSTEM_ERROR", "SYSTEM_BUSY", "FLOW_CONTROL"])
def test_busy_broker_is_retriable_and_not_pressed_at_once(cluster: ScriptedCluster, code: int) -> None:
    cluster.brokers["a"].on(SENDS, Answer(code=code, remark="later"))
    outcomes = send(cluster, message(), message())
    for outcome in outcomes:
        assert isinstance(outcome.error, BrokerBusy)
        assert outcome.error.retriable
        assert (outcome.error.code, outcome.error.remark) == (code, "later")
    assert len(cluster.sent()) == 1


@pytest.mark.parametrize("action", [BUSY, HANG_UP, Answer(code=1)])
def test_what_was_sent_and_failed_tells_its_queue(cluster: ScriptedCluster, action: Action) -> None:
    cluster.brokers["a"].on(SENDS, action)
    (outcome,) = send(cluster, message(topic="s"))
    assert outcome.error is not None
    assert outcome.queue == MessageQueue("s", "a", 0)


def test_access_refusal_is_final(cluster: ScriptedCluster) -> None:
    remark = "org.apache.rocketmq.acl.common.AclException: No default permission for topic: t"
    cluster.brokers["a"].on(SENDS, Answer(code=1, remark=remark))
    outcomes = send(cluster, message(), message())
    assert errors(outcomes) == [BrokerForbids] * 2
    assert not any(outcome.error.retriable for outcome in outcomes if outcome.error)
    assert len(cluster.sent()) == 1


def illegal_if_bad(cluster: ScriptedCluster) -> Script:
    def answer(request: Request) -> Answer:
        if any(body == b"bad" for body, _ in request.items):
            return Answer(code=13, remark="the message is illegal")
        return cluster.brokers["a"].store(request)

    return answer


def test_illegal_message_in_a_batch_is_found_and_the_others_are_stored(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, illegal_if_bad(cluster))
    outcomes = send(cluster, message("1"), message("bad"), message("2"), message("3"))
    assert errors(outcomes) == [None, BrokerForbids, None, None]
    assert sorted(body for bodies in cluster.stored().values() for body in bodies) == [b"1", b"2", b"3"]


def test_illegal_message_in_a_batch_holds_back_only_its_own_key(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, illegal_if_bad(cluster))
    keyed = [("1", "x"), ("bad", "k"), ("2", "x"), ("3", "k"), ("4", "x")]
    outcomes = send(cluster, *(message(body, key=key, topic="s") for body, key in keyed))
    assert errors(outcomes) == [None, BrokerForbids, None, HeldBack, None]
    assert cluster.brokers["a"].stored == {("s", 0): [b"1", b"2", b"4"]}


def test_illegal_single_message_is_final_and_sent_once(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, illegal_if_bad(cluster))
    assert errors(send(cluster, message("bad"))) == [BrokerForbids]
    assert len(cluster.sent()) == 1


# --- another route round ---


@pytest.mark.parametrize(
    "action",
    [HANG_UP, b"no frame", Answer(code=14, remark="disk full"), Answer(code=17)],
    ids=["lost", "rubbish", "14", "17"],
)
def test_message_goes_where_a_fresh_route_says(pair: ScriptedCluster, action: Action) -> None:
    only = [{"a": pair.addresses["a"]}, {"b": pair.addresses["b"]}]
    pair.name_server.on(GET_ROUTE, *(Answer(body=route_document(addresses)) for addresses in only))
    pair.brokers["a"].on(SENDS, action)
    messages = [message("1", key="k"), message("2", key="k")]
    for sent, outcome in zip(messages, send(pair, *messages), strict=True):
        assert_stored_where_said(pair, sent, outcome)
    assert len(pair.name_server.of(GET_ROUTE)) == 2


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (HANG_UP, OutcomeUnknown),
        (b"no frame", ProtocolError),
        (Answer(code=14, remark="disk full"), BrokerBusy),
        (Answer(code=17), TopicNotFound),
    ],
    ids=["lost", "rubbish", "14", "17"],
)
def test_only_one_more_try_is_made(cluster: ScriptedCluster, action: Action, kind: type[Exception]) -> None:
    cluster.brokers["a"].on(SENDS, action)
    assert errors(send(cluster, message())) == [kind]
    assert len(cluster.sent()) == 2


def test_broker_that_is_down_but_still_in_the_route_is_avoided_by_messages_without_a_key(pair: ScriptedCluster) -> None:
    """A name server lists a dead broker for up to 120 s; the other one can take every message all that time."""
    with nobody() as address:
        pair.addresses["a"] = address
        producer = producer_of(pair.name_server.address)
        outcomes = [producer.send([message()], time.monotonic() + 5)[0] for _ in range(8)]
        producer.close()
    assert errors(outcomes) == [None] * 8


def test_broker_that_is_shutting_down_is_avoided_by_messages_without_a_key(pair: ScriptedCluster) -> None:
    pair.brokers["a"].on(SENDS, Answer(code=14, remark="service not available"))
    producer = producer_of(pair.name_server.address)
    outcomes = [producer.send([message()], time.monotonic() + 5)[0] for _ in range(8)]
    producer.close()
    assert errors(outcomes) == [None] * 8


def test_only_the_messages_that_failed_are_sent_again_and_that_is_told(pair: ScriptedCluster) -> None:
    pair.brokers["b"].on(SENDS, HANG_UP, pair.brokers["b"].store)
    messages = [message(f"{at}", key=chr(at), topic="s") for at in range(8)]
    retried: list[tuple[str, int]] = []
    producer = Producer(
        Client([pair.name_server.address]), on_retry=lambda name, amount: retried.append((name, amount))
    )
    outcomes = producer.send(messages, time.monotonic() + 5)
    producer.close()
    assert retried == [("outcome_unknown", 4)]
    assert errors(outcomes) == [None] * 8
    assert pair.stored() == {("s", "a", 0): [b"0", b"2", b"4", b"6"], ("s", "b", 0): [b"1", b"3", b"5", b"7"]}


# --- time ---


def test_broker_that_never_answers_is_outcome_unknown_at_the_deadline(cluster: ScriptedCluster) -> None:
    cluster.brokers["a"].on(SENDS, None)
    start = time.monotonic()
    outcomes = send(cluster, message(), message(), timeout_s=0.2)
    assert errors(outcomes) == [OutcomeUnknown] * 2
    assert 0.1 < time.monotonic() - start < 1.5


def test_message_that_may_be_stored_is_outcome_unknown_though_the_second_try_found_nobody(
    cluster: ScriptedCluster,
) -> None:
    """ConnectFailed would say that nothing was ever sent."""

    def vanish(_request: Request) -> Action:
        cluster.addresses["a"] = gone
        return HANG_UP

    with nobody() as gone:
        cluster.brokers["a"].on(SENDS, vanish)
        outcomes = send(cluster, message(), message(key="k"))
    assert errors(outcomes) == [OutcomeUnknown] * 2


def test_broker_that_never_answers_does_not_spoil_the_messages_of_others(pair: ScriptedCluster) -> None:
    pair.brokers["b"].on(SENDS, None)
    outcomes = send(pair, message(key="\x00", topic="s"), message(key="\x01", topic="s"), timeout_s=0.2)
    assert errors(outcomes) == [None, OutcomeUnknown]


def test_broker_that_never_answers_does_not_stop_the_later_batches_of_others(pair: ScriptedCluster) -> None:
    pair.brokers["b"].on(SENDS, None)
    keys = ["\x00", "\x00", "\x01"]
    outcomes = send(pair, *(message(bytes(600_000), key=key, topic="s") for key in keys), timeout_s=0.2)
    assert errors(outcomes) == [None, None, OutcomeUnknown]


def test_broker_whose_host_is_gone_does_not_spoil_the_messages_of_others(pair: ScriptedCluster) -> None:
    with black_hole() as address:
        pair.addresses["b"] = address
        keys = [chr(at) for at in range(4)]
        outcomes = send(pair, *(message(key=key, topic="s") for key in keys), timeout_s=0.2)
    assert errors(outcomes)[::2] == [None, None]
    assert errors(outcomes)[1::2] == [ConnectFailed, ConnectFailed]


def test_deadline_that_has_passed_sends_nothing_and_says_so(cluster: ScriptedCluster) -> None:
    producer = producer_of(cluster.name_server.address)
    producer.send([message("1")], time.monotonic() + 5)
    late = producer.send([message("2")], time.monotonic() - 1)
    again = producer.send([message("3")], time.monotonic() + 5)
    producer.close()
    assert errors(late) == [ConnectFailed]
    assert errors(again) == [None]
    assert sorted(body for bodies in cluster.stored().values() for body in bodies) == [b"1", b"3"]


# --- routes ---


def test_topic_without_a_route_fails_alone(cluster: ScriptedCluster) -> None:
    outcomes = send(cluster, message(topic="ghost"), message(topic="t"), message(topic="ghost"))
    assert errors(outcomes) == [RouteNotFound, None, RouteNotFound]


def test_topic_without_a_writable_queue_is_busy(cluster: ScriptedCluster) -> None:
    cluster.name_server.on(GET_ROUTE, Answer(body=route_document(cluster.addresses, permission=4)))
    (outcome,) = send(cluster, message())
    assert isinstance(outcome.error, BrokerBusy)
    assert "no writable queue of topic 't'" in str(outcome.error)


def test_no_name_server_is_connect_failed() -> None:
    with nobody() as address:
        producer = producer_of(address)
        assert errors(producer.send([message()], time.monotonic() + 1)) == [ConnectFailed]
        producer.close()


def test_requests_of_the_broker_between_answers_are_not_taken_for_them(cluster: ScriptedCluster) -> None:
    broker = cluster.brokers["a"]

    def in_between(request: Request) -> bytes:
        own = encode_frame(40, opaque=request.opaque, fields={"consumerGroup": "g"})
        return own + request.encoded(broker.store(request))

    broker.on(SENDS, in_between)
    sent = message("1")
    (outcome,) = send(cluster, sent)
    assert_stored_where_said(cluster, sent, outcome)


def test_producer_can_be_used_again_after_close(cluster: ScriptedCluster) -> None:
    producer = producer_of(cluster.name_server.address)
    for _ in range(2):
        assert errors(producer.send([message()], time.monotonic() + 5)) == [None]
        producer.close()
