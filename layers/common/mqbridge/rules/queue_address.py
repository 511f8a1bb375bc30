"""The addresses of dead-letter queues: which kinds there are, and why another cannot be one."""

import re
from dataclasses import replace
from typing import Any

from .faults import Fault, Path
from .kinds import INVALID, Text

__all__ = ["QUEUE_ADDRESS"]

_TOPIC = r"acs:mq:[^:]*:[^:]*:/instances/[a-zA-Z0-9_-]+/topic/[%|a-zA-Z0-9_-]{1,127}"
_AWS = r"arn:aws(-cn|-us-gov)?"
_PLACE = r"[a-z0-9-]+:[0-9]{12}"
# CreateQueue: at most 80 characters, the suffix among them. CreateEventBus: at most 256.
_QUEUE = rf"{_AWS}:sqs:{_PLACE}:([a-zA-Z0-9_-]{{1,80}}|[a-zA-Z0-9_-]{{1,75}}\.fifo)"
_BUS = rf"{_AWS}:events:{_PLACE}:event-bus/[a-zA-Z0-9_./-]{{1,256}}"

_WHAT = (
    "acs:mq:REGION:ACCOUNT:/instances/INSTANCE/topic/TOPIC, arn:aws:sqs:REGION:ACCOUNT:QUEUE "
    "or arn:aws:events:REGION:ACCOUNT:event-bus/NAME"
)
# Alibaba's tasks have these kinds too; each needs a client of its own, which no function here ships.
_WHY_NOT = (
    (r"acs:mns:", "an SMQ (MNS) queue cannot be written from here"),
    (r"acs:(alikafka|kafka):", "a Kafka topic cannot be written from here"),
    (r"acs:eventbridge:", "an event bus of Alibaba Cloud cannot be written from here; one of AWS can"),
    (r"arn:aws[a-z-]*:sns:", "a topic of SNS keeps nothing; name a queue that subscribes to it"),
    (r"arn:aws[a-z-]*:(sqs|events):", "the region, the account's 12 digits and the name must be as AWS shows them"),
)


class _QueueAddress(Text):
    """Text of one of the three forms; a fault says why another known kind of queue cannot be one."""

    def read(self, value: Any, path: Path, faults: list[Fault]) -> Any:
        """Return the address."""
        read = super().read(value, path, faults)
        if read is INVALID and isinstance(value, str):
            why = next((why for pattern, why in _WHY_NOT if re.match(pattern, value)), "")
            faults[-1] = replace(faults[-1], help=why)
        return read


QUEUE_ADDRESS = _QueueAddress(_WHAT, f"{_TOPIC}|{_QUEUE}|{_BUS}")
