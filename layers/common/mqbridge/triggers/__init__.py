"""Triggers: which invocation event this is, what records it holds, and what its sender wants to hear back."""

from .batch import Batch, Trigger, Undelivered, UnreadableEvent
from .reading import read
from .visibility import hiding_by

__all__ = ["Batch", "Trigger", "Undelivered", "UnreadableEvent", "hiding_by", "read"]
