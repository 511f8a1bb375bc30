"""Function Compute's custom runtime and custom container: the invocation of an event function is an HTTP request, its body the event.

The specification's request header `x-fc-control-path` is `/invoke` for events and `/http-invoke` for what an HTTP trigger passes on, which
is a request like any other. Nothing else tells them apart: anybody may choose a path, but nobody else's `x-fc-...` gets to such a server.

Status 404 and the header `x-fc-status: 404` say that the function failed; without the header every answer counts as a success, and the
event would be lost.
"""

import json
from collections.abc import Sequence
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Settled
from mqbridge.triggers.batch import Answering, Batch, Invocation, PullRequest, Undelivered, UnreadableEvent
from mqbridge.triggers.http_requests import HttpRequest, HttpResponse

__all__ = ["FcCustomRuntime"]

_FAILED = 404


class FcCustomRuntime:
    """HttpRequest(is_from_fc=True, headers={"x-fc-request-id": ..., "x-fc-control-path": "/invoke"}, body=<any other event>)."""

    name = "fc_custom_runtime"

    def matches(self, event: Any) -> bool:
        """Tell whether this is such a request."""
        return isinstance(event, HttpRequest) and event.is_from_fc and event.header("x-fc-control-path") == "/invoke"

    def read(self, invocation: Invocation) -> Batch | PullRequest:
        """Return the records of the event in the body.

        Raises:
            UnreadableEvent: it is none; its answer is an HttpResponse.
        """
        from mqbridge.triggers.reading import receive  # here, because it reads what comes here, too

        request: HttpRequest = invocation.event
        try:
            batch = receive(request.body, request_id=request.header("x-fc-request-id"))
        except UnreadableEvent as error:
            # An HTTP trigger's event knows its own answer.
            answer = _answer(_FAILED, str(error)) if error.answer is None else _answer(200, error.answer)
            raise UnreadableEvent(str(error), answer=answer) from error
        if isinstance(batch, PullRequest):
            return PullRequest(answer=lambda numbers: _answer(200, batch.answer(numbers)))
        return Batch(
            trigger=_Answering(batch.trigger),
            records=batch.records,
            only_rule=batch.only_rule,
            groups=batch.groups,
        )

    def unavailable(self, event: Any, why: str) -> HttpResponse:
        """Return that the function failed."""
        del event  # it may be the reason
        return _answer(_FAILED, why)

    def refusal(self, event: Any, why: str) -> HttpResponse:
        """Return that the function failed, and why: there is nothing else that the platform understands."""
        del event
        return _answer(_FAILED, why)


class _Answering:
    def __init__(self, served: Answering) -> None:
        self.name = served.name
        self._served = served

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> HttpResponse:
        try:
            return _answer(200, self._served.respond(settled, deadline))
        except Undelivered as error:
            return _answer(_FAILED, str(error))


def _answer(status: int, result: Any) -> HttpResponse:
    body = {"errorMessage": result, "errorType": "Undelivered"} if status == _FAILED else result
    headers = {"content-type": "application/json"}
    return HttpResponse(status=status, headers=headers, body=json.dumps(body)).for_fc()
