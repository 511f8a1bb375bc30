"""Which messages travel together and which wait for each other. Pure.

A lane is what keeps its order: the broker serves requests in several threads, so two batches for one queue keep their order only if
the second waits for the answer to the first. What has no sharding key asks for no order: its lane only cuts it into batches, which may
all be under way at once.
"""

from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from operator import itemgetter

from .codes import ResponseCode
from .errors import (
    BrokerRefused,
    ConnectFailed,
    HeldBack,
    OutcomeUnknown,
    ProtocolError,
    RocketMQError,
    TopicNotFound,
)
from .messages import Message
from .names import MAX_TOPIC_LENGTH
from .route import MessageQueue, TopicRoute

__all__ = ["MAX_BATCH_BYTES", "Batch", "Failure", "Lane", "another_broker_may_help", "worth_another_try"]

# A quarter of the broker's 4 MiB: larger batches are no faster.
MAX_BATCH_BYTES = 1024 * 1024
# The broker measures a batch as it stores it (MessageDecoder's layout, hosts of IPv6, CLUSTER): so much more than body and properties.
_STORED_OVERHEAD_BYTES = 91 + 24 + 64 + MAX_TOPIC_LENGTH

Failure = tuple[Message, RocketMQError]

# A second try at once, with a fresh route, is worth it for these: the broker moved, died or is closing.
_WORTH_ANOTHER_ROUTE = (ConnectFailed, OutcomeUnknown, ProtocolError, TopicNotFound)


@dataclass(slots=True)
class Batch:
    """Messages that travel together, and their places in what the caller gave. The broker counts them as `stored_bytes`, or less."""

    places: list[int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    stored_bytes: int = 0


@dataclass(slots=True)
class Lane:
    """Messages for one `queue`, in order; or, without one, messages of a topic for whichever queue is next.

    `is_busy` says that one of its batches is under way and the next have to wait for it.
    """

    route: TopicRoute
    queue: MessageQueue | None
    max_messages: int
    is_busy: bool = False
    failed_keys: set[str] = field(default_factory=set)
    _complete: deque[Batch] = field(default_factory=deque)  # nothing more will be added to these
    _open: Batch = field(default_factory=Batch)

    def add(self, place: int, message: Message, content_bytes: int, goes_alone: bool) -> bool:
        """Add a message, whose body and properties are `content_bytes` long; return whether that completed a batch."""
        stored_bytes = content_bytes + _STORED_OVERHEAD_BYTES
        batch = self._open
        has_completed = goes_alone or batch.stored_bytes + stored_bytes > MAX_BATCH_BYTES
        if has_completed:
            self.cut()
            batch = self._open
        batch.places.append(place)
        batch.messages.append(message)
        batch.stored_bytes += stored_bytes
        if goes_alone or len(batch.places) >= self.max_messages:
            self.cut()
            return True
        return has_completed

    def cut(self) -> None:
        """Complete the batch that is being filled."""
        if self._open.places:
            self._complete.append(self._open)
            self._open = Batch()

    def next_batch(self) -> tuple[Batch, Batch] | None:
        """Take the next complete batch, if there is one: what of it may be sent, and what would overtake a message that failed."""
        if not self._complete:
            return None
        batch, held_back = self._complete.popleft(), Batch()
        if self.failed_keys:
            whole, batch = batch, Batch(stored_bytes=batch.stored_bytes)
            for place, message in zip(whole.places, whole.messages, strict=True):
                part = held_back if message.sharding_key in self.failed_keys else batch
                part.places.append(place)
                part.messages.append(message)
        return batch, held_back


def worth_another_try(failed: Mapping[int, Failure], spoilt: AbstractSet[int]) -> list[tuple[int, Message]]:
    """Return which of the `failed` to send again at once, in order: no message of a key whose first failure stays."""
    again: list[tuple[int, Message]] = []
    closed: set[tuple[str, str]] = set()
    for place, (message, error) in sorted(failed.items(), key=itemgetter(0)):
        key = (message.topic, message.sharding_key)
        if key in closed:
            continue
        if isinstance(error, HeldBack) or place in spoilt or another_broker_may_help(error):
            again.append((place, message))
        elif message.sharding_key:
            closed.add(key)
    return again


def another_broker_may_help(error: RocketMQError) -> bool:
    """Tell whether the message may be stored at once by another broker, or by the same one over a new connection."""
    if isinstance(error, BrokerRefused) and error.code == ResponseCode.SERVICE_NOT_AVAILABLE:
        return True
    return isinstance(error, _WORTH_ANOTHER_ROUTE)
