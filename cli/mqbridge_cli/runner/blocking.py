"""Which rules stop at a record that they can never deliver. Pure.

EventBridge's event streams: with ErrorsTolerance NONE, one whose retries end is blocked. Managed data rules know no such thing: ours
put the record aside and go on.
"""

from collections.abc import Callable

from mqbridge.rules import EventStreaming, Rule

__all__ = ["OnBlock", "may_block", "stops_at_reject"]

# Gets the record's id, the reason and the detail.
OnBlock = Callable[[str, str, str], None]


def stops_at_reject(rule: Rule) -> bool:
    """Tell whether the rule stops at a record that is neither delivered, nor dead-lettered, nor to be discarded."""
    return isinstance(rule, EventStreaming) and rule.run_options.errors_tolerance != "ALL"


def may_block(rule: Rule) -> bool:
    """Tell whether any record that cannot be delivered will stop the rule, because no dead-letter queue takes it."""
    return stops_at_reject(rule) and rule.run_options.dead_letter_queue is None
