"""What a group consumes: topic, tag expression, and which queues fall to which member. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from .route import MessageQueue, java_string_hash

__all__ = ["Subscription", "allocate_averagely"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What is wanted of one topic. `version` is the time it was made, in milliseconds.

    The expression is of type TAG ("*" or tags separated by "||") or SQL92 (a condition on properties, which the broker evaluates if it
    has enablePropertyFilter).
    """

    topic: str
    expression: str
    version: int
    expression_type: str = "TAG"

    @property
    def tags(self) -> frozenset[str]:
        """The tags that are wanted; none means all."""
        if self.expression == "*" or self.expression_type != "TAG":
            return frozenset()
        return frozenset(tag.strip() for tag in self.expression.split("||") if tag.strip())

    def wants(self, tag: str) -> bool:
        """Tell whether a message's tag matches; the broker compares hashes only, so the client looks again."""
        return not self.tags or tag in self.tags

    def as_heartbeat(self) -> dict[str, object]:
        """Return the SubscriptionData of a heartbeat."""
        return {
            "topic": self.topic,
            "subString": self.expression,
            "tagsSet": sorted(self.tags),
            "codeSet": sorted(java_string_hash(tag) for tag in self.tags),
            "subVersion": self.version,
            "classFilterMode": False,
            "expressionType": self.expression_type,
        }


def allocate_averagely(queues: Sequence[MessageQueue], members: Sequence[str], me: str) -> list[MessageQueue]:
    """Return the queues that fall to `me`, as Java's AllocateMessageQueueAveragely does, so that both can share a group."""
    members, queues = sorted(members), sorted(queues)
    if me not in members:
        return []
    index, spare = members.index(me), len(queues) % len(members)
    share = len(queues) // len(members) + (index < spare)
    start = index * share + (0 if index < spare else spare)
    return queues[start : start + share]
