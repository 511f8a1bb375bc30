"""Which instance an event belongs to that may not say so."""

from collections.abc import Mapping
from typing import Any

from mqbridge.outcomes import Reject

__all__ = ["named_or_only"]


def named_or_only(instance_id: str, instances: Mapping[str, Any], kind: str) -> str | Reject:
    """Return the instance that the event names, or the only one of its kind; without a name and several to choose from, reject."""
    if instance_id:
        return instance_id
    if len(instances) == 1:
        return next(iter(instances))
    names = ", ".join(instances) or "none is configured"
    return Reject("instance_missing", f"instanceId: expected one of the {kind} instances ({names}), got none")
