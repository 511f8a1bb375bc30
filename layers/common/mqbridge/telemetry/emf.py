"""What an invocation changed of the metrics, as lines of CloudWatch's embedded metric format, written by Powertools.

A line holds all metrics of one set of dimensions: the labels, and `service` as Powertools adds it. Counters are written as what was
added since the line before; CloudWatch adds up. Of more than 20 observations of a histogram 20 are written that are evenly spread in
order of size: percentiles stay what they are, the number of samples does not.
"""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .counters import Counters, Labels, Series
from .lines import service
from .registry import METRICS

if TYPE_CHECKING:
    from aws_lambda_powertools.metrics import EphemeralMetrics

__all__ = ["NAMESPACE", "Emf"]

NAMESPACE = "mqbridge"
# A line takes 100. But Powertools formats all values of a metric, for a debug line, whenever one is added: 100 take it 5 ms, 20 take 0.2.
MAX_VALUES = 20
DIGITS = 6  # of seconds: microseconds
# CloudWatch has no empty dimension: what is of no rule. No rule is named so.
NOTHING = "-"


class Emf:
    """Writes what changed of `counters` since the last time."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._before: dict[Series, float] = {}
        self._writers: dict[Labels, EphemeralMetrics] = {}
        self._lock = threading.Lock()  # a server answers several requests at once

    def write(self) -> None:
        """Write a line for each set of dimensions of which something changed."""
        with self._lock:
            by_labels: dict[Labels, dict[str, Sequence[float]]] = {}
            for (name, labels), amount in self._added().items():
                by_labels.setdefault(labels, {})[name] = (amount,)
            for (name, labels), samples in self._counters.take_samples().items():
                by_labels.setdefault(labels, {})[name] = _spread(sorted(samples), MAX_VALUES)
            for labels, metrics in by_labels.items():
                writer = self._writers.get(labels) or self._new_writer(labels)
                for name, values in metrics.items():
                    for value in values:
                        writer.add_metric(name, METRICS[name].unit, round(value, DIGITS))
                # Not flush_metrics: it prints, which writes a line in two pieces, and another thread's line of the log between them.
                line = json.dumps(writer.serialize_metric_set(), separators=(",", ":"))
                writer.clear_metrics()
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()  # a server's output is a file or a pipe, and waits until there is much

    def _added(self) -> dict[Series, float]:
        added: dict[Series, float] = {}
        now = self._counters.snapshot()
        for (name, labels), value in now.items():
            amount = value - self._before.get((name, labels), 0)
            if amount and METRICS[name].by != "runner":
                for of_labels in _dimension_sets(name, labels):
                    added[name, of_labels] = added.get((name, of_labels), 0) + amount
        self._before = now
        return added

    def _new_writer(self, labels: Labels) -> "EphemeralMetrics":
        from aws_lambda_powertools.metrics import EphemeralMetrics

        dimensions = {name: _dimension(value) for name, value in labels}
        writer = EphemeralMetrics(namespace=NAMESPACE, service=service(), default_dimensions=dimensions)
        self._writers[labels] = writer
        return writer


def _dimension_sets(name: str, labels: Labels) -> Iterator[Labels]:
    yield labels
    for names in METRICS[name].sums:
        yield tuple(label for label in labels if label[0] in names)


def _dimension(value: str) -> str:
    return value.encode("ascii", "backslashreplace").decode() or NOTHING


def _spread(values: Sequence[float], most: int) -> Sequence[float]:
    """Return `most` of the ordered values, from the middle of as many equal parts; all of them if there are not more."""
    count = len(values)
    return values if count <= most else [values[(2 * at + 1) * count // (2 * most)] for at in range(most)]
