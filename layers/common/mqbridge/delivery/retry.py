"""When a failed record is tried again, and when no more. Pure: attempt, age and a random number in, a delay out.

The two named policies are EventBridge's: BACKOFF_RETRY, 3 retries each after 10 to 20 s; EXPONENTIAL_DECAY_RETRY, 176 retries after
1, 2, 4 ... 512 s, a day in all. Data and status rules without a RetryStrategy do as the managed rules: they go on until it works.
"""

from mqbridge.rules import RetryStrategy

__all__ = ["next_delay_s"]

_RETRIES = {"BACKOFF_RETRY": 3, "EXPONENTIAL_DECAY_RETRY": 176}
_DECAY_MAXIMUM_S = 512.0
# Short, because a rule that goes on for ever should flow again soon after the fault is over.
_ENDLESS_FIRST_S, _ENDLESS_MAXIMUM_S = 0.5, 4.0


def next_delay_s(strategy: RetryStrategy | None, *, attempt: int, age_s: float, chance: float) -> float | None:
    """Return the seconds to wait before the next attempt, or None if there is none.

    Args:
        strategy: the rule's; None never ends.
        attempt: how often the record was tried, from 1.
        age_s: the event's age.
        chance: a random number from 0 to 1, which spreads retries that began together.
    """
    if strategy is None:
        delay_s = min(_ENDLESS_MAXIMUM_S, _ENDLESS_FIRST_S * 2.0 ** min(attempt - 1, 10))
        return delay_s * (0.75 + chance / 2)
    if attempt > (strategy.maximum_retry_attempts or _RETRIES[strategy.push_retry_strategy]):
        return None
    if strategy.push_retry_strategy == "BACKOFF_RETRY":
        delay_s = 10.0 + 10.0 * chance
    else:
        delay_s = min(_DECAY_MAXIMUM_S, 2.0 ** min(attempt - 1, 10))
    if strategy.maximum_event_age_s and age_s + delay_s > strategy.maximum_event_age_s:
        return None
    return delay_s
