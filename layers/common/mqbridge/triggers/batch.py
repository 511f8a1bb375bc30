"""What every trigger reads an invocation into, and the errors of reading and of answering."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from mqbridge.messages import Record
from mqbridge.outcomes import Settled

if TYPE_CHECKING:
    from mqbridge.triggers.http_requests import HttpRequest

from mqbridge.values import Value

__all__ = [
    "TRY_AGAIN",
    "Answering",
    "Batch",
    "Invocation",
    "PullRequest",
    "Trigger",
    "Undelivered",
    "UnreadableEvent",
    "UnreadableRecord",
]


# To senders for whom nothing could be done now, for a reason that is not theirs to know.
TRY_AGAIN = "try again later"


class UnreadableEvent(Exception):
    """The invocation's event is none that a trigger sends. Raised, so that the platform keeps it: never a silent success.

    `answer` is what the sender wants to hear instead, where it knows answers rather than errors (HTTP); None where it does not.
    """

    def __init__(self, message: str, answer: Any = None) -> None:
        super().__init__(message)
        self.answer = answer


class UnreadableRecord(Exception):
    """One element of a batch cannot be read; the message says what was expected and what came."""


class Undelivered(Exception):
    """Something of the invocation was neither delivered nor dead-lettered, and its platform understands nothing but an error."""


class Invocation:
    """An event as the platform handed it over.

    Args:
        event: parsed.
        raw: the bytes that it was parsed from, where it came as such: only Function Compute hands over bytes.
        request_id: the platform's id of the invocation, the same on its own retries; "" if unknown.
        admit: says who may send requests; None admits everybody.
    """

    def __init__(
        self,
        event: Any,
        *,
        raw: bytes | None = None,
        request_id: str = "",
        admit: "Callable[[HttpRequest], None] | None" = None,
    ) -> None:
        self.event = event
        self.raw = raw
        self._request_id = request_id
        self._admit = admit

    def of(self, event: Any) -> "Invocation":
        """Return the same invocation with what stands in its event."""
        return Invocation(event, request_id=self._request_id, admit=self._admit)

    def admit(self, request: "HttpRequest") -> None:
        """Return if the sender of `request` may send.

        Raises:
            UnreadableEvent: it may not, or nobody can tell; its answer is an HttpResponse.
        """
        if self._admit is not None:
            self._admit(request)

    def id_of(self, place: int = 0) -> str:
        """Return the id of the record at `place`, where it has none of its own: the same when the platform tries again."""
        return f"{self._request_id}/{place}" if self._request_id else self.digest_id_of(place)

    def digest_id_of(self, place: int) -> str:
        """Return an id that follows from what the whole event holds, for platforms that try again under another request id."""
        return f"{self._digest}/{place}"

    @cached_property
    def _digest(self) -> str:
        if self.raw is not None:
            return sha256(self.raw).hexdigest()
        try:
            return sha256(json.dumps(self.event, sort_keys=True).encode()).hexdigest()
        except (TypeError, ValueError, RecursionError):  # nested too deeply to be written again
            return os.urandom(32).hex()


class Answering(Protocol):
    """Who answers for a batch: the trigger itself, or what it made for the one invocation."""

    @property
    def name(self) -> str:
        """The trigger's name, fit for a metric label."""
        ...

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Any:
        """Return what the platform understands.

        Args:
            settled: what became of each record.
            deadline: time.monotonic seconds at which the platform ends the invocation; None if it does not say.

        Raises:
            Undelivered: the platform understands nothing but an error.
        """
        ...


class Batch(Value):
    """The records of one invocation, and who answers for them. With `only_rule`, they are meant for that rule alone.

    `groups`, where the source keeps order, says for each record which group it is of: of one group, none may be carried out after an
    earlier one has failed. "" is of no group.
    """

    trigger: Answering
    records: tuple[Record, ...]
    only_rule: str | None = None
    groups: tuple[str, ...] = ()


class PullRequest(Value):
    """An invocation that brings no records: it asks the inbound function to read the sources of its rules itself.

    `answer` makes of the numbers of a pull what the sender wants to hear.
    """

    answer: Callable[[Mapping[str, int]], Any]


class Trigger(Protocol):
    """One module per kind of invocation event."""

    name: str

    def matches(self, event: Any) -> bool:
        """Tell whether this is the trigger's envelope; the first of the list that says so has it."""
        ...

    def read(self, invocation: Invocation) -> Batch | PullRequest:
        """Return the records; one that cannot be read carries a Reject instead of a message.

        Raises:
            UnreadableEvent: the envelope is the trigger's, and cannot be read.
        """
        ...
