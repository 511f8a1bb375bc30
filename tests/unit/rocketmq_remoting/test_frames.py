"""Frames: what is encoded comes back, however it is cut, and rubbish gives ProtocolError and nothing else."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketmq_remoting.errors import ProtocolError
from rocketmq_remoting.frames import MAX_FRAME_BYTES, Frame, FrameDecoder

JSON, BINARY = 0, 1
INT32 = st.integers(-(2**31), 2**31 - 1)
FRAMES = st.builds(
    Frame,
    code=INT32,
    opaque=INT32,
    fields=st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5),
    body=st.binary(max_size=100),
    remark=st.text(max_size=20),
    is_response=st.booleans(),
    is_oneway=st.booleans(),
)
SAMPLE = Frame(
    code=310, opaque=7, fields={"a": "group", "b": "tópic"}, body=b"\x00body\xff", remark="r", is_response=True
)
HEADER = {"code": 0, "language": "JAVA", "version": 407, "opaque": 1, "flag": 1, "extFields": {"k": "v"}}


def decode(*pieces: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def envelope(header: bytes, body: bytes = b"", serialisation: int = JSON) -> bytes:
    return struct.pack(">iI", 4 + len(header) + len(body), serialisation << 24 | len(header)) + header + body


def json_envelope(**changes: Any) -> bytes:
    return envelope(json.dumps(HEADER | changes).encode())


def binary_header(
    *, code: int = 40, opaque: int = 9, flag: int = 2, remark: bytes = b"", fields: bytes = b"", fields_length: int = -1
) -> bytes:
    """RocketMQSerializable.java: code (2) language (1) version (2) opaque (4) flag (4) remark (4 + n) extFields (4 + n)."""
    head = struct.pack(">hBhii", code, 0, 407, opaque, flag) + struct.pack(">i", len(remark)) + remark
    return head + struct.pack(">i", len(fields) if fields_length < 0 else fields_length) + fields


def binary_field(name: bytes, value: bytes) -> bytes:
    return struct.pack(">h", len(name)) + name + struct.pack(">i", len(value)) + value


# --- what we write ---


def test_encoded_frame_is_length_header_length_json_header_and_body() -> None:
    data = SAMPLE.encode()
    length, header_word = struct.unpack_from(">iI", data)
    assert length == len(data) - 4
    assert header_word >> 24 == JSON
    header = json.loads(data[8 : 8 + header_word])
    assert header == {
        "code": 310,
        "language": "PYTHON",
        "version": 407,
        "opaque": 7,
        "flag": 1,
        "remark": "r",
        "extFields": {"a": "group", "b": "tópic"},
        "serializeTypeCurrentRPC": "JSON",
    }
    assert data[8 + header_word :] == b"\x00body\xff"


@pytest.mark.parametrize(("is_response", "is_oneway", "flag"), [(False, False, 0), (True, False, 1), (False, True, 2)])
def test_flag_bit_0_is_response_and_bit_1_is_oneway(is_response: bool, is_oneway: bool, flag: int) -> None:
    data = Frame(code=1, is_response=is_response, is_oneway=is_oneway).encode()
    assert f'"flag":{flag}'.encode() in data


@settings(deadline=None, max_examples=50)
@given(st.lists(FRAMES, max_size=4))
def test_frames_in_one_feed_come_back_as_they_were(frames: list[Frame]) -> None:
    assert decode(b"".join(frame.encode() for frame in frames)) == frames


# --- cut anywhere ---


def test_frames_fed_byte_by_byte_come_back() -> None:
    data = SAMPLE.encode() + Frame(code=2).encode()
    assert decode(*(data[at : at + 1] for at in range(len(data)))) == [SAMPLE, Frame(code=2)]


def test_frames_cut_at_every_point_come_back() -> None:
    data = SAMPLE.encode() + Frame(code=2, body=b"x").encode()
    for cut in range(len(data) + 1):
        assert decode(data[:cut], data[cut:]) == [SAMPLE, Frame(code=2, body=b"x")]


def test_truncated_frame_needs_more_at_every_length() -> None:
    data = SAMPLE.encode()
    for length in range(len(data)):
        assert decode(data[:length]) == []


def test_frame_is_given_out_as_soon_as_its_last_byte_is_there() -> None:
    assert decode(SAMPLE.encode() + SAMPLE.encode()[:9]) == [SAMPLE]


def test_two_thousand_frames_in_one_feed_come_back_in_order() -> None:
    numbers = [frame.opaque for frame in decode(b"".join(Frame(code=0, opaque=n).encode() for n in range(2_000)))]
    assert numbers == list(range(2_000))


# --- lengths ---


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 3, MAX_FRAME_BYTES + 1, 2**31 - 1])
def test_impossible_frame_length_is_refused_before_the_frame_arrives(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"frame length: .*got {length}"):
        decode(struct.pack(">ii", length, 0))


def test_header_longer_than_its_frame_is_refused_before_the_frame_arrives() -> None:
    with pytest.raises(ProtocolError, match="header length: expected at most 96, got 97"):
        decode(struct.pack(">iI", 100, 97))


def test_largest_frame_is_read() -> None:
    header = json.dumps(HEADER).encode()
    body = bytes(MAX_FRAME_BYTES - 4 - len(header))
    (frame,) = decode(envelope(header, body))
    assert len(frame.body) == len(body)


def test_smaller_limit_holds() -> None:
    decoder = FrameDecoder(max_frame_bytes=50)
    with pytest.raises(ProtocolError, match="expected 4 to 50, got 51"):
        list(decoder.feed(struct.pack(">ii", 51, 0)))


def test_nothing_of_a_complete_frame_stays_in_the_buffer() -> None:
    decoder = FrameDecoder()
    for _ in range(100):
        assert list(decoder.feed(SAMPLE.encode() + b"\x00")) == [SAMPLE]
        assert list(decoder.feed(SAMPLE.encode()[1:])) == [SAMPLE]
        assert len(decoder._buffer) == 0


# --- headers ---


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"[1,2]",
        b"{}",
        b"{",
        b"\xff\xfe\xfd",
        b'{"code":0,"flag":1,"opaque":1,"remark":"\xff"}',
        b'{"code":0,"flag":1}',
        b'{"code":0,"opaque":1}',
        b'{"flag":1,"opaque":1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"code":' + b"9" * 10_000 + b',"flag":1,"opaque":1}',
    ],
    ids=lambda header: repr(header[:40]),
)
def test_header_that_is_no_command_is_a_protocol_error(header: bytes) -> None:
    with pytest.raises(ProtocolError, match="header"):
        decode(envelope(header, b"body"))


@pytest.mark.parametrize("name", ["code", "opaque", "flag"])
@pytest.mark.parametrize("value", [None, "x", [], {}, float("nan"), float("inf"), -float("inf"), 1e999])
def test_number_of_a_wrong_kind_is_a_protocol_error(name: str, value: object) -> None:
    with pytest.raises(ProtocolError, match="not readable"):
        decode(json_envelope(**{name: value}))


@pytest.mark.parametrize("fields", ["text", 7, True, ["a"]])
def test_ext_fields_that_are_no_object_are_a_protocol_error(fields: object) -> None:
    with pytest.raises(ProtocolError, match="not readable"):
        decode(json_envelope(extFields=fields))


def test_absent_and_null_members_have_defaults() -> None:
    plain = Frame(code=0, opaque=1, is_response=True)
    assert decode(envelope(b'{"code":0,"opaque":1,"flag":1}')) == [plain]
    assert decode(json_envelope(extFields=None, remark=None)) == [plain]


def test_unknown_members_are_ignored_and_values_become_text() -> None:
    (frame,) = decode(json_envelope(extFields={"n": 5, "b": "x"}, something={"new": []}))
    assert frame.fields == {"n": "5", "b": "x"}


@pytest.mark.parametrize("serialisation", [2, 3, 127, 255])
def test_unknown_serialisation_is_a_protocol_error(serialisation: int) -> None:
    with pytest.raises(ProtocolError, match=f"got {serialisation}"):
        decode(envelope(json.dumps(HEADER).encode(), serialisation=serialisation))


# --- the binary header ---


def test_binary_header_is_read() -> None:
    fields = binary_field(b"consumerGroup", "größe".encode()) + binary_field(b"empty", b"")
    header = binary_header(remark="ü".encode(), fields=fields)
    assert decode(envelope(header, b"body", BINARY)) == [
        Frame(
            code=40,
            opaque=9,
            fields={"consumerGroup": "größe", "empty": ""},
            body=b"body",
            remark="ü",
            is_oneway=True,
        )
    ]


def test_binary_header_without_remark_and_fields_is_read() -> None:
    assert decode(envelope(binary_header(flag=1), b"", BINARY)) == [Frame(code=40, opaque=9, is_response=True)]


def test_binary_header_truncated_at_every_length_is_a_protocol_error() -> None:
    header = binary_header(remark=b"remark", fields=binary_field(b"name", b"value"))
    for length in range(len(header)):
        with pytest.raises(ProtocolError):
            decode(envelope(header[:length], b"", BINARY))


@pytest.mark.parametrize(
    "header",
    [
        binary_header(remark=b"\xff"),
        binary_header(fields=binary_field(b"\xff", b"")),
        binary_header(fields=struct.pack(">h", -1)),
        binary_header(fields=struct.pack(">h", 1) + b"a" + struct.pack(">i", -5)),
        binary_header(fields_length=2**31 - 1),
        struct.pack(">hBhii", 1, 0, 0, 1, 1) + struct.pack(">i", -1),
    ],
    ids=["remark", "name", "name length", "value length", "fields length", "remark length"],
)
def test_damaged_binary_header_is_a_protocol_error(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(envelope(header, b"", BINARY))


# --- random damage ---

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def assert_frames_or_protocol_error(data: bytes) -> None:
    try:
        frames = decode(data)
    except ProtocolError:
        return
    assert all(isinstance(frame, Frame) for frame in frames)


@settings(deadline=None, max_examples=50)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(HEADER, JSON_VALUES)))
def test_json_header_with_any_values_is_a_frame_or_a_protocol_error(changes: dict[str, object]) -> None:
    assert_frames_or_protocol_error(json_envelope(**changes))


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60), st.sampled_from([JSON, BINARY]))
def test_random_header_is_a_frame_or_a_protocol_error(header: bytes, serialisation: int) -> None:
    assert_frames_or_protocol_error(envelope(header, b"", serialisation))


@settings(deadline=None, max_examples=50)
@given(FRAMES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_damaged_frame_is_a_frame_or_a_protocol_error_or_needs_more(
    frame: Frame, damages: list[tuple[int, int]]
) -> None:
    data = bytearray(frame.encode() + SAMPLE.encode())
    for at, value in damages:
        data[at % len(data)] = value
    assert_frames_or_protocol_error(bytes(data))
