"""Messages as brokers store them: every form is read, and damage gives a fault or ProtocolError and nothing else."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketmq_remoting.errors import ProtocolError
from rocketmq_remoting.stored_messages import StoredMessage, decode_stored

from .vectors import BORN_HOST_V6, COMPRESSED, MAGIC_V1, MAGIC_V2, STORE_HOST_V6, stored_message

PROPERTIES = {"UNIQ_KEY": "0" * 32, "TAGS": "red", "ü": "☃"}
MIB = 1024 * 1024


def decode(data: bytes) -> list[StoredMessage]:
    return list(decode_stored(data, "broker-a"))


@pytest.mark.parametrize("hosts", [0, BORN_HOST_V6, STORE_HOST_V6, BORN_HOST_V6 | STORE_HOST_V6])
@pytest.mark.parametrize("magic", [MAGIC_V1, MAGIC_V2])
def test_every_layout_is_read(magic: int, hosts: int) -> None:
    data = stored_message(
        topic="größe", body=b"\x00\x01", properties=PROPERTIES, reconsume_times=2, magic=magic, system_flag=hosts
    )
    assert decode(data) == [
        StoredMessage(
            topic="größe",
            queue_id=3,
            queue_offset=42,
            physical_offset=4242,
            body=b"\x00\x01",
            properties=PROPERTIES,
            born_timestamp_ms=1_700_000_000_000,
            store_timestamp_ms=1_700_000_000_500,
            reconsume_times=2,
            broker_name="broker-a",
            fault="",
        )
    ]


def test_topic_beyond_255_bytes_is_read_in_the_second_form() -> None:
    assert decode(stored_message(topic="t" * 300, magic=MAGIC_V2))[0].topic == "t" * 300


def test_several_messages_are_read_in_order() -> None:
    data = b"".join(stored_message(queue_offset=offset, body=b"x" * offset) for offset in range(20))
    assert [(each.queue_offset, len(each.body)) for each in decode(data)] == [(n, n) for n in range(20)]


def test_no_bytes_are_no_messages() -> None:
    assert decode(b"") == []


def test_empty_body_and_no_properties_are_read() -> None:
    (message,) = decode(stored_message(body=b"", properties=b""))
    assert (message.body, message.properties) == (b"", {})


def test_message_id_is_uniq_key_or_else_the_place_in_the_commit_log() -> None:
    with_key, without = decode(stored_message(properties=PROPERTIES) + stored_message(physical_offset=255))
    assert with_key.message_id == "0" * 32
    assert without.message_id == "broker-a:00000000000000FF"


# --- compression ---


@pytest.mark.parametrize("kind", [0, 3], ids=["4.x", "5.x"])
def test_zlib_body_is_decompressed(kind: int) -> None:
    data = stored_message(body=zlib.compress(b"plain" * 1000), system_flag=COMPRESSED | kind << 8)
    assert decode(data)[0].body == b"plain" * 1000


def test_compressed_looking_body_without_the_flag_stays_as_it_is() -> None:
    assert decode(stored_message(body=zlib.compress(b"x")))[0].body == zlib.compress(b"x")


# --- content that cannot be read: the message keeps its place in the queue, and says what is wrong ---


def assert_only_the_middle_one_is_faulty(middle: bytes) -> StoredMessage:
    before, faulty, after = decode(stored_message(body=b"before") + middle + stored_message(body=b"after"))
    assert (before.body, before.fault, after.body, after.fault) == (b"before", "", b"after", "")
    assert faulty.fault
    assert (faulty.topic, faulty.queue_id, faulty.queue_offset, faulty.physical_offset) == ("orders", 3, 42, 4242)
    return faulty


@pytest.mark.parametrize("kind", [1, 2, 4, 7])
def test_unknown_compression_is_a_fault_that_tells_what_to_do(kind: int) -> None:
    faulty = assert_only_the_middle_one_is_faulty(
        stored_message(body=b"x", system_flag=COMPRESSED | kind << 8, properties=PROPERTIES)
    )
    assert "use ZLIB" in faulty.fault
    assert (faulty.body, faulty.properties) == (b"x", PROPERTIES)


def test_compressed_body_cut_short_is_a_fault_at_every_length() -> None:
    whole = zlib.compress(b"plain")
    for length in range(len(whole)):
        faulty = assert_only_the_middle_one_is_faulty(stored_message(body=whole[:length], system_flag=COMPRESSED))
        assert faulty.body == whole[:length]


def test_damaged_compressed_body_is_a_fault() -> None:
    assert_only_the_middle_one_is_faulty(stored_message(body=b"no zlib", system_flag=COMPRESSED))


def test_body_that_inflates_without_measure_is_a_fault() -> None:
    press = zlib.compressobj(1)
    bomb = b"".join(press.compress(bytes(MIB)) for _ in range(65)) + press.flush()
    assert len(bomb) < MIB
    faulty = assert_only_the_middle_one_is_faulty(stored_message(body=bomb, system_flag=COMPRESSED))
    assert "larger than" in faulty.fault
    assert faulty.body == bomb


def test_properties_that_are_not_utf_8_are_a_fault() -> None:
    faulty = assert_only_the_middle_one_is_faulty(stored_message(body=b"x", properties=b"name\x01\xff\x02"))
    assert (faulty.body, faulty.properties) == (b"x", {})


# --- damage ---


@pytest.mark.parametrize("magic", [MAGIC_V1, MAGIC_V2])
def test_message_truncated_at_every_length_is_a_protocol_error(magic: int) -> None:
    data = stored_message(properties=PROPERTIES, magic=magic)
    for length in range(1, len(data)):
        with pytest.raises(ProtocolError):
            decode(data[:length])


def test_message_whose_size_says_less_than_it_holds_is_a_protocol_error_at_every_size() -> None:
    data = stored_message(properties=PROPERTIES)
    for size in range(len(data)):
        with pytest.raises(ProtocolError):
            decode(size.to_bytes(4, "big") + data[4:] + data)


def test_messages_before_a_damaged_one_are_given_out() -> None:
    messages = decode_stored(stored_message(body=b"first") + b"\x00" * 100)
    assert next(messages).body == b"first"
    with pytest.raises(ProtocolError):
        next(messages)


@pytest.mark.parametrize("magic", [0, 0xDAA320A8, 0xFFFFFFFF, 0xCBD43194])
def test_unknown_magic_is_a_protocol_error(magic: int) -> None:
    with pytest.raises(ProtocolError, match="magic"):
        decode(stored_message(magic=magic))


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from([0, COMPRESSED, BORN_HOST_V6, STORE_HOST_V6]),
    st.sampled_from([MAGIC_V1, MAGIC_V2]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_messages_are_messages_or_a_protocol_error(
    system_flag: int, magic: int, damages: list[tuple[int, int]]
) -> None:
    body = zlib.compress(b"plain") if system_flag == COMPRESSED else b"body"
    data = bytearray(2 * stored_message(properties=PROPERTIES, body=body, system_flag=system_flag, magic=magic))
    for at, value in damages:
        data[at % len(data)] = value
    try:
        messages = decode(bytes(data))
    except ProtocolError:
        return
    assert 1 <= len(messages) <= 2


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=200))
def test_random_bytes_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)
