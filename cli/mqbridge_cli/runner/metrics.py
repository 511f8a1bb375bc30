"""The bridge's counters and the runner's gauges, for Prometheus."""

import platform
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mqbridge import __version__
from mqbridge.rules import Rules
from mqbridge.telemetry import COUNTERS, OUTCOME_WORDS, Counters
from mqbridge_cli.runner.rule_runner import RuleRunner
from mqbridge_cli.runner.state import State

__all__ = ["registry_of"]


def registry_of(rules: Rules, runners: Sequence[RuleRunner], counters: Counters) -> CollectorRegistry:
    """Return a registry that reads the counters when it is asked."""
    for (
        runner
    ) in runners:  # every series exists from the start, at 0, so that the first failure is a step that a rate can see
        for word in sorted(set(OUTCOME_WORDS.values())):
            counters.add("mqbridge_records_total", 0, flow=runner.flow, rule=runner.rule_id, outcome=word)
        counters.add("mqbridge_unknown_outcome_total", 0, rule=runner.rule_id)
    registry = CollectorRegistry()
    registry.register(_Bridge(rules, runners, counters))
    return registry


class _Bridge(Collector):
    def __init__(self, rules: Rules, runners: Sequence[RuleRunner], counters: Counters) -> None:
        self._rules = rules
        self._runners = runners
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        values = self._counters.snapshot()
        for name, (labels, text) in COUNTERS.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for (of_name, of_labels), value in sorted(values.items()):
                if of_name == name:
                    family.add_metric([each for _, each in of_labels], value)
            yield family
        yield from self._gauges()

    def _gauges(self) -> Iterable[Metric]:
        connected = GaugeMetricFamily(
            "mqbridge_broker_connected", "Whether the rule's source is connected.", labels=["broker", "rule"]
        )
        reconnects = CounterMetricFamily(
            "mqbridge_broker_reconnects", "Connections made again after a loss.", labels=["broker", "rule"]
        )
        unsettled = GaugeMetricFamily(
            "mqbridge_records_unsettled", "Records received and not settled.", labels=["rule"]
        )
        parked = GaugeMetricFamily(
            "mqbridge_records_parked", "Records that can never be delivered, kept by the source alone.", labels=["rule"]
        )
        for runner in self._runners:
            place = [runner.endpoint, runner.rule_id]
            connected.add_metric(place, runner.state.snapshot.state is State.RUNNING)
            reconnects.add_metric(place, runner.state.reconnects)
            unsettled.add_metric([runner.rule_id], runner.inbox.unsettled)
            parked.add_metric([runner.rule_id], runner.worker.parked)
        yield from (connected, reconnects, unsettled, parked)
        config = GaugeMetricFamily("mqbridge_config_info", "The rules in force.", labels=["hash", "rules"])
        config.add_metric([self._rules.digest, str(len(self._runners))], 1)
        build = GaugeMetricFamily("mqbridge_build_info", "What is running.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield from (config, build)
