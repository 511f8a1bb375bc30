"""Histograms hold what was observed, whatever the number, and no snapshot has half of what belongs together."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.telemetry import METRICS, Counters
from mqbridge.telemetry.repeats import SILENCE_S, Repeats
from tests.unit.mqbridge.support import quick

NAME = "mqbridge_send_duration_seconds"
BOUNDS = METRICS[NAME].buckets
SERIES = (NAME, (("sink", "mqtt:m"),))
values = st.lists(st.floats(0, 20) | st.sampled_from(BOUNDS), max_size=60)


@quick
@given(values=values, times=st.integers(1, 3))
def test_every_value_is_in_the_first_bucket_that_it_is_not_above(values: list[float], times: int) -> None:
    counters = Counters()
    counters.observe(NAME, values, times=times, sink="mqtt:m")
    expected = [0] * (len(BOUNDS) + 1)
    for value in values:
        expected[bisect_left(BOUNDS, value)] += times
    counts, total = counters.distributions()[SERIES]
    assert list(counts) == expected
    assert total == pytest.approx(sum(values) * times)


@quick
@given(first=values, second=values)
def test_observations_add_up(first: list[float], second: list[float]) -> None:
    apart, together = Counters(), Counters()
    apart.observe(NAME, first, sink="mqtt:m")
    apart.observe(NAME, second, sink="mqtt:m")
    together.observe(NAME, [*first, *second], sink="mqtt:m")
    assert apart.distributions()[SERIES][0] == together.distributions()[SERIES][0]


def test_samples_are_kept_where_they_are_asked_for_and_taken_once() -> None:
    kept, not_kept = Counters(keeps_samples=True), Counters()
    for each in (kept, not_kept):
        each.observe(NAME, [0.2, 0.1], sink="mqtt:m")
        each.observe(NAME, [0.3], times=5, sink="mqtt:m")
    assert kept.take_samples() == {SERIES: [0.1, 0.2, 0.3]}
    assert kept.take_samples() == not_kept.take_samples() == {}
    kept.observe(NAME, [0.4], sink="mqtt:m")
    assert kept.take_samples() == {SERIES: [0.4]}


def test_a_series_begins_at_nothing() -> None:
    counters = Counters()
    counters.observe(NAME, (), sink="mqtt:m")
    assert counters.distributions() == {SERIES: ((0,) * (len(BOUNDS) + 1), 0.0)}


def test_every_metric_is_named_by_the_rules() -> None:
    """Prometheus' rules for names: a prefix, base units, a plural unit at the end, _total on counters and on nothing else."""
    for name, metric in METRICS.items():
        assert name.startswith("mqbridge_")
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert bool(metric.buckets) == (metric.kind == "histogram"), name
        assert list(metric.buckets) == sorted(set(metric.buckets)), name
        assert (metric.unit == "Seconds") == ("_seconds" in name), name
        assert (metric.unit == "Bytes") == ("_bytes" in name), name
        assert metric.help.endswith("."), name
        assert all(set(labels) < set(metric.labels) for labels in metric.sums), name


def test_the_same_is_said_once_in_a_while_and_then_how_often_it_was_not() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)
    assert [repeats.unsaid("a"), repeats.unsaid("b")] == [0, 0]
    assert [repeats.unsaid("a") for _ in range(3)] == [None, None, None]
    now = SILENCE_S
    assert [repeats.unsaid("a"), repeats.unsaid("b")] == [3, 0]
    assert repeats.unsaid("a") is None
    now = 3 * SILENCE_S
    assert repeats.unsaid("a") == 1
