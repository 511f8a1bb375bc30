"""One element of a batch as a record: a message, or why it cannot be read."""

from collections.abc import Callable
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Reject
from mqbridge.triggers.batch import UnreadableRecord
from mqbridge.triggers.shapes import read_message
from mqbridge.triggers.status_shapes import read_status

__all__ = ["record_of"]


def record_of(
    received: Any,
    *,
    id: str,  # CloudEvents' own word
    time_ms: int = 0,
    attempt: int = 1,
    first_attempt_ms: int = 0,
    parse: Callable[[Any], Any] | None = None,
) -> Record:
    """Return the record of what was received; `parse`, where it does not stand there as it is, takes the message out of it.

    `id` and `time_ms` serve the message too, where it has none of its own.
    """
    try:
        element = received if parse is None else parse(received)
        message: Any = read_status(element, time_ms=time_ms) or read_message(element, id=id, time_ms=time_ms)
    except UnreadableRecord as error:
        message = Reject("unreadable_record", str(error))
    except RecursionError:
        message = Reject("unreadable_record", "nested too deeply")
    return Record(
        id=id,
        attempt=attempt,
        first_attempt_ms=first_attempt_ms,
        message=message,
        # A dead letter holds an object: what is none is put into one.
        event=received if isinstance(received, dict) else {"received": received},
    )
