"""Repeat, and keep the spread: a single run proves nothing."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

__all__ = ["Bar", "Result", "cpu_and_wall_s", "repeated", "table"]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach: `limit` itself, or `limit` times the figure that it stands `against`. No limit only shows the ratio."""

    limit: float | None
    against: Optional["Result"] = None
    is_ceiling: bool = False  # at most, instead of at least
    goal: float | None = None  # what would be better still


@dataclass(frozen=True, slots=True)
class Result:
    """A figure with its spread."""

    name: str
    unit: str
    values: tuple[float, ...]
    bar: Bar | None = None

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """By what this stands against another figure of the same run."""
        if self.bar is None or self.bar.against is None:
            return None
        return self.median / self.bar.against.median if self.bar.against.median else None

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None or self.bar.limit is None:
            return None
        reached = self.median if self.bar.against is None else self.ratio
        if reached is None:
            return None
        return reached <= self.bar.limit if self.bar.is_ceiling else reached >= self.bar.limit

    def row(self) -> str:
        """Return the figure as a row of `table`."""
        spread = " | ".join(_shown(value) for value in (self.median, min(self.values), max(self.values)))
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = {None: "", True: "yes", False: "**no**"}[self.is_met]
        return f"| {self.name} | {spread} | {self.unit} | {ratio} | {self._bar_text()} | {met} |"

    def _bar_text(self) -> str:
        bar = self.bar
        if bar is None or bar.limit is None:
            return ""
        unit = f" {self.unit}" if bar.against is None else ""
        goal = f", goal {bar.goal:g}" if bar.goal is not None else ""
        return f"{'at most' if bar.is_ceiling else 'at least'} {bar.limit:,g}{unit}{goal}"


def table(results: Sequence[Result]) -> str:
    """Return the figures as a Markdown table."""
    header = "| measurement | median | lowest | highest | unit | ratio | bar | met |\n|---|---|---|---|---|---|---|---|"
    return "\n".join([header, *(result.row() for result in results)])


def repeated(name: str, unit: str, measure: Callable[[], float], *, runs: int = 3, bar: Bar | None = None) -> Result:
    """Measure once to warm up, then `runs` times."""
    measure()
    return Result(name, unit, tuple(measure() for _ in range(runs)), bar)


def cpu_and_wall_s(action: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU seconds of this process and the wall-clock seconds that `action` took."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall


def _shown(value: float) -> str:
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
