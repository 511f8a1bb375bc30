"""The accounts add up: no record is planned that is not settled or in flight, and no event received that is neither planned nor unmatched.

UX: "records planned = sum over outcomes + in flight; received = unmatched + events with at least one planned record".
"""

import json
from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from mqbridge.telemetry import METRICS

__all__ = ["Values", "faults_of", "values_of", "written_values"]

# Values by name and labels, in any order.
Values = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def values_of(text: str) -> Values:
    """Return the values of a page of metrics."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def written_values(log: str) -> Values:
    """Return the sums of what functions wrote as EMF into a log, without what they wrote summed over some of their labels."""
    values: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for line in log.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        blob = json.loads(line)
        directive = blob["_aws"]["CloudWatchMetrics"][0]
        dimensions = sorted({*directive["Dimensions"][0]} - {"service"})
        for metric in directive["Metrics"]:
            if set(METRICS[metric["Name"]].labels) == set(dimensions):
                labels = tuple((name, blob[name]) for name in dimensions)
                values[metric["Name"], labels] += sum(blob[metric["Name"]])
    return values


def faults_of(values: Values) -> list[str]:
    """Return what does not add up, each with its numbers; nothing if all does."""
    planned = _sums(values, "mqbridge_records_planned_total", "flow", "rule")
    settled = _sums(values, "mqbridge_records_total", "flow", "rule")
    in_flight = _sums(values, "mqbridge_records_in_flight", "flow", "rule")
    unknown = _sums(values, "mqbridge_unknown_outcome_total", "rule")
    failed = _sums(values, "mqbridge_records_total", "rule", outcome="failed")
    received = _sums(values, "mqbridge_events_received_total", "function")
    unmatched = _sums(values, "mqbridge_events_unmatched_total", "function")
    planned_events = _sums(values, "mqbridge_events_planned_total", "function")
    faults = [
        f"{'/'.join(rule)}: {planned[rule]:g} planned, but {settled[rule]:g} settled and {in_flight[rule]:g} in flight"
        for rule in sorted({*planned, *settled, *in_flight})
        if planned[rule] != settled[rule] + in_flight[rule] or in_flight[rule] < 0
    ]
    faults += [
        f"{function}: {received[function,]:g} received, "
        f"but {unmatched[function,]:g} unmatched and {planned_events[function,]:g} planned"
        for (function,) in sorted({*received, *unmatched, *planned_events})
        if received[function,] != unmatched[function,] + planned_events[function,]
    ]
    faults += [
        f"{rule}: {unknown[rule,]:g} of unknown outcome, but {failed[rule,]:g} failed"
        for (rule,) in sorted(unknown)
        if unknown[rule,] > failed[rule,]
    ]
    return faults


def _sums(values: Values, name: str, *labels: str, **wanted: str) -> defaultdict[tuple[str, ...], float]:
    """Return the sums of a metric by some of its labels."""
    sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for (of_name, of_labels), value in values.items():
        found = dict(of_labels)
        if of_name == name and wanted.items() <= found.items():
            sums[tuple(found[label] for label in labels)] += value
    return sums
