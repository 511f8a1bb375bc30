"""Messages to send and their two encodings: property block and batch item. Pure.

Sources: common/.../message/MessageDecoder.java, MessageConst.java (4.9).
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .errors import IllegalMessage
from .ids import is_message_id
from .names import check_topic

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_PROPERTIES_BYTES",
    "RESERVED_PROPERTIES",
    "Message",
    "check_message",
    "encode_batch",
    "encode_batch_item",
    "encode_properties",
]

# The broker's limit is a signed short; it adds CLUSTER, and clients add region and trace properties, so 1 KiB is left to them.
MAX_PROPERTIES_BYTES = 32_767 - 1_024
# maxMessageSize (4 MiB) counts the whole stored message: body, properties, topic and about 100 bytes of its own.
MAX_BODY_BYTES = 4 * 1024 * 1024 - 33 * 1024
MAX_DELAY_LEVEL = 18

# MessageConst.STRING_HASH_SET of 4.9, what the broker uses besides, and what 5.x added: a user property of such a name would be
# taken for an instruction, or overwritten.
RESERVED_PROPERTIES = frozenset(
    "KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET BUYER_ID ORIGIN_MESSAGE_ID "
    "TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME MSG_REGION TRACE_ON UNIQ_KEY MAX_RECONSUME_TIMES CONSUME_START_TIME "
    "TRAN_PREPARED_QUEUE_OFFSET TRANSACTION_CHECK_TIMES CHECK_IMMUNITY_TIME_IN_SECONDS INSTANCE_ID CORRELATION_ID "
    "REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER MSG_TYPE INNER_MULTI_DISPATCH INNER_MULTI_QUEUE_OFFSET "
    "EXTEND_UNIQ_INFO INNER_NUM INNER_BASE __transactionId__ POP_CK POP_CK_OFFSET 1ST_POP_TIME __SHARDINGKEY REDIRECT "
    "TRACE_CONTEXT __BORNHOST BORN_TIMESTAMP __CRC32# DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID "
    "PROPERTY_FORWARD_QUEUE_ID".split()
)
_RESERVED_PREFIXES = ("TIMER_", "__RMQ.TRANSIENT.")

# RocketMQ has no escape: a separator inside a value would add a property of the sender's choosing.
_NO_SEPARATOR = r"no \x01 or \x02, which separate properties"

_ITEM_HEAD = struct.Struct(">i12xi")  # size; magic, CRC and flag, which the broker fills in; body size
_SHORT = struct.Struct(">h")


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Message:
    """A message to send.

    `message_id` becomes UNIQ_KEY, the id that consumers see: 32 hexadecimal digits.
    `keys` are index keys separated by spaces; `sharding_key` chooses the queue and is not sent.
    `delay_level` is the broker's, 1 to 18; 0 is none. `properties` are the user's own.
    """

    topic: str
    body: bytes
    message_id: str
    tags: str = ""
    keys: str = ""
    sharding_key: str = ""
    delay_level: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)
    # What check_message found out, so that planning, which must know whether a message is legal, does not make sending find out again.
    _property_block: bytes = field(default=b"", init=False, repr=False, compare=False)

    # A message is made for everything that is sent, so this does by slot what the __init__ of a frozen dataclass does by name, in 60 % of
    # the time. (Frozen it has to be: what check_message found out must stay true.)
    def __init__(
        self,
        *,
        topic: str,
        body: bytes,
        message_id: str,
        tags: str = "",
        keys: str = "",
        sharding_key: str = "",
        delay_level: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        _set_topic(self, topic)
        _set_body(self, body)
        _set_message_id(self, message_id)
        _set_tags(self, tags)
        _set_keys(self, keys)
        _set_sharding_key(self, sharding_key)
        _set_delay_level(self, delay_level)
        _set_properties(self, {} if properties is None else properties)
        _set_property_block(self, b"")


def _setter(name: str) -> Callable[[Message, object], None]:
    setter: Callable[[Message, object], None] = vars(Message)[name].__set__
    return setter


_set_topic = _setter("topic")
_set_body = _setter("body")
_set_message_id = _setter("message_id")
_set_tags = _setter("tags")
_set_keys = _setter("keys")
_set_sharding_key = _setter("sharding_key")
_set_delay_level = _setter("delay_level")
_set_properties = _setter("properties")
_set_property_block = _setter("_property_block")


def check_message(message: Message) -> bytes:
    """Return the message's property block, after making sure that a broker would store the message as it is meant.

    Raises:
        IllegalMessage: names the part that is wrong, what was expected and what came.
    """
    if message._property_block:
        return message._property_block
    check_topic(message.topic)
    if len(message.body) > MAX_BODY_BYTES:
        raise IllegalMessage("body", f"at most {MAX_BODY_BYTES} bytes", f"{len(message.body)} bytes")
    if not 0 <= message.delay_level <= MAX_DELAY_LEVEL:
        raise IllegalMessage("delay_level", f"0 to {MAX_DELAY_LEVEL}", str(message.delay_level))
    if not is_message_id(message.message_id):
        raise IllegalMessage("message_id", "32 hexadecimal digits", repr(message.message_id[:100]))
    if message.tags:
        _check_tags(message.tags)
    block = encode_properties(message)
    _set_property_block(message, block)
    return block


def _check_tags(tags: str) -> None:
    # Consumers split their expression at "||" and trim each part, so such a tag could never be selected.
    if "||" in tags or tags != tags.strip() or not tags.isprintable():
        raise IllegalMessage("tags", "text without '||', blanks at an edge or control characters", repr(tags[:100]))


def encode_properties(message: Message) -> bytes:
    r"""Return the property block of a message with a legal id: name \x01 value \x02, the last pair terminated too.

    Brokers 4.9.1 and 4.9.2 glue their own properties straight on to a batch item's, so the last terminator matters
    (apache/rocketmq#3476). A property with an empty value is left out: every decoder skips such pairs.

    Raises:
        IllegalMessage: a name is empty or reserved, a name or value holds a separator or is not Unicode text,
            or the block is too large.
    """
    properties = message.properties
    has_more = message.tags or message.keys or message.delay_level
    system = _system_properties(message) if has_more else _NONE
    values = (message.message_id, *system.values(), *properties.values())
    template = _template(tuple(system), tuple(properties))
    if "" in values:
        template = _template(tuple(system), tuple([name for name, value in properties.items() if value]))
        values = tuple(filter(None, values))
    # Looked for in the values alone, which is one look, not one for each: names were looked at when their template was made.
    joined = "".join(values)
    if "\x01" in joined or "\x02" in joined:
        raise _pair_fault(message, _holds_a_separator, _NO_SEPARATOR)
    try:
        block = (template % values).encode()
    except UnicodeEncodeError as error:
        raise _pair_fault(message, _is_not_unicode, "Unicode text, without lone surrogates") from error
    if len(block) > MAX_PROPERTIES_BYTES:
        raise IllegalMessage("properties", f"at most {MAX_PROPERTIES_BYTES} bytes in all", f"{len(block)} bytes")
    return block


_NONE: Mapping[str, str] = {}


def _system_properties(message: Message) -> Mapping[str, str]:
    delay = str(message.delay_level) if message.delay_level else ""
    every = {"TAGS": message.tags, "KEYS": message.keys, "DELAY": delay}
    return {name: value for name, value in every.items() if value}


@lru_cache(maxsize=256)  # a rule gives all its messages the same names
def _template(system: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return a block's text for the % operator: the message id, more of the system's own, then the user's properties of these names."""
    if sum(map(len, names)) > MAX_PROPERTIES_BYTES:  # before they are kept here
        raise IllegalMessage("properties", f"at most {MAX_PROPERTIES_BYTES} bytes in all", "names that are longer")
    for name in names:
        if name in RESERVED_PROPERTIES or name.startswith(_RESERVED_PREFIXES) or not name:
            raise IllegalMessage(f"properties[{name!r}]", "a name that is not empty and not RocketMQ's own", repr(name))
        if _holds_a_separator(name):
            raise IllegalMessage(f"properties[{name!r}]", _NO_SEPARATOR, repr(""))
    every = ("UNIQ_KEY", *system, *(name.replace("%", "%%") for name in names))
    return "".join([f"{name}\x01%s\x02" for name in every])


def _pair_fault(message: Message, is_wrong: Callable[[str], bool], expected: str) -> IllegalMessage:
    pairs = {"TAGS": message.tags, "KEYS": message.keys, **message.properties}
    name, value = next(pair for pair in pairs.items() if is_wrong(pair[0]) or is_wrong(pair[1]))
    field_name = {"TAGS": "tags", "KEYS": "keys"}.get(name, f"properties[{name!r}]")
    return IllegalMessage(field_name, expected, repr(value[:100]))


def _holds_a_separator(text: str) -> bool:
    return "\x01" in text or "\x02" in text


def _is_not_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def encode_batch(messages: Iterable[Message]) -> bytes:
    """Return the body of a SEND_BATCH_MESSAGE with `messages`, all of which `check_message` has found legal."""
    parts: list[bytes] = []
    pack, more_bytes = _ITEM_HEAD.pack, _ITEM_HEAD.size + _SHORT.size
    for message in messages:  # as `_item_parts` does, without a call for each
        body, properties = message.body, message._property_block
        body_bytes, properties_bytes = len(body), len(properties)
        size = more_bytes + body_bytes + properties_bytes
        parts += (pack(size, body_bytes), body, properties_bytes.to_bytes(2), properties)
    return b"".join(parts)


def encode_batch_item(message: Message, properties: bytes) -> bytes:
    """Return one item of a SEND_BATCH_MESSAGE body; `properties` is the message's block."""
    return b"".join(_item_parts(message.body, properties))


def _item_parts(body: bytes, properties: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    body_bytes, properties_bytes = len(body), len(properties)
    head = _ITEM_HEAD.pack(_ITEM_HEAD.size + body_bytes + 2 + properties_bytes, body_bytes)
    return head, body, properties_bytes.to_bytes(2), properties
