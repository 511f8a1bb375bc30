"""Every metric there is: its kind, labels and meaning, declared once for Prometheus, for EMF and for docs/metrics.md.

Labels are bounded: no client id, topic, message id or error text is ever one. `function`, `flow`, `trigger`, `stage` and `outcome` are
of a fixed set, `rule`, `sink`, `broker` and `queue` of the rules document, `reason` and `error_type` words of the code or names of
response codes.
"""

from collections.abc import Mapping
from typing import Literal

__all__ = ["METRICS", "Metric"]

# OpenTelemetry's advice for durations of messaging operations (semantic conventions, messaging metrics).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# A record may be as old as its retries: the longest of BACKOFF_RETRY take a minute, those of EXPONENTIAL_DECAY_RETRY a day.
_AGES = (*_SECONDS, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)


class Metric:
    """What a metric is.

    `unit` is CloudWatch's. `buckets` are a histogram's upper bounds. `sums` are label sets beside all labels over which functions add
    it up: an alarm cannot add up series whose labels nobody knows beforehand. `by` says who shows it: "both", or only the "runner" or
    "functions".
    """

    # Neither a dataclass nor a named tuple, whose methods take longer to make than all metrics together: a cold start pays for this.
    __slots__ = ("buckets", "by", "help", "kind", "labels", "sums", "unit")

    def __init__(
        self,
        kind: Literal["counter", "gauge", "histogram"],
        labels: tuple[str, ...],
        help: str,
        unit: Literal["Count", "Seconds", "Bytes", "None"] = "Count",
        buckets: tuple[float, ...] = (),
        *,
        sums: tuple[tuple[str, ...], ...] = (),
        by: Literal["both", "runner", "functions"] = "both",
    ) -> None:
        self.kind = kind
        self.labels = labels
        self.help = help
        self.unit = unit
        self.buckets = buckets
        self.sums = sums
        self.by = by


METRICS: Mapping[str, Metric] = {
    # What came, and what became of it.
    "mqbridge_events_received_total": Metric(
        "counter",
        ("function", "trigger"),
        "Events decoded from what a platform, or the runner, handed over; one that is tried again counts again.",
    ),
    "mqbridge_events_unmatched_total": Metric("counter", ("function",), "Events that no rule wanted."),
    "mqbridge_events_planned_total": Metric(
        "counter",
        ("function",),
        "Events with at least one planned record: a rule wanted them, or they could not be read.",
    ),
    "mqbridge_records_planned_total": Metric(
        "counter",
        ("flow", "rule"),
        "Records planned: an event and a rule that wanted it. No rule where it could not be read.",
    ),
    "mqbridge_records_in_flight": Metric(
        "gauge", ("flow", "rule"), "Records planned whose outcome is not known yet.", unit="None", by="runner"
    ),
    "mqbridge_records_total": Metric(
        "counter",
        ("flow", "rule", "outcome"),
        "Records by outcome: delivered, dropped, dead_lettered, discarded (ErrorsTolerance ALL), failed (handed back for another try). "
        "What a function does for a runner is to the runner settled or failed.",
        sums=(("flow", "outcome"),),
    ),
    "mqbridge_unknown_outcome_total": Metric(
        "counter", ("rule", "sink"), "Records whose sending was not answered, and may be stored; part of failed."
    ),
    "mqbridge_errors_total": Metric(
        "counter",
        ("rule", "stage", "error_type"),
        "Failures and rejects, by stage (receiving, processing, sending; of an invoked function: invoking, function) and reason.",
    ),
    "mqbridge_dropped_total": Metric(
        "counter",
        ("rule", "reason", "intentional"),
        "Records given up for good: dropped as the rules say (intentional), or discarded. Never what will be tried again.",
    ),
    "mqbridge_send_retries_total": Metric(
        "counter",
        ("sink", "error_type"),
        "Messages that a sink sent once more by itself, within one call; what came of it is counted once.",
    ),
    # How long it took, and how much it was.
    "mqbridge_send_duration_seconds": Metric(
        "histogram", ("sink",), "Time of one call that sends a batch's messages to an instance.", "Seconds", _SECONDS
    ),
    "mqbridge_event_duration_seconds": Metric(
        "histogram",
        ("function",),
        "Time from when an event is decoded until its outcome is known.",
        "Seconds",
        _SECONDS,
    ),
    "mqbridge_event_age_seconds": Metric(
        "histogram", ("trigger",), "Age of a record when it was delivered, by its source's timestamp.", "Seconds", _AGES
    ),
    "mqbridge_batch_events": Metric("histogram", ("function",), "Events in a batch.", buckets=_SIZES),
    "mqbridge_received_bytes_total": Metric("counter", ("trigger",), "Bodies of the events received.", "Bytes"),
    "mqbridge_sent_bytes_total": Metric("counter", ("sink",), "Bodies of the messages that were stored.", "Bytes"),
    # Connections.
    "mqbridge_broker_connected": Metric(
        "gauge",
        ("broker",),
        "1 while every rule that reads from this instance is connected to it, and the last call that sent to it was answered; "
        "of what is only sent to, from the first call on. Paused tasks do not count.",
        "None",
        by="runner",
    ),
    "mqbridge_broker_reconnects_total": Metric(
        "counter",
        ("broker", "reason"),
        "Connections of sources made again, by what ended the last: connect_failed, connection_lost, refused.",
        by="runner",
    ),
    # What the runner's rules are doing.
    "mqbridge_rule_running": Metric("gauge", ("flow", "rule"), "1 while the rule is RUNNING.", "None", by="runner"),
    "mqbridge_records_unsettled": Metric(
        "gauge",
        ("flow", "rule"),
        "Records received and not settled, with those that wait for a retry.",
        "None",
        by="runner",
    ),
    "mqbridge_records_parked": Metric(
        "gauge", ("flow", "rule"), "Records that can never be delivered, kept by the source alone.", "None", by="runner"
    ),
    "mqbridge_task_blocked": Metric(
        "gauge", ("rule",), "1 while the task is stopped at a record that cannot be delivered.", "None", by="runner"
    ),
    # What nobody could deliver.
    "mqbridge_dead_letters": Metric(
        "gauge",
        ("queue",),
        "Letters in a dead-letter queue of the rules, or in %DLQ%group of an inbound rule; not there while it cannot be read.",
        by="runner",
    ),
    "mqbridge_dead_letter_oldest_age_seconds": Metric(
        "gauge",
        ("queue",),
        "Time since the oldest of them was stored; SQS does not tell.",
        "Seconds",
        by="runner",
    ),
    # What runs.
    "mqbridge_config_info": Metric("gauge", ("hash", "rules"), "The rules in force; always 1.", "None", by="runner"),
    "mqbridge_config_reloads_total": Metric(
        "counter", ("outcome",), "Changed rules: put in force (ok), refused, or not to be had (failed)."
    ),
    "mqbridge_build_info": Metric("gauge", ("version", "python"), "What is running; always 1.", "None", by="runner"),
    "mqbridge_cold_starts_total": Metric(
        "counter", ("function",), "Execution environments that handled their first event.", by="functions"
    ),
}
