"""What may be sent, and how it is encoded: property block and batch item."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketmq_remoting.errors import IllegalMessage
from rocketmq_remoting.messages import (
    MAX_BODY_BYTES,
    MAX_PROPERTIES_BYTES,
    RESERVED_PROPERTIES,
    Message,
    _template,
    check_message,
    encode_batch_item,
    encode_properties,
)
from rocketmq_remoting.stored_messages import decode_properties

ID = "0A1B2C3D4E5F60718293A4B5C6D7E8F9"
PLAIN_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x01\x02"), min_size=1, max_size=20)


def message(**changes: Any) -> Message:
    return Message(**{"topic": "orders", "body": b"body", "message_id": ID} | changes)


def is_free(name: str) -> bool:
    return name not in RESERVED_PROPERTIES and not name.startswith(("TIMER_", "__RMQ.TRANSIENT."))


def fault(**changes: Any) -> IllegalMessage:
    with pytest.raises(IllegalMessage) as raised:
        check_message(message(**changes))
    assert str(raised.value) == f"{raised.value.field}: expected {raised.value.expected}, got {raised.value.got}"
    return raised.value


# --- the property block ---


def test_property_block_is_pairs_each_terminated_system_properties_first() -> None:
    whole = message(tags="red", keys="k1 k2", delay_level=3, properties={"a": "1", "ü": "☃"})
    expected = f"UNIQ_KEY\x01{ID}\x02TAGS\x01red\x02KEYS\x01k1 k2\x02DELAY\x013\x02a\x011\x02ü\x01☃\x02"
    assert check_message(whole) == expected.encode()


def test_changed_copy_of_a_checked_message_is_checked_anew() -> None:
    checked = message()
    check_message(checked)
    assert b"TAGS\x01red\x02" in check_message(replace(checked, tags="red"))
    with pytest.raises(IllegalMessage, match="topic"):
        check_message(replace(checked, topic="no/topic"))


def test_sharding_key_is_not_sent() -> None:
    assert check_message(message(sharding_key="device-7")) == check_message(message())


def test_empty_values_are_left_out() -> None:
    assert (
        check_message(message(properties={"empty": "", "full": "x"})) == f"UNIQ_KEY\x01{ID}\x02full\x01x\x02".encode()
    )


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(PLAIN_TEXT.filter(is_free), PLAIN_TEXT, max_size=8))
def test_property_block_round_trip(properties: dict[str, str]) -> None:
    block = encode_properties(message(properties=properties)).decode()
    assert decode_properties(block) == {"UNIQ_KEY": ID, **properties}
    assert decode_properties(block.removesuffix("\x02")) == {"UNIQ_KEY": ID, **properties}


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("", {}),
        ("\x02\x02", {}),
        ("a\x011", {"a": "1"}),
        ("a\x011\x02", {"a": "1"}),
        ("a\x011\x02a\x012\x02", {"a": "2"}),
        ("a\x01\x02b\x011", {"b": "1"}),
        ("\x011\x02b\x011", {"b": "1"}),
        ("no separator\x02b\x011", {"b": "1"}),
        ("a\x011\x012", {"a": "1\x012"}),
    ],
)
def test_properties_are_decoded_as_java_does(text: str, properties: dict[str, str]) -> None:
    """MessageDecoder.string2messageProperties of 4.9: the first \\x01 of a pair counts, of equal names the last one."""
    assert decode_properties(text) == properties


# --- what is refused ---


@pytest.mark.parametrize("separator", ["\x01", "\x02"])
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"keys": "k{}"}, "keys"),
        ({"tags": "t{}"}, "tags"),
        ({"tags": "{}t"}, "tags"),
        ({"properties": {"ok": "1", "name": "{}value"}}, "properties['name']"),
        ({"properties": {"name": "v{}TAGS"}}, "properties['name']"),
    ],
)
def test_separators_in_values_are_refused(changes: dict[str, Any], field: str, separator: str) -> None:
    def filled(value: Any) -> Any:
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else value.format(separator)

    assert fault(**filled(changes)).field == field


@pytest.mark.parametrize("name", ["a\x01b", "\x02", "a\x02"])
def test_separators_in_names_are_refused(name: str) -> None:
    assert fault(properties={name: "x"}).field == f"properties[{name!r}]"


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED_PROPERTIES), "TIMER_DELAY_SEC", "TIMER_", "__RMQ.TRANSIENT.x", "", "DELAY", "UNIQ_KEY"]
)
def test_reserved_and_empty_property_names_are_refused(name: str) -> None:
    assert fault(properties={name: "x"}).field == f"properties[{name!r}]"


def test_reserved_names_are_java_s_the_broker_s_and_those_of_5x() -> None:
    """MessageConst.java: STRING_HASH_SET of 4.9, two that only the broker uses, and what 5.x added."""
    java = """KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET BUYER_ID ORIGIN_MESSAGE_ID
        TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME MSG_REGION TRACE_ON UNIQ_KEY MAX_RECONSUME_TIMES
        CONSUME_START_TIME TRAN_PREPARED_QUEUE_OFFSET TRANSACTION_CHECK_TIMES CHECK_IMMUNITY_TIME_IN_SECONDS INSTANCE_ID
        CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER MSG_TYPE"""
    broker = "INNER_MULTI_DISPATCH INNER_MULTI_QUEUE_OFFSET"
    later = """EXTEND_UNIQ_INFO INNER_NUM INNER_BASE __transactionId__ POP_CK POP_CK_OFFSET 1ST_POP_TIME __SHARDINGKEY REDIRECT
        TRACE_CONTEXT __BORNHOST BORN_TIMESTAMP __CRC32# DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID PROPERTY_FORWARD_QUEUE_ID"""
    assert set(f"{java} {broker} {later}".split()) == RESERVED_PROPERTIES


