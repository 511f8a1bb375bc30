"""Where dead letters go: RocketMQ topics, SQS queues, buses of EventBridge. The latter two are loaded only where a rule names one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mqbridge.delivery.sinks import Sent, Sinks
from mqbridge.outcomes import Failed
from mqbridge.rules import DeadLetterQueue

if TYPE_CHECKING:
    from mqbridge.delivery.dead_letters import DeadLetter

__all__ = ["DeadLetterQueues", "OpenQueues", "queues_beside"]


@runtime_checkable
class DeadLetterQueues(Protocol):
    """All dead-letter queues; what tests put captured ones in the place of."""

    def dead_letter(self, queue: DeadLetterQueue, letters: "Sequence[DeadLetter]", deadline: float) -> list[Sent]:
        """Put `letters` into `queue` and return what became of each, in order; raises for none of them.

        Delivered means stored. `deadline` is time.monotonic seconds.
        """
        ...


class OpenQueues:
    """The real queues; RocketMQ's are reached through `sinks`, the connections that messages go out by."""

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks

    def dead_letter(self, queue: DeadLetterQueue, letters: "Sequence[DeadLetter]", deadline: float) -> list[Sent]:
        """See `DeadLetterQueues.dead_letter`."""
        if queue.kind == "rocketmq":
            instance_id, topic = queue.instance_and_topic
            messages = [letter.for_topic(instance_id, topic) for letter in letters]
            return self._sinks.send("rocketmq", instance_id, messages, deadline)
        try:
            from . import event_bus, sqs_queue

            put = sqs_queue.put if queue.kind == "sqs" else event_bus.put
            return put(queue, letters, deadline)
        except (
            Exception
        ) as error:  # a region that AWS does not have, a profile that is not there: the source keeps the records
            return [Failed("queue_failed", f"{queue.arn}: {type(error).__name__}")] * len(letters)


def queues_beside(sinks: Sinks) -> DeadLetterQueues:
    """Return the queues that belong to `sinks`: its own where it has some, as captured sinks do, else the real ones."""
    return sinks if isinstance(sinks, DeadLetterQueues) else OpenQueues(sinks)
