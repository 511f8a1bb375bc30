"""Frames of the remoting protocol: bytes in, values out; no sockets here.

A frame is  int32 length of the rest | int32 (top byte: serialisation, low 24 bits: header length) | header | body
(remoting/.../protocol/RemotingCommand.java). We write JSON headers; brokers may also send the binary ROCKETMQ form
(RocketMQSerializable.java) in requests of their own, so both are read.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .errors import ProtocolError

__all__ = ["MAX_FRAME_BYTES", "Frame", "FrameDecoder"]

# NettyDecoder's com.rocketmq.remoting.frameMaxLength.
MAX_FRAME_BYTES = 16 * 1024 * 1024

_RESPONSE = 1
_ONEWAY = 2
_LENGTHS = struct.Struct(">iI")
_BINARY_HEAD = struct.Struct(">hBhii")
_JSON, _BINARY = 0, 1

# LanguageCode.PYTHON is not known to every broker version under that name; all of 4.9 and 5.x know it.
_LANGUAGE = "PYTHON"
# MQVersion.V4_9_7. From 401 on, name servers of 4.9.4 and newer answer in standard JSON.
_VERSION = 407

# json.dumps with such separators would make an encoder for every frame.
_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One request or response.

    `opaque` correlates a response with its request; `fields` are the extFields, all text.
    """

    code: int
    opaque: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    remark: str = ""
    is_response: bool = False
    is_oneway: bool = False

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        header = _to_json(
            {
                "code": self.code,
                "language": _LANGUAGE,
                "version": _VERSION,
                "opaque": self.opaque,
                "flag": _RESPONSE * self.is_response | _ONEWAY * self.is_oneway,
                "remark": self.remark,
                "extFields": self.fields,
                "serializeTypeCurrentRPC": "JSON",
            }
        ).encode()
        return b"".join((_LENGTHS.pack(4 + len(header) + len(self.body), len(header)), header, self.body))


class FrameDecoder:
    """Turn a stream of bytes, cut anywhere, into frames.

    The buffer never holds more than one frame's announced length plus what one `feed` brought.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max_frame_bytes = max_frame_bytes

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes and yield every frame that they complete.

        Raises:
            ProtocolError: the bytes are no frame; the stream cannot be read on from here.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTHS.size:
            length, header_word = _LENGTHS.unpack_from(buffer)
            header_length = header_word & 0xFFFFFF
            if not 4 <= length <= self._max_frame_bytes:
                raise ProtocolError(f"frame length: expected 4 to {self._max_frame_bytes}, got {length}")
            if header_length > length - 4:
                raise ProtocolError(f"header length: expected at most {length - 4}, got {header_length}")
            if len(buffer) < 4 + length:
                return
            header_end = _LENGTHS.size + header_length
            header, body = bytes(buffer[_LENGTHS.size : header_end]), bytes(buffer[header_end : 4 + length])
            del buffer[: 4 + length]
            yield _decode(header_word >> 24, header, body)


def _decode(serialisation: int, header: bytes, body: bytes) -> Frame:
    try:
        if serialisation == _JSON:
            return _from_json(header, body)
        if serialisation == _BINARY:
            return _from_binary(header, body)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error, RecursionError) as error:
        raise ProtocolError(f"frame header of {len(header)} bytes is not readable: {error}") from error
    raise ProtocolError(f"header serialisation: expected 0 (JSON) or 1 (ROCKETMQ), got {serialisation}")


def _from_json(header: bytes, body: bytes) -> Frame:
    parsed = json.loads(header.decode())  # of bytes it would have to guess the encoding first
    flag = int(parsed["flag"])
    return Frame(
        code=int(parsed["code"]),
        opaque=int(parsed["opaque"]),
        fields={str(name): str(value) for name, value in (parsed.get("extFields") or {}).items()},
        body=body,
        remark=str(parsed.get("remark") or ""),
        is_response=bool(flag & _RESPONSE),
        is_oneway=bool(flag & _ONEWAY),
    )


def _from_binary(header: bytes, body: bytes) -> Frame:
    code, _language, _version, opaque, flag = _BINARY_HEAD.unpack_from(header)
    remark, at = _binary_text(header, _BINARY_HEAD.size, ">i")
    (fields_length,) = struct.unpack_from(">i", header, at)
    at += 4
    end = at + fields_length
    if fields_length < 0 or end > len(header):
        raise ValueError("extFields run past the header")
    fields = {}
    while at < end:
        name, at = _binary_text(header, at, ">h")
        fields[name], at = _binary_text(header, at, ">i")
    return Frame(
        code=code,
        opaque=opaque,
        fields=fields,
        body=body,
        remark=remark,
        is_response=bool(flag & _RESPONSE),
        is_oneway=bool(flag & _ONEWAY),
    )


def _binary_text(header: bytes, at: int, length_format: str) -> tuple[str, int]:
    (length,) = struct.unpack_from(length_format, header, at)
    start = at + struct.calcsize(length_format)
    if length < 0 or start + length > len(header):
        raise ValueError("text runs past the header")
    return header[start : start + length].decode(), start + length