@pytest.mark.parametrize("name", ["keys", "Tags", "TIMER", "x__RMQ.TRANSIENT.", "UNIQ_KEY2"])
def test_names_that_only_resemble_reserved_ones_are_accepted(name: str) -> None:
    assert decode_properties(check_message(message(properties={name: "x"})).decode())[name] == "x"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"properties": {"name": "a\ud800"}}, "properties"),
        ({"properties": {"n\udfff": "a"}}, "properties"),
        ({"tags": "a\ud800"}, "tags"),
        ({"keys": "a\ud800"}, "keys"),
        ({"topic": "a\ud800"}, "topic"),
    ],
)
def test_lone_surrogates_are_refused(changes: dict[str, Any], field: str) -> None:
    assert fault(**changes).field.startswith(field)


@pytest.mark.parametrize(
    "tags", ["a||b", "||", " a", "a ", "\ta", "a\n", "a\x00b", "a\x7f", "\u3000a", " ", "a\u2028b"]
)
def test_tags_that_no_consumer_could_select_are_refused(tags: str) -> None:
    assert fault(tags=tags).field == "tags"


@pytest.mark.parametrize("tags", ["a|b", "a b", "größe", "☃", "a"])
def test_other_tags_are_accepted(tags: str) -> None:
    assert f"TAGS\x01{tags}\x02".encode() in check_message(message(tags=tags))


@pytest.mark.parametrize(
    "message_id", ["", ID[:-1], ID + "0", "G" * 32, ID[:-1] + "\n", ID + "\n", "0x" + ID[:30], "٣" * 32]
)
def test_message_id_is_32_hexadecimal_digits(message_id: str) -> None:
    assert fault(message_id=message_id).field == "message_id"
    check_message(message(message_id=ID.lower()))


@pytest.mark.parametrize("delay_level", [-1, 19, 10**6])
def test_delay_level_is_at_most_18(delay_level: int) -> None:
    assert fault(delay_level=delay_level).field == "delay_level"
    check_message(message(delay_level=18))


def test_body_has_a_limit_which_is_allowed_itself() -> None:
    check_message(message(body=bytes(MAX_BODY_BYTES)))
    assert fault(body=bytes(MAX_BODY_BYTES + 1)).field == "body"


def test_largest_message_fits_the_broker_s_limit() -> None:
    """calMsgLength: 91 bytes, topic and properties count as well; maxMessageSize is 4 MiB."""
    assert MAX_BODY_BYTES + 91 + 127 + 32_767 <= 4 * 1024 * 1024


def test_property_block_has_a_limit_in_utf_8_bytes_which_is_allowed_itself() -> None:
    rest = len(check_message(message(properties={"n": "x"}))) - 1
    largest = "ü" * ((MAX_PROPERTIES_BYTES - rest) // 2) + "x" * ((MAX_PROPERTIES_BYTES - rest) % 2)
    assert len(check_message(message(properties={"n": largest}))) == MAX_PROPERTIES_BYTES
    refused = fault(properties={"n": largest + "x"})
    assert refused.field == "properties"
    assert refused.got == f"{MAX_PROPERTIES_BYTES + 1} bytes"


@settings(deadline=None, max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "topic": st.text(max_size=10),
            "message_id": st.text(max_size=40),
            "tags": st.text(st.characters(), max_size=10),
            "keys": st.text(st.characters(), max_size=10),
            "delay_level": st.integers(),
            "properties": st.dictionaries(st.text(st.characters(), max_size=5), st.text(st.characters(), max_size=5)),
        },
    )
)
def test_any_text_gives_a_faithful_block_or_illegal_message(changes: dict[str, Any]) -> None:
    candidate = message(**changes)
    try:
        block = check_message(candidate)
    except IllegalMessage:
        return
    expected = {
        "UNIQ_KEY": candidate.message_id,
        "TAGS": candidate.tags,
        "KEYS": candidate.keys,
        "DELAY": str(candidate.delay_level or ""),
        **candidate.properties,
    }
    assert decode_properties(block.decode()) == {name: value for name, value in expected.items() if value}


# --- the batch item ---


def test_batch_item_is_as_the_broker_reads_it() -> None:
    """MessageDecoder.encodeMessage: size, magic, CRC, flag, body size, body, size of properties, properties."""
    item = encode_batch_item(message(body=b"\x00\xff"), b"a\x01b\x02")
    assert item == bytes.fromhex("0000001c 00000000 00000000 00000000 00000002 00ff 0004 61016202")


def test_batch_item_with_nothing_in_it() -> None:
    item = encode_batch_item(message(body=b""), b"")
    assert item == bytes.fromhex("00000016 00000000 00000000 00000000 00000000 0000")


def test_names_that_are_too_long_are_refused_and_not_kept() -> None:
    before = _template.cache_info().currsize
    with pytest.raises(IllegalMessage, match="properties: expected at most"):
        check_message(Message(topic="t", body=b"", message_id="0" * 32, properties={"n" * 1_000_000: "v"}))
    assert _template.cache_info().currsize == before
