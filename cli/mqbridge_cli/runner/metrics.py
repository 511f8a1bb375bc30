"""The bridge's counters and the runner's gauges, for Prometheus."""

import platform
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mqbridge import __version__
from mqbridge.telemetry import COUNTERS, Counters
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.state import State

__all__ = ["counter_families", "registry_of"]


def registry_of(fleet: Fleet, counters: Counters) -> CollectorRegistry:
    """Return a registry that reads the counters when it is asked."""
    registry = CollectorRegistry()
    registry.register(_Bridge(fleet, counters))
    return registry


def counter_families(counters: Counters) -> Iterable[Metric]:
    """Yield all counters, those without a value as well."""
    values = counters.snapshot()
    for name, (labels, text) in COUNTERS.items():
        family = CounterMetricFamily(name, text, labels=labels)
        for (of_name, of_labels), value in sorted(values.items()):
            if of_name == name:
                family.add_metric([each for _, each in of_labels], value)
        yield family


class _Bridge(Collector):
    def __init__(self, fleet: Fleet, counters: Counters) -> None:
        self._fleet = fleet
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        yield from counter_families(self._counters)
        yield from self._gauges()

    def _gauges(self) -> Iterable[Metric]:
        connected = GaugeMetricFamily(
            "mqbridge_broker_connected", "Whether the rule's source is connected.", labels=["broker", "flow", "rule"]
        )
        reconnects = CounterMetricFamily(
            "mqbridge_broker_reconnects", "Connections made again after a loss.", labels=["broker", "flow", "rule"]
        )
        unsettled = GaugeMetricFamily(
            "mqbridge_records_unsettled", "Records received and not settled.", labels=["flow", "rule"]
        )
        parked = GaugeMetricFamily(
            "mqbridge_records_parked",
            "Records that can never be delivered, kept by the source alone.",
            labels=["flow", "rule"],
        )
        blocked = GaugeMetricFamily(
            "mqbridge_task_blocked", "Whether the task stopped at a record that cannot be delivered.", labels=["rule"]
        )
        lives = self._fleet.lives
        for life in lives:
            state = life.state.snapshot.state
            place = [life.endpoint, *life.key]
            if state is not State.PAUSED:  # which is not connected, and is not to be
                connected.add_metric(place, state is State.RUNNING)
            reconnects.add_metric(place, life.state.reconnects)
            unsettled.add_metric(life.key, life.unsettled)
            parked.add_metric(life.key, life.parked)
            if life.is_task:
                blocked.add_metric([life.name], state is State.BLOCKED)
        yield from (connected, reconnects, unsettled, parked, blocked)
        config = GaugeMetricFamily("mqbridge_config_info", "The rules in force.", labels=["hash", "rules"])
        config.add_metric([self._fleet.rules.digest, str(len(lives))], 1)
        build = GaugeMetricFamily("mqbridge_build_info", "What is running.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield from (config, build)
