"""Which queue is next for messages without a sharding key."""

import time

from .route import MessageQueue, TopicRoute

__all__ = ["Rotation"]

AVOID_S = 30.0


class Rotation:
    """Take the queues of a route in turn, without those of brokers that failed lately as long as there are others."""

    def __init__(self) -> None:
        self._turn = 0
        self._avoided_until: dict[str, float] = {}

    def avoid(self, broker_name: str) -> None:
        """Pass over the broker's queues for some time."""
        self._avoided_until[broker_name] = time.monotonic() + AVOID_S

    def next_queue(self, route: TopicRoute) -> MessageQueue:
        """Return the next queue that may be written to; the route must have one."""
        self._turn += 1
        candidates = route.writable
        if self._avoided_until:
            now = time.monotonic()
            self._avoided_until = {name: until for name, until in self._avoided_until.items() if until > now}
            candidates = tuple(queue for queue in candidates if queue.broker_name not in self._avoided_until)
        candidates = candidates or route.writable
        return candidates[self._turn % len(candidates)]
