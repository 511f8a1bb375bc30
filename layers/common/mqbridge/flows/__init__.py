"""Flows: pure planning. Messages and rules in, outcomes out; no sockets, no clock, no randomness."""

from typing import TYPE_CHECKING

from mqbridge.later import later

if TYPE_CHECKING:
    from . import inbound, outbound, outflow, status
    from .planning import Flow

__all__ = ["Flow", "inbound", "outbound", "outflow", "status"]

# A function has one flow.
__getattr__ = later(__name__, {"Flow": "planning", "inbound": "", "outbound": "", "outflow": "", "status": ""})
