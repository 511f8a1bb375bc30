"""What a pull has read, as the batch that every other trigger brings."""

from collections.abc import Mapping, Sequence
from typing import Any

from mqbridge.triggers.batch import Batch, Invocation
from mqbridge.triggers.cloudevents_batch import CloudEventsBatch

__all__ = ["pulled"]


class _Pulled(CloudEventsBatch):
    name = "pull"


def pulled(events: Sequence[Mapping[str, Any]]) -> Batch:
    """Return the batch of these CloudEvents, all for one rule."""
    return _Pulled().read(Invocation(list(events)))
