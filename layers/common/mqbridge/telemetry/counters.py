"""The values of all metrics, and each rule's last error, kept as plain numbers until somebody asks."""

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping

from mqbridge.values import Value

from .registry import METRICS
from .repeats import Repeats

__all__ = ["Counters", "Distribution", "Labels", "LastError", "Series"]

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


class LastError(Value):
    """What last went wrong with a record of a rule: which, how far it had got, why, and when (Unix seconds). Holds no payload."""

    record: str
    outcome: str
    stage: str
    reason: str
    detail: str
    at: float


class Distribution:
    """What was observed of one series: how many fell into each bucket, the last of which has no bound, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Counters:
    """Values by name and labels, and what last went wrong by flow and rule; safe for several threads.

    Args:
        keeps_samples: that observations are kept one by one as well, until `take_samples`.
        clock: monotonic seconds.
    """

    def __init__(self, *, keeps_samples: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._values: dict[Series, float] = {}
        self._distributions: dict[Series, Distribution] = {}
        self._samples: dict[Series, list[float]] | None = {} if keeps_samples else None
        self._last_errors: dict[tuple[str, str], LastError] = {}
        self.repeats = Repeats(clock)

    def add(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Count, or move a gauge by `amount`; all labels of the name must be given."""
        self.add_all({_series(name, labels): amount})

    def add_all(self, amounts: Mapping[Series, float]) -> None:
        """Count several series at once: no snapshot has only some of them."""
        with self._lock:
            for series, amount in amounts.items():
                self._values[series] = self._values.get(series, 0) + amount

    def observe(self, name: str, values: Iterable[float], /, *, times: int = 1, **labels: str) -> None:
        """Put each of `values` into its histogram, `times` times; without values the series begins, empty.

        The cost is a sort and a search for each bucket, whatever the number of values.
        """
        series = _series(name, labels)
        bounds = METRICS[name].buckets
        ordered = sorted(values)
        with self._lock:
            distribution = self._distributions.get(series)
            if distribution is None:
                distribution = self._distributions[series] = Distribution(len(bounds))
            if not ordered:
                return
            counts, begin = distribution.counts, 0
            # Of many values it is quicker to look for the buckets among them, of few for them among the buckets.
            if len(ordered) > len(bounds):
                for at, bound in enumerate(bounds):
                    end = bisect_right(ordered, bound, begin)
                    counts[at] += (end - begin) * times
                    begin = end
                counts[-1] += (len(ordered) - begin) * times
            else:
                for value in ordered:
                    counts[bisect_left(bounds, value)] += times
            distribution.total += sum(ordered) * times
            if self._samples is not None:
                self._samples.setdefault(series, []).extend(ordered)

    def snapshot(self) -> dict[Series, float]:
        """Return a copy of the values of all counters and gauges."""
        with self._lock:
            return dict(self._values)

    def distributions(self) -> dict[Series, tuple[tuple[int, ...], float]]:
        """Return the count of each bucket and the sum, of all histograms."""
        with self._lock:
            return {series: (tuple(each.counts), each.total) for series, each in self._distributions.items()}

    def take_samples(self) -> dict[Series, list[float]]:
        """Return what was observed since the last time, as far as it is kept."""
        with self._lock:
            taken, self._samples = self._samples or {}, {} if self._samples is not None else None
            return taken

    def note_error(self, flow: str, rule: str, error: LastError) -> None:
        """Keep what last went wrong with a rule."""
        self._last_errors[flow, rule] = error

    def last_error(self, flow: str, rule: str) -> LastError | None:
        """Return what last went wrong with a rule, None if nothing has since the process started."""
        return self._last_errors.get((flow, rule))


def _series(name: str, labels: Mapping[str, str]) -> Series:
    return name, tuple([(each, labels[each]) for each in METRICS[name].labels])  # a generator takes twice as long
