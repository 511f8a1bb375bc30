"""Topic routes: a name server's answer, and which queue a message goes to. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import ProtocolError

__all__ = ["MessageQueue", "TopicRoute", "java_string_hash", "parse_route"]

_READABLE, _WRITABLE = 4, 2
_MASTER = "0"
# Nobody has that many queues on a broker; a number beyond it would only fill memory.
_MAX_QUEUES = 65_536

# Name servers 4.9.0 to 4.9.3 answer with integer keys, {0:"10.0.0.1:10911"}; strings are matched first so that none is touched.
_STRING_OR_INTEGER_KEY = re.compile(r'("(?:[^"\\]|\\.)*+(?:"|$))|(?<=[{,])(\s*)(-?\d+)(?=\s*:)')


@dataclass(frozen=True, slots=True, order=True)
class MessageQueue:
    """One queue of a topic on one broker. The order is Java's: by broker name, then queue id."""

    topic: str
    broker_name: str
    queue_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRoute:
    """Where a topic lives: master addresses by broker name, and its queues."""

    addresses: Mapping[str, str]
    writable: tuple[MessageQueue, ...]
    readable: tuple[MessageQueue, ...]

    def queue_for_key(self, sharding_key: str) -> MessageQueue:
        """Return the queue that Java's SelectMessageQueueByHash (4.9) chooses for the same argument."""
        remainder = abs(java_string_hash(sharding_key)) % len(self.writable)
        return self.writable[remainder]


@lru_cache(maxsize=65_536)
def java_string_hash(text: str) -> int:
    """Return Java's String.hashCode: a signed 32-bit polynomial over UTF-16 code units."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for at in range(0, len(units), 2):
        value = (31 * value + (units[at] << 8 | units[at + 1])) & 0xFFFFFFFF
    return value - 0x1_0000_0000 if value >= 0x8000_0000 else value


def parse_route(topic: str, body: bytes) -> TopicRoute:
    """Read a TopicRouteData document.

    Only masters count, for reading too: a slave may lack what was acknowledged.

    Raises:
        ProtocolError: the document is not one.
    """
    try:
        document = parse_json(body)
        addresses = {
            str(broker["brokerName"]): str(broker["brokerAddrs"][_MASTER])
            for broker in document.get("brokerDatas") or ()
            if _MASTER in broker["brokerAddrs"]
        }
        writable: list[MessageQueue] = []
        readable: list[MessageQueue] = []
        for entry in document.get("queueDatas") or ():
            name, permission = str(entry["brokerName"]), int(entry["perm"])
            if name not in addresses:
                continue
            if permission & _WRITABLE:
                writable += (MessageQueue(topic, name, queue) for queue in _queues(entry["writeQueueNums"]))
            if permission & _READABLE:
                readable += (MessageQueue(topic, name, queue) for queue in _queues(entry["readQueueNums"]))
            if max(len(writable), len(readable)) > _MAX_QUEUES:
                raise ValueError(f"expected at most {_MAX_QUEUES} queues in all")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"route of topic {topic!r} is not readable: {error!r}") from error
    return TopicRoute(addresses=addresses, writable=tuple(sorted(writable)), readable=tuple(sorted(readable)))


def _queues(number: object) -> range:
    if not isinstance(number, int) or not 0 <= number <= _MAX_QUEUES:
        raise ValueError(f"expected 0 to {_MAX_QUEUES} queues, got {number!r}")
    return range(number)


def parse_json(body: bytes) -> dict[str, Any]:
    """Read JSON as brokers write it: standard, or with fastjson's bare integer keys."""
    text = body.decode()
    try:
        document = json.loads(text)
    except ValueError:
        document = json.loads(_STRING_OR_INTEGER_KEY.sub(_quote_key, text))
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, got {type(document).__name__}")
    return document


def _quote_key(match: re.Match[str]) -> str:
    return match[1] or f'{match[2]}"{match[3]}"'
