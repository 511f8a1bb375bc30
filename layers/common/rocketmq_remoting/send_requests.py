"""The request that carries a batch of messages, or a single one. Pure."""

import zlib
from collections.abc import Sequence

from .codes import RequestCode
from .messages import Message, check_message, encode_batch
from .route import MessageQueue

__all__ = ["send_request"]

# As DefaultMQProducer: bodies over 4 KB, level 5, MessageSysFlag.COMPRESSED_FLAG. In a batch nothing is compressed, by Java neither.
COMPRESS_OVER_BYTES = 4 * 1024
COMPRESSION_LEVEL = 5
COMPRESSED = "1"


def send_request(
    group: str, queue: MessageQueue, messages: Sequence[Message], born_ms: int
) -> tuple[RequestCode, dict[str, str], bytes]:
    """Return code, fields and body of the request that has `messages`, all legal, stored in `queue`."""
    # SendMessageRequestHeaderV2: a group, b topic, c default topic, d its queues, e queue, f system flag, g born, h flag,
    # i properties, j reconsume times, k unit mode, m batch. In a batch `i` stays empty: the broker would add it to every message.
    fields = {
        "a": group,
        "b": queue.topic,
        "c": "TBW102",
        "d": "4",
        "e": str(queue.queue_id),
        "f": "0",
        "g": str(born_ms),
        "h": "0",
        "i": "",
        "j": "0",
        "k": "false",
        "m": "false",
    }
    # RocketMQ 5.5.0 answers a lone empty body with a NullPointerException; as a batch of one it is stored, by 4.9 too.
    # A batch cannot be delayed.
    first = messages[0]
    if len(messages) == 1 and (first.body or first.delay_level):
        fields["i"] = check_message(first).decode()
        body, fields["f"] = _compressed(first.body)
        return RequestCode.SEND_MESSAGE_V2, fields, body
    fields["m"] = "true"
    return RequestCode.SEND_BATCH_MESSAGE, fields, encode_batch(messages)


def _compressed(body: bytes) -> tuple[bytes, str]:
    """Return the body as it is sent, and the system flag that says how; small ones, and those that would not shrink, go as they are."""
    if len(body) > COMPRESS_OVER_BYTES:
        smaller = zlib.compress(body, COMPRESSION_LEVEL)
        if len(smaller) < len(body):
            return smaller, COMPRESSED
    return body, "0"
