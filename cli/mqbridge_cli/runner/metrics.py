"""The bridge's metrics, and the gauges of the runner's rules, for Prometheus. What there is, telemetry's registry says."""

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from mqbridge import __version__
from mqbridge.telemetry import METRICS, Counters
from mqbridge_cli.dlq.depths import Depth
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.state import State
from mqbridge_cli.runner.watched_sinks import Contact

__all__ = ["families_of", "registry_of"]


def registry_of(fleet: Fleet, counters: Counters, dead_letters: Callable[[], Mapping[str, Depth]]) -> CollectorRegistry:
    """Return a registry that reads the counters when it is asked, and what is known of the dead-letter queues."""
    registry = CollectorRegistry()
    registry.register(_Bridge(fleet, counters, dead_letters))
    return registry


def families_of(counters: Counters) -> Mapping[str, Metric]:
    """Return every metric that a runner shows, by name, with the values that the counters keep; some have none."""
    families = {
        name: Metric(name.removesuffix("_total"), metric.help, metric.kind)
        for name, metric in METRICS.items()
        if metric.by != "functions"
    }
    for (name, labels), value in sorted(counters.snapshot().items()):
        if name in families:
            families[name].add_sample(name, dict(labels), value)
    for (name, labels), (counts, total) in sorted(counters.distributions().items()):
        reached = 0
        for bound, count in zip([*METRICS[name].buckets, float("inf")], counts, strict=True):
            reached += count
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            families[name].add_sample(f"{name}_bucket", {**dict(labels), "le": le}, reached)
        families[name].add_sample(f"{name}_count", dict(labels), reached)
        families[name].add_sample(f"{name}_sum", dict(labels), total)
    return families


class _Bridge(Collector):
    def __init__(self, fleet: Fleet, counters: Counters, dead_letters: Callable[[], Mapping[str, Depth]]) -> None:
        self._fleet = fleet
        self._counters = counters
        self._dead_letters = dead_letters

    def collect(self) -> Iterable[Metric]:
        families = families_of(self._counters)
        for name, labels, value in self._gauges():
            families[name].add_sample(name, dict(zip(METRICS[name].labels, labels, strict=True)), value)
        return families.values()

    def _gauges(self) -> Iterable[tuple[str, Sequence[str], float]]:
        connected: dict[str, bool] = {}
        contacts: dict[str, Contact] = {}
        lives = self._fleet.lives
        for life in lives:
            state = life.state.snapshot.state
            is_running = state is State.RUNNING
            if state is not State.PAUSED:  # which is not connected, and is not to be
                connected[life.broker] = connected.get(life.broker, True) and is_running
            for broker, contact in life.contacts.items():
                contacts[broker] = max(contact, contacts.get(broker, contact))
            yield "mqbridge_rule_running", life.key, float(is_running)
            yield "mqbridge_records_unsettled", life.key, life.unsettled
            yield "mqbridge_records_parked", life.key, life.parked
            if life.is_task:
                yield "mqbridge_task_blocked", [life.name], float(state is State.BLOCKED)
        for broker, contact in contacts.items():
            connected[broker] = connected.get(broker, True) and contact.is_answered
        for broker, is_connected in connected.items():
            yield "mqbridge_broker_connected", [broker], float(is_connected)
        for queue, depth in self._dead_letters().items():
            yield "mqbridge_dead_letters", [queue], depth.letters
            if depth.oldest_ms is not None:
                yield "mqbridge_dead_letter_oldest_age_seconds", [queue], max(0.0, time.time() - depth.oldest_ms / 1000)
        yield "mqbridge_config_info", [self._fleet.rules.digest, str(len(lives))], 1.0
        yield "mqbridge_build_info", [__version__, platform.python_version()], 1.0
