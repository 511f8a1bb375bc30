"""The events that an HTTP request brings: CloudEvents in their three modes, EMQX's objects, or messages in any other shape as JSON.

CloudEvents: the HTTP protocol binding 1.0, sections 3.1 (binary), 3.2 (structured) and 3.3 (batched). In binary mode the body is the data
and the headers `ce-...` are the attributes.
"""

import base64
import json
import re
from typing import Any
from urllib.parse import unquote

from mqbridge.triggers.batch import UnreadableEvent
from mqbridge.triggers.cloudevents_batch import only_rule_of
from mqbridge.triggers.fields import is_cloud_event
from mqbridge.triggers.http_requests import HttpRequest, refused
from mqbridge.triggers.pull import asks_to_pull
from mqbridge.triggers.shapes import is_message, is_wrapped
from mqbridge.triggers.status_shapes import is_status

__all__ = ["elements_of", "rule_of"]

_EXPECTED = (
    "CloudEvents in binary (ce-... headers), structured (application/cloudevents+json) or batched mode "
    "(application/cloudevents-batch+json), or as JSON an event of EMQX, an event about a client, or messages in another shape"
)
_ATTRIBUTE = "ce-"
_NO_ATTRIBUTES = frozenset({"ce-data", "ce-data_base64"})  # the data is the body


def elements_of(request: HttpRequest) -> list[Any]:
    """Return the elements of a request's batch; a single event is a batch of one, and so is what asks for a pull.

    Raises:
        UnreadableEvent: it brings no event; its answer is an HttpResponse.
    """
    if request.method.upper() != "POST":
        raise refused(request, f"expected POST, got {request.method[:20]}", 405, {"allow": "POST"})
    media_type = request.header("content-type").partition(";")[0].strip().lower()
    # The binding, 3: the content type says which mode it is, and only without one of CloudEvents' do the headers.
    if request.header("ce-specversion") and not media_type.startswith("application/cloudevents"):
        return [_binary(request)]
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise refused(request, f"the body is not JSON: expected {_EXPECTED}") from error
    if media_type == "application/cloudevents+json":
        is_expected = isinstance(body, dict) and "specversion" in body
    elif media_type == "application/cloudevents-batch+json":
        is_expected = isinstance(body, list) and (not body or any(map(is_cloud_event, body)))
    else:
        is_expected = any(map(_is_event, body)) if isinstance(body, list) else _is_event(body) or asks_to_pull(body)
    if not is_expected:
        raise refused(request, f"the body holds no event: expected {_EXPECTED}")
    return body if isinstance(body, list) else [body]


def rule_of(request: HttpRequest, elements: list[Any]) -> str | None:
    """Return the rule that CloudEvents are meant for by their extension `mqbridgerule`, None for all rules.

    Raises:
        UnreadableEvent: they are meant for different rules; its answer is an HttpResponse.
    """
    try:
        return only_rule_of([each for each in elements if is_cloud_event(each)])
    except UnreadableEvent as error:
        raise refused(request, str(error)) from error


def _is_event(element: Any) -> bool:
    return is_message(element) or is_status(element)


def _value(written: str) -> str:
    """Return the value of an attribute: the binding, 3.1.3.2, has receivers take off quotes first, then decode per cent signs once."""
    is_quoted = len(written) > 1 and written[0] == written[-1] == '"'
    return unquote(re.sub(r"\\(.)", r"\1", written[1:-1]) if is_quoted else written)


def _binary(request: HttpRequest) -> dict[str, Any]:
    event: dict[str, Any] = {
        name.lower().removeprefix(_ATTRIBUTE): _value(value)
        for name, value in request.headers.items()
        if name.lower().startswith(_ATTRIBUTE) and name.lower() not in _NO_ATTRIBUTES
    }
    content_type = request.header("content-type")
    if content_type:
        event["datacontenttype"] = content_type
    try:
        data = json.loads(request.body)
    except (ValueError, RecursionError):
        data = None
    # Of what is no message itself, every byte is payload.
    if is_wrapped(data):
        return event | {"data": data}
    return event | {"data_base64": base64.b64encode(request.body).decode()}
