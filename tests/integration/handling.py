"""Handlers in the test's own process, into real brokers; afterwards their accounts have to add up."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from mqbridge.delivery import OpenSinks
from mqbridge.handler import Bridge, using
from mqbridge.rules import Rules
from mqbridge.telemetry import Counters, count_retries
from tests.identity import faults_of

__all__ = ["handling"]


@contextmanager
def handling(rules: Rules) -> Iterator[Counters]:
    """Have handlers run by `rules` with real sinks, and yield what they count."""
    counters = Counters()
    sinks = OpenSinks(rules, partial(count_retries, counters))
    try:
        with using(Bridge(rules, sinks, counters)):
            yield counters
    finally:
        sinks.close()
    values = counters.snapshot()
    assert values, "no handler counted anything"
    assert faults_of(values) == []
