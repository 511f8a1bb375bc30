"""Flows: pure planning. Messages and rules in, outcomes out; no sockets, no clock, no randomness."""

from typing import TYPE_CHECKING

from mqbridge.later import later

if TYPE_CHECKING:
    from . import inbound, outbound, outflow, status
    from .lanes import in_lanes, lane_of
    from .planning import Flow

__all__ = ["Flow", "in_lanes", "inbound", "lane_of", "outbound", "outflow", "status"]

# A function has one flow.
__getattr__ = later(
    __name__,
    {
        "Flow": "planning",
        "in_lanes": "lanes",
        "inbound": "",
        "lane_of": "lanes",
        "outbound": "",
        "outflow": "",
        "status": "",
    },
)
