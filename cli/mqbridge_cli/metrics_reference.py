"""The table of metrics in docs/metrics.md, made of telemetry's registry."""

from mqbridge.telemetry import METRICS, Metric

__all__ = ["metrics_table"]

_SHOWN_BY = {"both": "both", "runner": "Prometheus", "functions": "EMF"}


def metrics_table() -> str:
    """Return the metrics as a table, and the bounds of the histograms."""
    lines = ["| metric | type | labels | unit | in | meaning |", "|---|---|---|---|---|---|"]
    for name, metric in METRICS.items():
        unit = "" if metric.unit == "None" else metric.unit.lower()
        lines.append(
            f"| `{name}` | {metric.kind} | {', '.join(metric.labels)} | {unit} | {_SHOWN_BY[metric.by]} | {metric.help} |"
        )
    lines += ["", "| EMF writes | with these dimensions, beside `service` |", "|---|---|"]
    lines += [f"| `{name}` | {_dimensions(metric)} |" for name, metric in METRICS.items() if metric.sums]
    lines.append("| all others | their labels |")
    lines += ["", "| histogram | upper bounds of the buckets |", "|---|---|"]
    for name, metric in METRICS.items():
        if metric.buckets:
            lines.append(f"| `{name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |")
    return "\n".join(lines)


def _dimensions(metric: Metric) -> str:
    return "; and summed: ".join(", ".join(labels) for labels in (metric.labels, *metric.sums))
