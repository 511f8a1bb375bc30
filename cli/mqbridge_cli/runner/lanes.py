"""Which records may be sent now: those of one lane (a device, a topic) never overtake each other, lanes do not wait for one another.

Pure: times are passed in.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Item", "Lanes"]


@dataclass(slots=True, eq=False)
class Item:
    """One record on its way: the event as the handler gets it, the lane it keeps to, and what its source knows it by.

    `arrived` is when it was put into the inbox, on the inbox's clock.
    """

    event: dict[str, Any]
    lane: str
    token: Any
    attempt: int = 1
    arrived: float = 0.0


@dataclass(slots=True)
class _Held:
    until: float
    items: deque[Item] = field(default_factory=deque)


class Lanes:
    """Records waiting to be sent, in order of arrival, and lanes that wait after a failure."""

    def __init__(self) -> None:
        self._fresh: deque[Item] = deque()
        self._held: dict[str, _Held] = {}
        self._held_items = 0

    def __len__(self) -> int:
        return len(self._fresh) + self._held_items

    @property
    def fresh_count(self) -> int:
        """Records that wait for nothing but their turn; some may turn out to belong to a lane that waits."""
        return len(self._fresh)

    def add(self, item: Item) -> None:
        """Take a record that has just arrived."""
        self._fresh.append(item)

    def next_due(self) -> float | None:
        """Return when the first waiting lane may go on."""
        return min((held.until for held in self._held.values()), default=None)

    def oldest(self) -> float | None:
        """Return when the record that has been here for longest arrived: each lane has its first in front."""
        fronts = (lane[0] for lane in (self._fresh, *(held.items for held in self._held.values())) if lane)
        return min((item.arrived for item in fronts), default=None)

    def waiting(self) -> list[Item]:
        """Return everything, whatever it waits for."""
        return [*(item for held in self._held.values() for item in held.items), *self._fresh]

    def take(self, now: float, limit: int) -> list[Item]:
        """Remove and return up to `limit` records that may be sent now, each lane's in order."""
        taken: list[Item] = []
        for lane in [lane for lane, held in self._held.items() if held.until <= now]:
            items = self._held[lane].items
            while items and len(taken) < limit:
                taken.append(items.popleft())
                self._held_items -= 1
            if items:
                return taken
            del self._held[lane]
        while self._fresh and len(taken) < limit:
            item = self._fresh.popleft()
            held = self._held.get(item.lane)
            if held is None:
                taken.append(item)
            else:
                held.items.append(item)
                self._held_items += 1
        return taken

    def hold(self, item: Item, until: float) -> None:
        """Put back a record that failed, ahead of its lane, which waits until `until`.

        Of several of one lane the last one goes first, so that the first is in front again.
        """
        held = self._held.setdefault(item.lane, _Held(until))
        held.until = until
        held.items.appendleft(item)
        self._held_items += 1
