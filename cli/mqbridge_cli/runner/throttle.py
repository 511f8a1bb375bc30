"""RunOptions.Throttling: how many records a rule may hand on in a second. A token bucket; pure, times are passed in."""

__all__ = ["Throttle"]

# What trickles in goes on in so many portions a second: a batch for every single record would cost more than it gains.
PORTIONS_PER_S = 10


class Throttle:
    """Allows `per_s` records a second, and after a pause at most one second's worth at once."""

    def __init__(self, per_s: int, now: float) -> None:
        self._per_s = per_s
        self._portion = max(1, per_s // PORTIONS_PER_S)
        self._tokens = float(per_s)
        self._at = now

    def allowed(self, now: float) -> int:
        """Return how many records may go now; 0 until there is a portion of them."""
        self._tokens = min(float(self._per_s), self._tokens + max(0.0, now - self._at) * self._per_s)
        self._at = max(self._at, now)
        return int(self._tokens) if self._tokens >= self._portion else 0

    def take(self, count: int) -> None:
        """Note that `count` records, no more than are allowed, went."""
        self._tokens -= count

    def wait_s(self, now: float) -> float:
        """Return the seconds until some may go."""
        return 0.0 if self.allowed(now) else (self._portion - self._tokens) / self._per_s
