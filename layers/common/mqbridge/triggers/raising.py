"""The answer to platforms that understand one only: an error, after which they try the whole event again, or keep it by their own policy.

AWS's asynchronous invocations (AWS IoT rules, EventBridge) and Function Compute's triggers are such. What can never succeed has been
dead-lettered by then; nothing waits here, since that would be billed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Reject, Settled
from mqbridge.triggers.batch import Undelivered

__all__ = ["Raising"]

MAX_NAMED = 5
MAX_REASON_LENGTH = 300


class Raising:
    """A trigger of such a platform."""

    def respond(self, settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> Mapping[str, Any]:
        """Return what says that all is done; to those who call synchronously it is a partial batch response without failures.

        Raises:
            Undelivered: something may still succeed, or could be dead-lettered nowhere. It names the first of them.
        """
        del deadline  # nothing is asked of anybody
        left = [(record, outcome) for record, outcome in settled if isinstance(outcome, Failed | Reject)]
        if not left:
            return {"batchItemFailures": []}
        named = "; ".join(f"{record.id[:100]}: {_said(outcome)}" for record, outcome in left[:MAX_NAMED])
        more = f"; and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
        raise Undelivered(f"{len(left)} of {len(settled)} records are left to the platform: {named}{more}")


def _said(outcome: Failed | Reject) -> str:
    return f"{outcome.reason}: {outcome.detail}"[:MAX_REASON_LENGTH] if outcome.detail else outcome.reason
