"""Topic routes: both JSON dialects of name servers, hostile documents, and the queue that a key chooses."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketmq_remoting.errors import ProtocolError
from rocketmq_remoting.route import MessageQueue, TopicRoute, java_string_hash, parse_json, parse_route


def broker(name: str, **addresses: str) -> dict[str, Any]:
    return {
        "brokerName": name,
        "cluster": "c",
        "brokerAddrs": {number.strip("_"): at for number, at in addresses.items()},
    }


def queues(name: str, *, read: Any = 2, write: Any = 2, perm: Any = 6) -> dict[str, Any]:
    return {"brokerName": name, "perm": perm, "readQueueNums": read, "writeQueueNums": write, "topicSysFlag": 0}


def route(*, brokers: list[Any], queue_datas: list[Any]) -> TopicRoute:
    document = {"brokerDatas": brokers, "queueDatas": queue_datas, "filterServerTable": {}}
    return parse_route("t", json.dumps(document).encode())


def of(name: str, *ids: int) -> tuple[MessageQueue, ...]:
    return tuple(MessageQueue("t", name, number) for number in ids)


# --- documents ---


def test_standard_route_is_read() -> None:
    found = route(brokers=[broker("a", _0="10.0.0.1:10911")], queue_datas=[queues("a", read=3, write=2)])
    assert found == TopicRoute(addresses={"a": "10.0.0.1:10911"}, writable=of("a", 0, 1), readable=of("a", 0, 1, 2))


def test_route_with_bare_integer_keys_is_read() -> None:
    """As name servers 4.9.0 to 4.9.3 write it: fastjson without QuoteFieldNames for numbers."""
    body = (
        b'{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"a","cluster":"c"}],'
        b'"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":1}]}'
    )
    assert parse_route("t", body) == TopicRoute(
        addresses={"a": "10.0.0.1:10911"}, writable=of("a", 0), readable=of("a", 0)
    )


@pytest.mark.parametrize("name", ['{0:"x"}', ",1:", '\\",2:"', "\\\\", '"{3:4}"', "a,0 :1"])
def test_what_looks_like_an_integer_key_inside_a_string_stays_untouched(name: str) -> None:
    text = f'{{"names":[{json.dumps(name)}],{json.dumps(name)}:1,"bare":{{ 0 : 1 ,\n-7:2}}}}'
    assert parse_json(text.encode()) == {"names": [name], name: 1, "bare": {"0": 1, "-7": 2}}


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.integers(-(10**9), 10**9), st.text(max_size=10), max_size=4), st.text(max_size=10))
def test_both_dialects_mean_the_same(table: dict[int, str], text: str) -> None:
    bare = "{" + ",".join(f"{number}:{json.dumps(value)}" for number, value in table.items()) + "}"
    body = f'{{{json.dumps("x" + text)}:{json.dumps(text)},"table":{bare}}}'
    assert parse_json(body.encode()) == {"x" + text: text, "table": {str(number): v for number, v in table.items()}}


def test_queues_are_in_java_s_order_by_broker_and_number() -> None:
    found = route(brokers=[broker("b", _0="2"), broker("a", _0="1")], queue_datas=[queues("b"), queues("a")])
    assert found.writable == (*of("a", 0, 1), *of("b", 0, 1))


def test_broker_without_master_is_left_out() -> None:
    found = route(brokers=[broker("a", _1="slave"), broker("b", _0="2")], queue_datas=[queues("a"), queues("b")])
    assert found == TopicRoute(addresses={"b": "2"}, writable=of("b", 0, 1), readable=of("b", 0, 1))


def test_queues_of_an_unnamed_broker_are_left_out() -> None:
    assert route(brokers=[], queue_datas=[queues("ghost")]) == TopicRoute(addresses={}, writable=(), readable=())


@pytest.mark.parametrize(
    ("perm", "writable", "readable"), [(6, 2, 2), (7, 2, 2), (4, 0, 2), (2, 2, 0), (0, 0, 0), (1, 0, 0)]
)
def test_permission_2_is_for_writing_and_4_for_reading(perm: int, writable: int, readable: int) -> None:
    found = route(brokers=[broker("a", _0="1")], queue_datas=[queues("a", perm=perm)])
    assert (len(found.writable), len(found.readable)) == (writable, readable)


@pytest.mark.parametrize("count", [-1, 65_537, 2**31 - 1, 10**30, 1.5, 1e999, "8", None, [], {}])
def test_hostile_queue_count_is_a_protocol_error(count: Any) -> None:
    with pytest.raises(ProtocolError, match="'t'"):
        route(brokers=[broker("a", _0="1")], queue_datas=[queues("a", write=count)])
    with pytest.raises(ProtocolError, match="'t'"):
        route(brokers=[broker("a", _0="1")], queue_datas=[queues("a", read=count)])


@pytest.mark.parametrize("count", [0, 1, 1024])
def test_queue_count_within_reason_is_read(count: int) -> None:
    found = route(brokers=[broker("a", _0="1")], queue_datas=[queues("a", write=count, read=count)])
    assert (len(found.writable), len(found.readable)) == (count, count)


def test_many_entries_cannot_add_up_to_an_unbounded_number_of_queues() -> None:
    entries = [queues("a", write=65_536, perm=2)] * 2
    try:
        found = route(brokers=[broker("a", _0="1")], queue_datas=entries)
    except ProtocolError:
        return
    assert len(found.writable) <= 65_536


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"null",
        b"{",
        b"\xff",
        b"{0:",
        b'{"brokerDatas":7}',
        b'{"brokerDatas":[7]}',
        b'{"brokerDatas":[{"brokerName":"a"}]}',
        b'{"brokerDatas":[{"brokerName":"a","brokerAddrs":null}]}',
        b'{"brokerDatas":[{"brokerName":"a","brokerAddrs":"0"}]}',
        b'{"brokerDatas":[{"brokerAddrs":{"0":"x"}}]}',
        b'{"queueDatas":{"a":1}}',
        b'{"queueDatas":[{"brokerName":"a"}]}',
        b'{"queueDatas":[{"brokerName":"a","perm":"x"}]}',
        b'{"queueDatas":[{"brokerName":"a","perm":1e999}]}',
        b'{"queueDatas":[{"brokerName":"a","perm":Infinity}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:60]),
)
def test_document_that_is_no_route_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="route of topic 't' is not readable"):
        parse_route("t", body)


@pytest.mark.parametrize("body", [b"{}", b'{"brokerDatas":null,"queueDatas":null}'])
def test_document_that_says_nothing_is_a_route_without_queues(body: bytes) -> None:
    assert parse_route("t", body) == TopicRoute(addresses={}, writable=(), readable=())


def test_unterminated_string_does_not_take_long() -> None:
    """The search for bare keys may not take time that grows with the square of the size: a frame can hold 16 MiB."""
    body = b'{"a":"' + b'\\"' * 6_000
    start = time.monotonic()
    with pytest.raises(ProtocolError):
        parse_route("t", body)
    assert time.monotonic() - start < 0.2


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["brokerName", "brokerAddrs", "perm", "writeQueueNums", "readQueueNums", "0"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(st.fixed_dictionaries({"brokerDatas": ANYTHING, "queueDatas": ANYTHING}))
def test_any_document_is_a_route_or_a_protocol_error(document: dict[str, object]) -> None:
    with suppress(ProtocolError):
        assert isinstance(parse_route("t", json.dumps(document).encode()), TopicRoute)


# --- the queue of a key ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99162322),
        ("Aa", 2112),
        ("BB", 2112),
        ("polygenelubricants", -2147483648),
        ("\U0001f600", 31 * 0xD83D + 0xDE00),
        ("\ud83d", 0xD83D),
        ("ü", 0xFC),
    ],
)
def test_java_string_hash_has_java_s_values(text: str, value: int) -> None:
    assert java_string_hash(text) == value


def test_java_string_hash_does_not_make_the_empty_string_special() -> None:
    assert java_string_hash("\x00") == 0


@pytest.mark.parametrize(
    ("key", "count", "queue_id"),
    [
        ("hello", 4, 99162322 % 4),
        ("polygenelubricants", 3, 2),  # Java: -2147483648 % 3 is -2, and its absolute value 2
        ("polygenelubricants", 4, 0),
        ("", 5, 0),
        ("hello", 1, 0),
    ],
)
def test_queue_for_key_is_that_of_select_message_queue_by_hash(key: str, count: int, queue_id: int) -> None:
    found = route(brokers=[broker("a", _0="1")], queue_datas=[queues("a", write=count)])
    assert found.queue_for_key(key) == MessageQueue("t", "a", queue_id)


def test_queue_for_key_counts_over_all_brokers() -> None:
    found = route(
        brokers=[broker("a", _0="1"), broker("b", _0="2")], queue_datas=[queues("b", write=3), queues("a", write=2)]
    )
    assert [found.queue_for_key(chr(number)) for number in range(5)] == [*of("a", 0, 1), *of("b", 0, 1, 2)]
