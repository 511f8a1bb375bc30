"""Sinks that remember of each instance whether the last call that sent to it was answered, for mqbridge_broker_connected."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mqbridge.delivery import Outgoing, Sent, Sinks
from mqbridge.outcomes import Delivered
from mqbridge.telemetry import sink_label

__all__ = ["ANSWERED", "NO_ANSWER", "Contact", "WatchedSinks", "was_answered"]

# Reasons of what a broker refused, and of what failed because there was no connection, or no more. Others tell nothing.
ANSWERED = frozenset({"broker_busy", "broker_forbids", "broker_refused", "topic_not_found"})
NO_ANSWER = frozenset(
    {"cannot_connect", "connect_failed", "connection_lost", "outcome_unknown", "protocol_error", "transport_error"}
)


class Contact(NamedTuple):
    """When an instance was sent to (time.monotonic), and whether it answered."""

    at: float
    is_answered: bool


class WatchedSinks:
    """`sinks`, watched; used by one thread, looked at by any."""

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks
        self._contacts: dict[str, Contact] = {}

    @property
    def contacts(self) -> Mapping[str, Contact]:
        """The last contact with each instance that was sent to, by the instance's label."""
        return self._contacts.copy()

    def send(self, kind: str, instance_id: str, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """See `Sinks.send`."""
        sent = self._sinks.send(kind, instance_id, messages, deadline)
        is_answered = was_answered(sent)
        if is_answered is not None:
            self._contacts[sink_label(kind, instance_id)] = Contact(time.monotonic(), is_answered)
        return sent


def was_answered(sent: Sequence[Sent]) -> bool | None:
    """Tell whether a call shows the instance to be connected; None if it shows nothing, as where nothing was sent."""
    if any(type(outcome) is Delivered for outcome in sent):
        return True
    reasons = {outcome.reason for outcome in sent if not isinstance(outcome, Delivered)}
    return False if reasons & NO_ANSWER else True if reasons & ANSWERED else None
