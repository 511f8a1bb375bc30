"""What a worker needs of a source."""

from collections.abc import Sequence
from typing import Protocol

from mqbridge_cli.runner.lanes import Item

__all__ = ["Source"]


class Source(Protocol):
    """Where a rule's records come from. It puts them into its inbox, and keeps each until it is settled.

    It has no thread of its own: the worker drives it between batches, and the keeper while a batch takes long.
    """

    def pump(self, timeout_s: float) -> None:
        """Keep the connection up, connecting for ever, and wait up to `timeout_s` for records; return when some have come."""
        ...

    def settle(self, items: Sequence[Item]) -> None:
        """The records are delivered, dropped or dead-lettered: acknowledge them."""
        ...

    def refuse(self, item: Item) -> bool:
        """The record can never be delivered, and no dead-letter queue has it: keep it where an operator finds it.

        Returns whether the source is done with it; if not, it stays unsettled.
        """
        ...

    def stop_reading(self) -> None:
        """Take no more records; acknowledgements still go out."""
        ...

    def close(self) -> None:
        """Send what is left to acknowledge, and disconnect."""
        ...
