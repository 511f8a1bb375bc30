"""Triggers: which invocation event this is, what records it holds, and what its sender wants to hear back."""

from .batch import Batch, Trigger, Undelivered, UnreadableEvent
from .http_requests import HttpRequest, HttpResponse
from .reading import fault_answer, read
from .visibility import hiding_by

__all__ = [
    "Batch",
    "HttpRequest",
    "HttpResponse",
    "Trigger",
    "Undelivered",
    "UnreadableEvent",
    "fault_answer",
    "hiding_by",
    "read",
]
