"""HTTP, whoever serves it: an HttpRequest in, an HttpResponse out. EMQX's webhooks and HTTP sinks, CloudEvents, anything that posts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Settled
from mqbridge.triggers.batch import Batch, Invocation, PullRequest
from mqbridge.triggers.emqx import is_emqx
from mqbridge.triggers.fields import is_cloud_event
from mqbridge.triggers.http_body import elements_of, rule_of
from mqbridge.triggers.http_requests import HttpRequest, HttpResponse, done, refused, response_to, unavailable
from mqbridge.triggers.pull import asks_to_pull
from mqbridge.triggers.records import record_of

__all__ = ["Http"]


class Http:
    """HttpRequest(method="POST", headers={...}, body=b"...")."""

    name = "http"

    def matches(self, event: Any) -> bool:
        """Tell whether this is a request."""
        return isinstance(event, HttpRequest)

    def read(self, invocation: Invocation) -> Batch | PullRequest:
        """Return one record per event in the request's body.

        Raises:
            UnreadableEvent: there is none, or its sender may not send; its answer is an HttpResponse.
        """
        request: HttpRequest = invocation.event
        invocation.admit(request)
        elements = elements_of(request)
        if len(elements) == 1 and asks_to_pull(elements[0]):
            return PullRequest(answer=partial(done, request))
        return Batch(
            trigger=_Answering(_kind(elements), request),
            records=tuple(record_of(each, id=_id_of(each) or invocation.id_of(at)) for at, each in enumerate(elements)),
            only_rule=rule_of(request, elements),
        )

    def unavailable(self, event: Any, why: str) -> HttpResponse:
        """Return the answer to a request for which nothing could be done."""
        return unavailable(event, why)

    def refusal(self, event: Any, why: str) -> HttpResponse:
        """Return the answer to a request that can never be answered otherwise."""
        answer: HttpResponse = refused(event, why).answer
        return answer


@dataclass(frozen=True, slots=True)
class _Answering:
    name: str
    request: HttpRequest

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> HttpResponse:
        del deadline  # nothing is asked of anybody
        return response_to(self.request, settled)


def _kind(elements: Sequence[Any]) -> str:
    if elements and all(map(is_cloud_event, elements)):
        return "http_cloudevents"
    return "http_emqx" if elements and all(map(is_emqx, elements)) else "http"


def _id_of(element: Any) -> str:
    found = element.get("id") if isinstance(element, dict) else None
    return found if isinstance(found, str) else ""
