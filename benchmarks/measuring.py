"""Repeat, and keep the spread: a single run proves nothing."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Result", "cpu_and_wall_s", "repeated"]


@dataclass(frozen=True, slots=True)
class Result:
    """A figure with its spread."""

    name: str
    unit: str
    values: tuple[float, ...]

    def row(self) -> str:
        """Return the figure as a row of a Markdown table."""
        median, low, high = statistics.median(self.values), min(self.values), max(self.values)
        shown = " | ".join(f"{value:,.1f}" if value < 1_000 else f"{value:,.0f}" for value in (median, low, high))
        return f"| {self.name} | {shown} | {self.unit} |"


def repeated(name: str, unit: str, measure: Callable[[], float], runs: int = 5) -> Result:
    """Measure once to warm up, then `runs` times."""
    measure()
    return Result(name, unit, tuple(measure() for _ in range(runs)))


def cpu_and_wall_s(action: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU seconds of this process and the wall-clock seconds that `action` took."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall
