"""A bus of EventBridge as a dead-letter queue: event and envelope are the detail."""

from collections.abc import Mapping, Sequence

from mqbridge.delivery.aws import events_client, put_in_batches
from mqbridge.delivery.dead_letters import DeadLetter
from mqbridge.delivery.sinks import Sent
from mqbridge.rules import DeadLetterQueue

__all__ = ["DETAIL_TYPE", "SOURCE", "put"]

SOURCE = "mqbridge"
DETAIL_TYPE = "mqbridge dead letter"


def put(queue: DeadLetterQueue, letters: Sequence[DeadLetter], deadline: float) -> list[Sent]:
    """Put letters on the bus; see `DeadLetterQueues.dead_letter`."""

    def send(details: Sequence[str]) -> Mapping[int, str]:
        answer = events_client(queue.region).put_events(
            Entries=[
                {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail, "EventBusName": queue.arn}
                for detail in details
            ]
        )
        return {
            at: f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')[:200]}"
            for at, entry in enumerate(answer.get("Entries", []))
            if entry.get("ErrorCode")
        }

    details = [letter.for_bus() for letter in letters]
    # What an entry has beside its detail counts for the call too.
    sizes = [len(detail.encode()) + len(SOURCE) + len(DETAIL_TYPE) + len(queue.arn) for detail in details]
    return put_in_batches(list(zip(details, sizes, strict=True)), send, deadline)
