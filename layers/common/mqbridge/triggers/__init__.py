"""Triggers: which invocation event this is, what records it holds, and what its sender wants to hear back."""

from typing import TYPE_CHECKING

from mqbridge.later import later

from .batch import Batch, PullRequest, Trigger, Undelivered, UnreadableEvent
from .reading import fault_answer, read, receive, refusal

if TYPE_CHECKING:
    from .http_requests import HttpRequest, HttpResponse, refused, unavailable
    from .pulled import pulled
    from .visibility import hiding_by

__all__ = [
    "Batch",
    "HttpRequest",
    "HttpResponse",
    "PullRequest",
    "Trigger",
    "Undelivered",
    "UnreadableEvent",
    "fault_answer",
    "hiding_by",
    "pulled",
    "read",
    "receive",
    "refusal",
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
