"""The same is said once in a while, and then how often it was not: a broker that is away must not fill the log."""

from collections.abc import Callable, Hashable

__all__ = ["SILENCE_S", "Repeats"]

SILENCE_S = 10.0


class Repeats:
    """What was said when. Keys are to be bounded: they are kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[Hashable, tuple[float, int]] = {}  # since when, and how often it came since

    def unsaid(self, key: Hashable) -> int | None:
        """Return how often `key` was not said since it last was, if it is to be said now; None if it is not."""
        now = self._clock()
        since, times = self._said.get(key, (None, 0))
        if since is not None and now - since < SILENCE_S:
            self._said[key] = (since, times + 1)
            return None
        self._said[key] = (now, 0)
        return times
