"""Delivery: carry out a plan, and settle every record."""

from .dead_letters import ENVELOPE, DeadLetter, Redrive
from .deliver import Delivery, Settlement, settled_records
from .queues import DeadLetterQueues
from .sinks import OpenSinks, Outgoing, Sent, Sinks

__all__ = [
    "ENVELOPE",
    "DeadLetter",
    "DeadLetterQueues",
    "Delivery",
    "OpenSinks",
    "Outgoing",
    "Redrive",
    "Sent",
    "Settlement",
    "Sinks",
    "settled_records",
]
