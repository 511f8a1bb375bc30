"""HTTP by way of an event: Amazon API Gateway's, a Lambda function URL's, a load balancer's, and Function Compute's HTTP trigger.

Shapes: payload format 1.0 (`httpMethod`, also of load balancers) and 2.0 (`requestContext.http.method`, also of function URLs and, of its
own version "v1", of Function Compute) of the API Gateway Developer Guide. A body that is not text comes in Base64. All four take the same
answer.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Settled
from mqbridge.triggers.batch import Answering, Batch, Invocation, PullRequest, UnreadableEvent
from mqbridge.triggers.http import Http
from mqbridge.triggers.http_requests import HttpRequest, HttpResponse, refused, unavailable

__all__ = ["ApiGateway"]


class ApiGateway:
    """{"requestContext": {"http": {"method": "POST", ...}}, "headers", "body", "isBase64Encoded"}, or with "httpMethod"."""

    name = "http"

    def matches(self, event: Any) -> bool:
        """Tell whether this is an HTTP request as an event."""
        context = event.get("requestContext") if isinstance(event, dict) else None
        return isinstance(context, dict) and (
            isinstance(context.get("http"), dict) or isinstance(event.get("httpMethod"), str)
        )

    def read(self, invocation: Invocation) -> Batch | PullRequest:
        """Return one record per event in the request's body.

        Raises:
            UnreadableEvent: there is none; its answer is what the gateway takes.
        """
        try:
            read = Http().read(invocation.of(_request(invocation.event)))
        except UnreadableEvent as error:
            raise UnreadableEvent(str(error), answer=_answer(error.answer)) from error
        if isinstance(read, PullRequest):
            return PullRequest(answer=lambda numbers: _answer(read.answer(numbers)))
        return Batch(trigger=_Answering(read.trigger), records=read.records, only_rule=read.only_rule)

    def unavailable(self, event: Any, why: str) -> Mapping[str, Any]:
        """Return the answer to a request for which nothing could be done."""
        del event  # it may be the reason
        return _answer(unavailable(HttpRequest(), why))

    def refusal(self, event: Any, why: str) -> Mapping[str, Any]:
        """Return the answer to a request that can never be answered otherwise."""
        del event
        return _answer(refused(HttpRequest(), why).answer)


class _Answering:
    def __init__(self, served: Answering) -> None:
        self.name = served.name
        self._served = served

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Mapping[str, Any]:
        return _answer(self._served.respond(settled, deadline))


def _request(event: Mapping[str, Any]) -> HttpRequest:
    http = event["requestContext"].get("http")
    method = http.get("method") if isinstance(http, dict) else event.get("httpMethod")
    path = event.get("rawPath") or event.get("path")
    request = HttpRequest(
        method=method if isinstance(method, str) else "POST",
        path=path if isinstance(path, str) else "/",
        headers=_headers(event),
        is_vouched_for=_is_vouched_for(event["requestContext"]),
    )
    body = event.get("body")
    if body is None:
        body = ""
    if not isinstance(body, str):
        raise refused(request, f"body: expected text, got a {type(body).__name__}")
    try:
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") is True else body.encode()
    except (binascii.Error, ValueError) as error:
        raise refused(request, "body: expected Base64, as isBase64Encoded says, or Unicode text") from error
    return replace(request, body=content)


def _is_vouched_for(context: Mapping[str, Any]) -> bool:
    """Tell whether the gateway says who calls: IAM (also of function URLs), Cognito, a JWT or an authorizer of one's own.

    What stands in requestContext is the gateway's: a caller cannot write it.
    """
    identity = context.get("identity")
    # Payload format 1.0 has the caller that IAM knows in `identity`, and no authorizer.
    return bool(context.get("authorizer")) or (isinstance(identity, dict) and bool(identity.get("userArn")))


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    # A load balancer may send multiValueHeaders instead of headers.
    single, several = event.get("headers"), event.get("multiValueHeaders")
    if isinstance(single, dict):
        return {name: value for name, value in single.items() if isinstance(name, str) and isinstance(value, str)}
    if not isinstance(several, dict):
        return {}
    return {
        name: ",".join(values)
        for name, values in several.items()
        if isinstance(name, str) and isinstance(values, list) and all(isinstance(each, str) for each in values)
    }


def _answer(response: HttpResponse) -> Mapping[str, Any]:
    return {
        "statusCode": response.status,
        "headers": dict(response.headers),
        "body": response.body,
        "isBase64Encoded": False,
    }
