"""What the bridge says about itself: counters, kept as plain numbers, each rule's last error, and the log.

One registry has two outputs: the runner shows it to Prometheus, functions write what an invocation changed as EMF.
"""

from .accounts import Accounts, begin_rule, count_held_back, count_retries, count_sent, sink_label
from .counters import Counters, LastError
from .function import FunctionTelemetry, writes_metrics
from .lines import OUTCOME_WORDS, logger
from .registry import METRICS, Metric

__all__ = [
    "METRICS",
    "OUTCOME_WORDS",
    "Accounts",
    "Counters",
    "FunctionTelemetry",
    "LastError",
    "Metric",
    "begin_rule",
    "count_held_back",
    "count_retries",
    "count_sent",
    "logger",
    "sink_label",
    "writes_metrics",
]
