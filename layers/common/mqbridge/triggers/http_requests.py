"""One HTTP request and the answer to it, free of any server: what triggers over HTTP have in common.

Senders understand status codes only, and not the same: EMQX tries again after 429 and 503 and drops the message after any other failure
(emqx_bridge_http_connector); CloudEvents brokers try again by their own policy. So what may succeed later is 503 with Retry-After, and
400 is left for what can never succeed and could be dead-lettered nowhere.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Reject, Settled
from mqbridge.triggers.batch import TRY_AGAIN, UnreadableEvent

__all__ = ["HttpRequest", "HttpResponse", "done", "refused", "response_to", "unavailable"]

_JSON = {"content-type": "application/json"}
MAX_NAMED = 100
FAULT_RETRY_S = 10
MAX_DETAIL_LENGTH = 300
# Function Compute's header in the answer of a custom runtime: without it, it counts any answer as a success.
_FC_STATUS = "x-fc-status"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as a server has received it; `headers` have any case, `path` has no query.

    `is_vouched_for`: the gateway that hands it on has authenticated its sender. `is_from_fc`: Function Compute hands it to a custom
    runtime, where nobody else can reach the server. No header says either: anybody may write one.
    """

    method: str = "POST"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # one of them is a secret
    body: bytes = field(default=b"", repr=False)
    is_vouched_for: bool = False
    is_from_fc: bool = False

    def header(self, name: str) -> str:
        """Return a header's value, "" if there is none."""
        return next((value for each, value in self.headers.items() if each.lower() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What a server is to answer."""

    status: int
    headers: Mapping[str, str]
    body: str

    def for_fc(self) -> "HttpResponse":
        """Return the same with the header by which a custom runtime of Function Compute tells success (200) from failure (404)."""
        status = "200" if self.status < 300 else "404"
        return HttpResponse(status=self.status, headers={**self.headers, _FC_STATUS: status}, body=self.body)


def response_to(request: HttpRequest, settled: Sequence[tuple[Record, Settled]]) -> HttpResponse:
    """Return 200 if all is done, 503 while anything may still succeed, else 400; the body names what failed, and why."""
    left = [(record, outcome) for record, outcome in settled if isinstance(outcome, Failed | Reject)]
    delays_s = [outcome.retry_after_s for _, outcome in left if isinstance(outcome, Failed)]
    status = 503 if delays_s else 400 if left else 200
    # The longest: the sender repeats all of it, and none is to come before its time.
    retry = {"retry-after": str(max(1, math.ceil(max(delays_s))))} if delays_s else {}
    failed = [
        {"id": record.id, "reason": outcome.reason, "detail": outcome.detail[:MAX_DETAIL_LENGTH]}
        for record, outcome in left[:MAX_NAMED]
    ]
    return _response(request, status, retry, {"records": len(settled), "failed": failed})


def done(request: HttpRequest, result: Mapping[str, Any]) -> HttpResponse:
    """Return 200 with a result."""
    return _response(request, 200, {}, result)


def refused(
    request: HttpRequest, why: str, status: int = 400, headers: Mapping[str, str] | None = None
) -> UnreadableEvent:
    """Return the error for a request that brings no event, with its answer."""
    return UnreadableEvent(why, answer=_response(request, status, headers or {}, {"error": why}))


def unavailable(request: HttpRequest, why: str = TRY_AGAIN) -> HttpResponse:
    """Return the answer when nothing could be done, for a reason that is not the request's."""
    return _response(request, 503, {"retry-after": str(FAULT_RETRY_S)}, {"error": why})


def _response(request: HttpRequest, status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> HttpResponse:
    response = HttpResponse(status=status, headers={**_JSON, **headers}, body=json.dumps(body))
    return response.for_fc() if request.is_from_fc else response
