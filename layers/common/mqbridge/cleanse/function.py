"""Function: a function of the deployment, in Python or on AWS Lambda, decides what becomes of an event."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mqbridge import json_text
from mqbridge.events import TaskEvent

from .changes import body_of, kind_of, split_into
from .json_values import NotJson, copied
from .operators import MAX_PARTS, InvalidOperator, Rejected, Unavailable
from .outside import Outside

__all__ = ["LambdaFunction", "PythonFunction"]

# Only the package `transforms`: a rules document must not be able to call whatever is installed.
_PYTHON = re.compile(r"python:(transforms(?:\.[A-Za-z_][A-Za-z0-9_]*)+):([A-Za-z_][A-Za-z0-9_]*)")
_TIMED_OUT = "Sandbox.Timedout"


class PythonFunction:
    """Call a function of the package `transforms`, with a copy of the event.

    What it raises is the event's fault, and so is an answer that is no event; the function raises Unavailable to be called again later.
    """

    name: ClassVar[str] = "Function"

    def __init__(self, arn: str, outside: Outside) -> None:
        found = _PYTHON.fullmatch(arn)
        if found is None:
            raise InvalidOperator(("Arn",), "python:transforms.MODULE:FUNCTION", repr(arn))
        self._arn = arn
        self._module, self._function = found.groups()
        self._outside = outside

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        function = self._outside.function(self._module, self._function)
        try:
            value = copied(event.value)
        except NotJson as error:
            raise Rejected("not_json", str(error)) from None
        try:
            answer = function(value)
        except Unavailable:
            raise Unavailable("function_unavailable", f"{self._arn}: asked to be called again later") from None
        except (Exception, SystemExit) as error:  # whatever it raises; its text may quote the event
            raise Rejected("function_failed", f"{self._arn}: {type(error).__name__}") from None
        return _events(self._arn, event, answer)


class LambdaFunction:
    """Invoke a Lambda function with the event, and wait for its answer."""

    name: ClassVar[str] = "Function"

    def __init__(self, arn: str, outside: Outside) -> None:
        self._arn = arn
        self._outside = outside

    def apply(self, event: TaskEvent) -> Sequence[TaskEvent]:
        try:
            payload = json_text.encode(event.value).encode()
        except json_text.InvalidJson as error:
            raise Rejected(
                "not_json", f"expected an event that can be written as JSON, got one that is {error}"
            ) from None
        answer = self._outside.invoke(self._arn, payload)
        try:
            content = json_text.decode(answer.payload)
        except json_text.InvalidJson as error:
            if not answer.is_failure:
                raise _junk(self._arn, f"expected JSON, got other text ({error})") from None
            content = None
        if answer.is_failure:
            raise self._failure(content)
        return _events(self._arn, event, content)

    def _failure(self, content: Any) -> Rejected | Unavailable:
        kind = content.get("errorType") if isinstance(content, dict) else None
        if not isinstance(kind, str) or not re.fullmatch(r"[A-Za-z0-9_.]{1,100}", kind):
            kind = "it says no error type"
        if kind == _TIMED_OUT:  # which says nothing of the event
            return Unavailable("function_unavailable", f"{self._arn}: {kind}")
        return Rejected("function_failed", f"{self._arn}: {kind}")


def _events(arn: str, event: TaskEvent, answer: Any) -> Sequence[TaskEvent]:
    if answer is None:
        return ()
    if not isinstance(answer, list | tuple):
        return (_event(arn, event, answer),)
    if len(answer) > MAX_PARTS:
        raise _junk(arn, f"expected at most {MAX_PARTS} events, got {len(answer)}")
    return [split_into(_event(arn, event, each), at) for at, each in enumerate(answer)]


def _event(arn: str, event: TaskEvent, answer: Any) -> TaskEvent:
    if not isinstance(answer, dict):
        raise _junk(arn, f"expected an event, which is an object, got {kind_of(answer)}")
    if "data" not in answer:
        raise _junk(arn, "expected an event, which has data, got an object without")
    try:
        value = copied(answer)  # the function may keep what it returned, and change it later
    except NotJson as error:
        raise _junk(arn, error) from None
    payload = event.payload if event.payload is not None and _is_same_body(event.value, value) else None
    return event._replace(value=value, payload=payload)


def _is_same_body(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether the bodies are the same JSON: 1, 1.0 and true are not."""
    try:
        return body_of(before) is body_of(after) or json_text.encode(body_of(before)) == json_text.encode(
            body_of(after)
        )
    except (json_text.InvalidJson, TypeError):  # too deep; no body in one of them
        return False


def _junk(arn: str, what: object) -> Rejected:
    return Rejected("function_returned_junk", f"{arn}: {what}")
