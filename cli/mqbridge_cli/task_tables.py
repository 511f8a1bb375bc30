"""Tasks as text for people. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["list_text", "show_text"]

Task = Mapping[str, Any]

_COUNTERS = ("received", "delivered", "dropped", "dead_lettered", "discarded", "failed")
_HEADINGS = ("NAME", "STATUS", *(word.upper().replace("_", "-") for word in _COUNTERS), "UNSETTLED", "OLDEST", "REASON")
_NUMBERS = range(2, len(_HEADINGS) - 1)


def list_text(tasks: Sequence[Task]) -> str:
    """Return a table of tasks, a line each."""
    if not tasks:
        return "no tasks\n"
    rows = [_HEADINGS, *(_row(task) for task in tasks)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADINGS))]
    return "".join(
        "  ".join(
            cell.rjust(widths[at]) if at in _NUMBERS else cell.ljust(widths[at]) for at, cell in enumerate(row)
        ).rstrip()
        + "\n"
        for row in rows
    )


def _row(task: Task) -> tuple[str, ...]:
    counters, lag = task["counters"], task["lag"]
    return (
        task["name"],
        task["status"],
        *("-" if counters[word] is None else str(counters[word]) for word in _COUNTERS),
        str(lag["unsettled"]),
        _seconds(lag["oldest_s"]),
        task["reason"],
    )


def show_text(task: Task) -> str:
    """Return everything about one task, a line each."""
    counters, lag = task["counters"], task["lag"]
    lines = [("name", task["name"])]
    if task["description"]:
        lines.append(("description", task["description"]))
    lines += [
        ("status", f"{task['status']} since {task['since']}"),
        ("reason", task["reason"] or "-"),
        ("source", f"{task['source']['topic']} of {task['source']['instance']}"),
        ("sink", f"{task['sink']['topic']} of {task['sink']['instance']}"),
        ("records", ", ".join(f"{count} {word.replace('_', '-')}" for word, count in _known(counters))),
        ("lag", f"{lag['unsettled']} unsettled, the oldest for {_seconds(lag['oldest_s'])}"),
        ("blocked", _blocked(task["blocked"])),
        ("last error", _error(task["last_error"])),
        ("config", task["config_hash"]),
    ]
    width = max(len(name) for name, _ in lines) + 2
    return "".join(f"{name + ':':<{width}}{value}\n" for name, value in lines)


def _known(counters: Mapping[str, int | None]) -> list[tuple[str, int]]:
    """Return the counters in their order, but for those that only a function knows, which carries the task out (settled)."""
    words = (_COUNTERS[0], "settled", *_COUNTERS[1:])
    return [(word, count) for word in words if (count := counters.get(word)) is not None]


def _blocked(blocked: Mapping[str, Any] | None) -> str:
    if blocked is None:
        return "-"
    stage = blocked["stage"] or "processing"
    return f"at record {blocked['record']} since {blocked['since']}, {stage}: {blocked['reason']}: {blocked['detail']}"


def _error(error: Mapping[str, Any] | None) -> str:
    if error is None:
        return "-"
    return f"{error['at']}, {error['stage']}: {error['reason']}: {error['detail']} (record {error['record']} {error['outcome']})"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:g}s"
