"""Flows: pure planning. Messages and rules in, outcomes out; no sockets, no clock, no randomness."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import inbound, outbound, status
from .planning import Flow

if TYPE_CHECKING:
    from . import outflow

__all__ = ["Flow", "inbound", "outbound", "outflow", "status"]


def __getattr__(name: str) -> Any:
    """Load the flow of tasks when it is asked for: the libraries that it needs would cost data rules a cold start of 20 ms."""
    if name == "outflow":
        return import_module(".outflow", __name__)
    raise AttributeError(name)
