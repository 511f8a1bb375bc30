"""Delivery: carry out a plan, and settle every record."""

from .deliver import Delivery, Settlement, settled_records
from .sinks import OpenSinks, Outgoing, Sent, Sinks

__all__ = ["Delivery", "OpenSinks", "Outgoing", "Sent", "Settlement", "Sinks", "settled_records"]
