"""Stored messages built by hand, after the layout of MessageDecoder.java; the code under test has no part in it."""

import struct
from collections.abc import Mapping

MAGIC_V1 = 0xDAA320A7
MAGIC_V2 = 0xDAA320AB
COMPRESSED = 0x1
BORN_HOST_V6 = 0x10
STORE_HOST_V6 = 0x20


def property_block(properties: Mapping[str, str]) -> bytes:
    return "".join(f"{name}\x01{value}\x02" for name, value in properties.items()).encode()


def stored_message(
    *,
    topic: str = "orders",
    body: bytes = b"body",
    properties: Mapping[str, str] | bytes = b"",
    queue_id: int = 3,
    queue_offset: int = 42,
    physical_offset: int = 4242,
    system_flag: int = 0,
    born_ms: int = 1_700_000_000_000,
    store_ms: int = 1_700_000_000_500,
    reconsume_times: int = 0,
    magic: int = MAGIC_V1,
) -> bytes:
    block = properties if isinstance(properties, bytes) else property_block(properties)
    name = topic.encode()
    rest = b"".join(
        (
            struct.pack(">I", magic),
            struct.pack(">I", 0),  # CRC of the body
            struct.pack(">i", queue_id),
            struct.pack(">i", 0),  # flag
            struct.pack(">q", queue_offset),
            struct.pack(">q", physical_offset),
            struct.pack(">i", system_flag),
            struct.pack(">q", born_ms),
            bytes(16 if system_flag & BORN_HOST_V6 else 4) + struct.pack(">i", 5555),
            struct.pack(">q", store_ms),
            bytes(16 if system_flag & STORE_HOST_V6 else 4) + struct.pack(">i", 10911),
            struct.pack(">i", reconsume_times),
            struct.pack(">q", 0),  # prepared transaction's offset
            struct.pack(">i", len(body)) + body,
            (struct.pack(">h", len(name)) if magic == MAGIC_V2 else struct.pack(">B", len(name))) + name,
            struct.pack(">h", len(block)) + block,
        )
    )
    return struct.pack(">i", 4 + len(rest)) + rest
