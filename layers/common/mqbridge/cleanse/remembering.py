"""A bounded memory of what was looked up, for a while; and what was known before, while it cannot be looked up."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from .operators import Unavailable

__all__ = ["Remembered"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# A source that is down is left alone so long, so that a batch does not wait for every one of its records until time runs out.
PAUSE_S = 5.0


class Remembered(Generic[Key, Value]):
    """What `look_up` found, remembered for `ttl_s` seconds, at most `max_entries` of it; that there is nothing is remembered too.

    While `look_up` is unavailable, what it found before counts, however old; that there was nothing does not.
    """

    def __init__(
        self, look_up: Callable[[Key], Value | None], now_s: Callable[[], float], ttl_s: float, *, max_entries: int
    ) -> None:
        self._look_up = look_up
        self._now_s = now_s
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, tuple[float, Value | None]] = (
            OrderedDict()
        )  # with when it was found; newest last
        self._failed: tuple[float, Unavailable] | None = None
        self._lock = threading.Lock()  # the runner's tasks work in threads

    def get(self, key: Key) -> Value | None:
        """Return what is to be found for the key, or None.

        Raises:
            Unavailable: `look_up` raised so, now or a moment ago, and found nothing before.
        """
        now_s = self._now_s()
        with self._lock:
            found_s, known = self._entries.get(key, (0.0, None))
            is_fresh = key in self._entries and 0 <= now_s - found_s < self._ttl_s
            failed = self._failed
        if is_fresh:
            return known
        if failed is not None and 0 <= now_s - failed[0] < PAUSE_S:
            return self._known_or_raise(known, failed[1])
        try:
            value = self._look_up(key)
        except Unavailable as error:
            self._failed = (now_s, error)
            return self._known_or_raise(known, error)
        with self._lock:
            self._failed = None
            self._entries[key] = (now_s, value)
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
        return value

    @staticmethod
    def _known_or_raise(known: Value | None, error: Unavailable) -> Value:
        if known is None:
            raise Unavailable(error.reason, error.detail)
        return known
