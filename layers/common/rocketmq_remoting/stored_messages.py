"""Messages as a broker stores them and hands them out. Pure.

Sources: common/.../message/MessageDecoder.java; store/.../CommitLog.java (4.9).
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import ProtocolError

__all__ = ["StoredMessage", "decode_properties", "decode_stored"]

_MAGIC_V1, _MAGIC_V2 = -626843481, -626843477  # V2 (5.x) has two bytes of topic length
_STORED_HEAD = struct.Struct(
    ">iiiiiqqiq"
)  # size, magic, CRC, queue id, flag, queue offset, physical offset, system flag, born
_STORED_TAIL = struct.Struct(">iqi")  # reconsume times, prepared transaction offset, body size
_COMPRESSED, _BORN_HOST_V6, _STORE_HOST_V6 = 0x1, 0x10, 0x20
_ZLIB = 3
# Four times what a producer may send; a body that inflates beyond is an attack.
_MAX_PLAIN_BYTES = 16 * 1024 * 1024
_SHORT = struct.Struct(">h")
_LONG = struct.Struct(">q")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message as a broker stores it.

    `properties` holds all of them, the system's and the user's. `retry_topic` is where it was read from if that is not `topic`.
    `fault` says what of it could not be read, and is "" otherwise: then the body is as stored, or there are no properties.
    """

    topic: str
    queue_id: int
    queue_offset: int
    physical_offset: int
    body: bytes
    properties: Mapping[str, str]
    born_timestamp_ms: int
    store_timestamp_ms: int
    reconsume_times: int
    broker_name: str = ""
    retry_topic: str = ""
    fault: str = ""

    @property
    def message_id(self) -> str:
        """UNIQ_KEY; where a foreign producer set none, the place in the commit log, which is as unique."""
        return self.properties.get("UNIQ_KEY") or f"{self.broker_name}:{self.physical_offset:016X}"


def decode_stored(data: bytes, broker_name: str = "") -> Iterator[StoredMessage]:
    """Yield the messages of a pull response's body, bodies decompressed.

    A message whose content cannot be read (compressed in a way that only RocketMQ 5 knows, damaged) is yielded with a `fault`: it has
    its place in the queue, and must not stop what comes after it.

    Raises:
        ProtocolError: the bytes are not stored messages; where the next one begins cannot be told.
    """
    at = 0
    while at < len(data):
        try:
            size, message = _decode_one(data, at, broker_name)
        except (struct.error, IndexError) as error:
            raise ProtocolError(f"stored message at byte {at} is not readable: {error}") from error
        at += size
        yield message


def _decode_one(data: bytes, at: int, broker_name: str) -> tuple[int, StoredMessage]:
    head = _STORED_HEAD.unpack_from(data, at)
    size, magic, _crc, queue_id, _flag, queue_offset, physical_offset, system_flag, born_ms = head
    if magic not in (_MAGIC_V1, _MAGIC_V2) or not _STORED_HEAD.size < size <= len(data) - at:
        raise ProtocolError(
            f"stored message at byte {at}: magic {magic & 0xFFFFFFFF:#x}, size {size} of {len(data) - at}"
        )
    cursor = at + _STORED_HEAD.size + (20 if system_flag & _BORN_HOST_V6 else 8)
    (store_ms,) = _LONG.unpack_from(data, cursor)
    cursor += 8 + (20 if system_flag & _STORE_HOST_V6 else 8)
    reconsume_times, _prepared, body_length = _STORED_TAIL.unpack_from(data, cursor)
    cursor += _STORED_TAIL.size
    body, cursor = _take(data, cursor, body_length, at + size)
    if magic == _MAGIC_V1:
        topic_length, cursor = data[cursor], cursor + 1
    else:
        topic_length, cursor = _SHORT.unpack_from(data, cursor)[0], cursor + 2
    topic, cursor = _take(data, cursor, topic_length, at + size)
    (properties_length,) = _SHORT.unpack_from(data, cursor)
    block, cursor = _take(data, cursor + 2, properties_length, at + size)
    fault = ""
    properties: dict[str, str] = {}
    try:
        properties = decode_properties(block.decode())
        body = _decompress(body, system_flag) if system_flag & _COMPRESSED else body
    except (ValueError, zlib.error) as error:
        fault = str(error)
    return size, StoredMessage(
        topic=topic.decode("utf-8", "replace"),
        queue_id=queue_id,
        queue_offset=queue_offset,
        physical_offset=physical_offset,
        body=body,
        properties=properties,
        born_timestamp_ms=born_ms,
        store_timestamp_ms=store_ms,
        reconsume_times=reconsume_times,
        broker_name=broker_name,
        fault=fault,
    )


def _take(data: bytes, start: int, length: int, end: int) -> tuple[bytes, int]:
    if length < 0 or start + length > end:
        raise ProtocolError(f"stored message: a part of {length} bytes at {start} runs past its end at {end}")
    return data[start : start + length], start + length


def _decompress(body: bytes, system_flag: int) -> bytes:
    kind = system_flag >> 8 & 0x7
    if kind not in (0, _ZLIB):  # 4.x leaves the bits clear and means zlib
        raise ValueError("body is compressed with LZ4 or ZSTD, which the standard library cannot read: use ZLIB")
    stream = zlib.decompressobj()
    plain = stream.decompress(body, _MAX_PLAIN_BYTES)
    if not stream.eof:
        raise ValueError(f"compressed body is cut short or larger than {_MAX_PLAIN_BYTES} bytes")
    return plain


def decode_properties(text: str) -> dict[str, str]:
    """Return the properties of a block; pairs without a name or a value are skipped, as Java does; of equal names the last counts."""
    properties = {}
    for pair in text.split("\x02"):
        name, _, value = pair.partition("\x01")
        if name and value:
            properties[name] = value
    return properties
