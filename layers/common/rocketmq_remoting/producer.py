"""Send messages: one outcome for each, in the order given; the rounds of it are in `sending`."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from .client import Client
from .lanes import worth_another_try
from .messages import Message
from .names import check_group
from .sending import Round, Sender, SendOutcome

__all__ = ["Producer", "SendOutcome"]

MAX_BATCH_MESSAGES = 1_000
MAX_REQUESTS = 64


class Producer:
    """A producer of one group. Not for several threads at once.

    Nothing is sent twice within a call unless the first try's connection broke; then a duplicate with the same message id is possible.

    Args:
        client: connections to the cluster.
        group: the producer group's name.
        clock: gives the time, in Unix seconds, that messages are born at.
        max_batch_messages: that many messages of a topic travel in one request at most, and are stored together; 1 sends each by itself.
        max_requests: that many requests to one broker may wait for their answers at the same time.
        on_retry: called with the name of an error and how many messages are sent once more because of it.
    """

    def __init__(
        self,
        client: Client,
        group: str = "mqbridge",
        clock: Callable[[], float] = time.time,
        *,
        max_batch_messages: int = MAX_BATCH_MESSAGES,
        max_requests: int = MAX_REQUESTS,
        on_retry: Callable[[str, int], None] | None = None,
    ) -> None:
        check_group(group)
        if max_batch_messages < 1 or max_requests < 1:
            raise ValueError(
                f"max_batch_messages, max_requests: expected at least 1, got {max_batch_messages}, {max_requests}"
            )
        self._client = client
        self._on_retry = on_retry
        self._sender = Sender(
            client=client, group=group, clock=clock, max_batch_messages=max_batch_messages, max_requests=max_requests
        )

    def send(self, messages: Iterable[Message], deadline: float) -> list[SendOutcome]:
        """Send `messages` and return their outcomes in the same order; never raises for one of them.

        Messages with the same sharding key are stored in the order given, and none overtakes an earlier one that failed, unless that
        one was illegal: it will never be sent, and holds nothing back.

        Args:
            messages: any number, of any topics. They are taken one by one, while earlier ones are on their way.
            deadline: time.monotonic seconds by which everything is answered.
        """
        outcomes: list[SendOutcome] = []
        first = Round(self._sender, outcomes, deadline)
        first.send(enumerate(messages))
        again = worth_another_try(first.failed, first.spoilt)
        if again and time.monotonic() < deadline:
            if self._on_retry is not None:
                for name, amount in Counter(first.failed[place][1].name for place, _ in again).items():
                    self._on_retry(name, amount)
            Round(self._sender, outcomes, deadline, fresh_routes=True, to_go_alone=first.spoilt).send(again)
        return outcomes

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
