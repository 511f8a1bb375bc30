"""An invocation that brings no records: it asks the inbound function to read the sources of its rules itself.

`{"mqbridge": "pull"}` is what a schedule of one's own sends, bare or as the data of a CloudEvent (Knative's PingSource) or the payload of
Function Compute's time trigger. What EventBridge's schedules send of themselves asks for the same.
"""

import json
from typing import Any

from mqbridge.triggers.batch import Invocation, PullRequest
from mqbridge.triggers.fields import data_of
from mqbridge.triggers.shapes import is_publish

__all__ = ["Pull", "asks_to_pull"]

_ASKED = {"mqbridge": "pull"}
# EventBridge rules with a schedule, and EventBridge Scheduler, where no input is set.
_SCHEDULERS = ("aws.events", "aws.scheduler")


class Pull:
    """{"mqbridge": "pull"}, in one of the forms in which schedulers can send it."""

    name = "pull"

    def matches(self, event: Any) -> bool:
        """Tell whether this asks for a pull."""
        return asks_to_pull(event)

    def read(self, invocation: Invocation) -> PullRequest:
        """Return the request; its sender hears the numbers as they are."""
        del invocation
        return PullRequest(answer=dict)


def asks_to_pull(event: Any) -> bool:
    """Tell whether this asks for a pull."""
    if not isinstance(event, dict):
        return False
    if "specversion" in event:
        return not is_publish(event) and bool(data_of(event) == _ASKED)
    if "triggerTime" in event:
        return _is_asked(event.get("payload"))
    return event == _ASKED or (event.get("detail-type") == "Scheduled Event" and event.get("source") in _SCHEDULERS)


def _is_asked(payload: Any) -> bool:
    try:
        return isinstance(payload, str) and bool(json.loads(payload) == _ASKED)
    except (ValueError, RecursionError):
        return False
