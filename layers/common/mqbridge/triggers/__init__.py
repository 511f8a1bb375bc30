"""Triggers: which invocation event this is, what records it holds, and what its sender wants to hear back."""

from typing import TYPE_CHECKING

from mqbridge.later import later

from .batch import Batch, Trigger, Undelivered, UnreadableEvent
from .pull import asks_to_pull
from .reading import fault_answer, read

if TYPE_CHECKING:
    from .http_requests import HttpRequest, HttpResponse, refused, unavailable
    from .pulled import pulled
    from .visibility import hiding_by

__all__ = [
    "Batch",
    "HttpRequest",
    "HttpResponse",
    "Trigger",
    "Undelivered",
    "UnreadableEvent",
    "asks_to_pull",
    "fault_answer",
    "hiding_by",
    "pulled",
    "read",
    "refused",
    "unavailable",
]

__getattr__ = later(
    __name__,
    {
        **dict.fromkeys(("HttpRequest", "HttpResponse", "refused", "unavailable"), "http_requests"),
        "hiding_by": "visibility",
        "pulled": "pulled",
    },
)
