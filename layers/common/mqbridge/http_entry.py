"""The handlers behind HTTP: a request of any Python web framework in, an answer out.

`http_function` is made for the `http` signature of functions-framework, which hands over a flask.Request and takes what Flask takes. It
asks of a request only what it needs, so neither is imported here.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from mqbridge.http_access import admit
from mqbridge.telemetry import logger
from mqbridge.triggers import HttpRequest, HttpResponse, UnreadableEvent

__all__ = ["Context", "Handler", "WebRequest", "http_function"]

Handler = Callable[[Any, Any], Any]

# Webhooks and brokers wait for half a minute or more; who waits longer gets the rest with the next try.
ANSWER_WITHIN_S = 30.0


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
    received = HttpRequest(method=request.method, path=request.path, headers=dict(request.headers.items()))
    try:
        admit(received)  # before the body: who may not send must not fill our memory
        response: HttpResponse = handler(replace(received, body=request.get_data()), Context())
    except UnreadableEvent as error:
        logger().error("event refused", extra={"detail": str(error)})
        response = error.answer
    return response.body, response.status, dict(response.headers)
