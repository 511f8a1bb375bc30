"""Delivery: carry out a plan, and settle every record."""

from typing import TYPE_CHECKING

from mqbridge.later import later

from .deliver import Delivery, Settlement, settled_records
from .queues import DeadLetterQueues
from .sinks import OpenSinks, Outgoing, Sent, Sinks

if TYPE_CHECKING:
    from .dead_letters import ENVELOPE, DeadLetter, Redrive

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

# What is of use only where something cannot be delivered.
__getattr__ = later(__name__, {"ENVELOPE": "dead_letters", "DeadLetter": "dead_letters", "Redrive": "dead_letters"})
