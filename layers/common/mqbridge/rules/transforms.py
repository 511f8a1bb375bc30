"""The operators of a task's Transforms: declared, and compiled. What loads is what runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mqbridge.cleanse import Operator, Outside

from .faults import Path

__all__ = ["compile_transforms"]

Report = Callable[[Path, str, str], None]  # path within Transforms, expected, got


def compile_transforms(declared: Sequence[Mapping[str, Any]], outside: Outside, report: Report) -> tuple[Operator, ...]:
    """Return the operators, ready to run, but for those that cannot be: all that is wrong with them is reported."""
    del outside
    for at, each in enumerate(declared):
        report((at,), "an operator", repr(next(iter(each))))
    return ()
