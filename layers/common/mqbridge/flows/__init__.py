"""Flows: pure planning. Messages and rules in, outcomes out; no sockets, no clock, no randomness."""

from . import inbound, outbound
from .planning import Flow

__all__ = ["Flow", "inbound", "outbound"]
