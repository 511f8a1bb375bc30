"""PUBLISH packets: decoded as paho decodes them, and damage gives MalformedPacket and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mqbridge.mqtt.packets import (
    MalformedPacket,
    Publish,
    decode_acknowledgement,
    decode_publish,
    encode_publish,
    frame_length,
)

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _encoded(publish: Publish, *, is_five: bool, others: dict[str, Any] | None = None) -> bytes:
    """Return what follows the fixed header, the properties encoded by paho."""
    topic = publish.topic.encode()
    parts = [len(topic).to_bytes(2, "big"), topic]
    if publish.qos:
        parts.append(publish.packet_id.to_bytes(2, "big"))
    if is_five:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho does not annotate it
        for name, value in (others or {}).items():
            setattr(properties, name, value)
        if publish.user_properties:
            properties.UserProperty = publish.user_properties
        if publish.message_expiry_interval is not None:
            properties.MessageExpiryInterval = publish.message_expiry_interval
        if publish.content_type:
            properties.ContentType = publish.content_type
        parts.append(properties.pack())  # type: ignore[no-untyped-call]
    return b"".join((*parts, publish.payload))


_publishes = st.builds(
    Publish,
    topic=_text,
    payload=st.binary(max_size=50),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    dup=st.booleans(),
    packet_id=st.integers(1, 65_535),
    user_properties=st.lists(st.tuples(_text, _text), max_size=4),
    message_expiry_interval=st.none() | st.integers(0, 0xFFFFFFFF),
    content_type=_text,
)
_others = st.fixed_dictionaries(
    {},
    optional={
        "PayloadFormatIndicator": st.integers(0, 1),
        "ResponseTopic": _text,
        "CorrelationData": st.binary(max_size=20),
        "SubscriptionIdentifier": st.integers(1, 268_435_455).map(lambda number: [number]),
        "TopicAlias": st.integers(1, 65_535),
    },
)


def _flags(publish: Publish) -> int:
    return publish.qos << 1 | publish.retain | publish.dup << 3


@given(publish=_publishes, others=_others)
def test_what_paho_encodes_is_decoded(publish: Publish, others: dict[str, Any]) -> None:
    decoded = decode_publish(_flags(publish), _encoded(publish, is_five=True, others=others), is_five=True)
    if publish.qos == 0:
        publish.packet_id = 0
    assert decoded == publish


@given(publish=_publishes)
def test_mqtt_3_1_1_has_no_properties(publish: Publish) -> None:
    decoded = decode_publish(_flags(publish), _encoded(publish, is_five=False), is_five=False)
    assert (decoded.topic, decoded.payload, decoded.qos) == (publish.topic, publish.payload, publish.qos)
    assert (decoded.user_properties, decoded.message_expiry_interval, decoded.content_type) == ([], None, "")


@given(flags=st.integers(0, 15), packet=st.binary(max_size=60), is_five=st.booleans())
def test_any_bytes_are_a_publish_or_malformed(flags: int, packet: bytes, is_five: bool) -> None:
    try:
        decode_publish(flags, packet, is_five=is_five)
    except MalformedPacket:
        return


def test_a_packet_cut_within_topic_or_properties_is_malformed() -> None:
    publish = Publish("devices/d1", b"", 1, False, False, 7, [("k", "v")], 60, "UTF-8")
    packet = _encoded(publish, is_five=True)
    for length in range(len(packet)):
        with pytest.raises(MalformedPacket):
            decode_publish(_flags(publish), packet[:length], is_five=True)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_frame_length_reads_every_size_of_remaining_length(length: int) -> None:
    encoded = bytearray()
    left = length
    while True:
        left, digit = divmod(left, 128)
        encoded.append(digit | (128 if left else 0))
        if not left:
            break
    data = b"before" + b"\x30" + bytes(encoded)
    assert frame_length(data, 6, len(data)) == (len(data), len(data) + length)
    for cut in range(7, len(data)):
        assert frame_length(data[:cut], 6, cut) == (0, 0)


def test_remaining_length_of_five_bytes_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        frame_length(b"\x30\xff\xff\xff\xff\x01", 0, 6)


@given(publish=_publishes, is_five=st.booleans())
def test_what_is_encoded_is_decoded(publish: Publish, is_five: bool) -> None:
    if publish.qos == 0:
        publish.packet_id = 0
    if not is_five:
        publish.user_properties, publish.message_expiry_interval, publish.content_type = [], None, ""
    packet = encode_publish(publish, is_five=is_five)
    begin, end = frame_length(packet, 0, len(packet))
    assert end == len(packet)
    assert decode_publish(packet[0] & 0x0F, packet[begin:end], is_five=is_five) == publish


def test_text_that_is_too_long_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        encode_publish(Publish("t" * 65_536, b"", 0, False, False, 0, []), is_five=True)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [(b"\x01\x02", (258, 0)), (b"\x00\x07\x10", (7, 0x10)), (b"\x00\x07\x87\x00", (7, 0x87))],
)
def test_acknowledgement_has_a_packet_identifier_and_perhaps_a_reason(packet: bytes, expected: tuple[int, int]) -> None:
    assert decode_acknowledgement(packet) == expected


@pytest.mark.parametrize("packet", [b"", b"\x00"])
def test_acknowledgement_without_an_identifier_is_malformed(packet: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_acknowledgement(packet)
