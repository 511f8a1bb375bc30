"""The handlers behind HTTP: a request of any Python web framework in, an answer out.

`http_function` is made for the `http` signature of functions-framework, which hands over a flask.Request and takes what Flask takes. It
asks of a request only what it needs, so neither is imported here.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from mqbridge.triggers import HttpRequest, HttpResponse

__all__ = ["FC_HEADERS", "Context", "Handler", "WebRequest", "http_function"]

Handler = Callable[[Any, Any], Any]

# Webhooks and brokers wait for half a minute or more; who waits longer gets the rest with the next try.
ANSWER_WITHIN_S = 30.0
# Function Compute's own headers, which a sender elsewhere could only have made up: they say that no token is needed.
FC_HEADERS = "x-fc-"


class WebRequest(Protocol):
    """What flask.Request has, and Werkzeug's."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def headers(self) -> Any: ...

    def get_data(self) -> bytes: ...


class Context:
    """What a handler asks of its context, for one request: an id, and how much time is left."""

    def __init__(self, request_id: str = "", time_s: float = ANSWER_WITHIN_S) -> None:
        self.request_id = request_id or uuid.uuid4().hex
        self._end = time.monotonic() + time_s

    def get_remaining_time_in_millis(self) -> float:
        """Return the milliseconds left, 0 if there are none."""
        return max(0.0, self._end - time.monotonic()) * 1000


def http_function(handler: Handler, request: WebRequest) -> tuple[str, int, dict[str, str]]:
    """Have `handler` answer a request, and return body, status and headers, as Flask takes them.

    200 all done, 503 with Retry-After something may still succeed, 400 it never can, 401 no valid token; docs/triggers.md has the rest.
    """
    received = HttpRequest(
        method=request.method,
        path=request.path,
        headers={name: value for name, value in request.headers.items() if not name.lower().startswith(FC_HEADERS)},
        body=request.get_data(),
    )
    response: HttpResponse = handler(received, Context())
    return response.body, response.status, dict(response.headers)
