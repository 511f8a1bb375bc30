"""A function elsewhere in the place of the handler in this process: a worker calls it, as it calls a handler, with a batch.

It makes requests of a batch that are small enough, and of whatever becomes of them the answer that a worker understands. What a record
costs its neighbours is time at most: a batch at which the function raises is halved until the record is found. Once a part of a batch has
failed, the rest waits for the worker to sort out which lanes may go on. While nothing can be invoked, nothing is tried.
"""

import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mqbridge.messages import ATTEMPT
from mqbridge.telemetry import Counters, LastError, logger
from mqbridge_cli.runner.function_accounts import (
    IN_FUNCTION,
    INVOKING,
    count_errors,
    count_handed_over,
    count_unknown,
)
from mqbridge_cli.runner.lane_order import HELD_BACK

__all__ = [
    "MAX_REQUEST_BYTES",
    "MAX_WORDS",
    "OTHER",
    "FunctionHandler",
    "Invoke",
    "NoAnswer",
    "TooLarge",
    "Unanswered",
    "Unavailable",
]

# Lambda's quota for a synchronous request and for its answer; a request has to be smaller.
MAX_REQUEST_BYTES = 6 * 1024 * 1024
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
# Where the function raises at a single record, the others may wait for nothing: it is asked again soon, and for that record later.
LONGEST_RAISED_S = 4.0
RAISED_FACTOR = 4
# Of a failed request the log names so many records; the function's own log has them all.
MAX_NAMED = 20
# The longest that a retry policy waits is 512 s; more is nonsense.
LONGEST_RETRY_S = 86_400.0
# What the function gives as a reason is a word from a bounded set, if it is ours: another's would be a label without bounds.
_REASON = re.compile("[a-z][a-z0-9_]{0,40}")
MAX_WORDS = 50  # ours have about 30 in all
OTHER = "other"
MAX_REASON_LENGTH = 60  # of another's, in the log


class Unanswered(Exception):
    """A request came to nothing. The function may have got it, and may have done anything.

    `reason` is a word for labels, the text is for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Unavailable(Unanswered):
    """The function did not get it: throttled, out of reach, or not allowed."""


class NoAnswer(Unanswered):
    """The function may have got it, and what became of it is unknown."""


class TooLarge(Unanswered):
    """The function did not get it, because it is too large."""


# Takes a request, returns the answer, or raises Unanswered.
Invoke = Callable[[bytes], bytes]


class FunctionHandler:
    """The function of one rule's flow, for that rule alone. For one thread at a time.

    Args:
        flow, rule: for counters and log.
        invoke: makes one request.
        counters: of the runner. What the function counts is not among them: the runner knows what is settled, and what came back.
        clock: seconds.
        chance: a random number from 0 to 1, which spreads attempts of several runners.
    """

    def __init__(
        self,
        flow: str,
        rule: str,
        invoke: Invoke,
        counters: Counters,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._flow = flow
        self._rule = rule
        self._invoke = invoke
        self._counters = counters
        self._clock = clock
        self._chance = chance
        self._words: set[str] = set()  # that the function gave as reasons
        self._failures = 0  # since the last answer
        self._not_before = -math.inf

    def __call__(self, events: Sequence[Mapping[str, Any]], context: Any) -> dict[str, Any]:
        """Have the function carry a batch of CloudEvents; return what failed, as a handler does."""
        del context
        wait_s = self._not_before - self._clock()
        if wait_s > 0:
            return {"batchItemFailures": _held_back(events, wait_s)}
        failures: list[dict[str, Any]] = []
        rest = [(event, json.dumps(event, separators=(",", ":")).encode()) for event in events]
        while rest and not failures:
            count = _fitting([len(text) for _, text in rest])
            part, rest = rest[:count], rest[count:]
            failures = self._carried(part)
        return {"batchItemFailures": [*failures, *_held_back([event for event, _ in rest], 0.0)]}

    def _carried(self, part: Sequence[tuple[Mapping[str, Any], bytes]]) -> list[dict[str, Any]]:
        events = [event for event, _ in part]
        began = time.monotonic()
        try:
            request = b"[" + b",".join(text for _, text in part) + b"]"
            if len(request) >= MAX_REQUEST_BYTES:
                raise TooLarge("too_large", f"expected a request below {MAX_REQUEST_BYTES} bytes, got {len(request)}")
            failures = _failures_of(self._invoke(request), events)
        except Unanswered as error:
            if len(part) > 1 and not isinstance(error, Unavailable | NoAnswer):
                half = len(part) // 2
                return [*self._carried(part[:half]), *_held_back(events[half:], 0.0)]
            return self._unanswered(events, error, time.monotonic() - began)
        self._failures = 0
        failed = [event for event in events if event["id"] in failures]
        self._count(settled=len(events) - len(failed), failed=len(failed), duration_s=time.monotonic() - began)
        for event in failed:
            self._report(failures[event["id"]], event.get(ATTEMPT, 1))
        return list(failures.values())

    def _count(self, *, settled: int, failed: int, duration_s: float) -> None:
        count_handed_over(self._counters, self._flow, self._rule, settled=settled, failed=failed, duration_s=duration_s)

    def _unanswered(
        self, events: Sequence[Mapping[str, Any]], error: Unanswered, duration_s: float
    ) -> list[dict[str, Any]]:
        self._failures += 1
        delay_s = self._delay_s(self._failures)
        if not isinstance(error, Unavailable | NoAnswer):
            delay_s = min(delay_s, LONGEST_RAISED_S)
        ids = [str(event["id"]) for event in events]
        self._count(settled=0, failed=len(events), duration_s=duration_s)
        count_errors(self._counters, self._rule, INVOKING, error.reason, len(events))
        if isinstance(error, NoAnswer):
            count_unknown(self._counters, self._flow, self._rule, len(events))
        self._note(ids[0], INVOKING, error.reason, str(error))
        logger().error(
            "invocation failed",
            extra={
                "rule": self._rule,
                "flow": self._flow,
                "stage": INVOKING,
                "error_type": error.reason,
                "detail": str(error),
                "records": len(ids),
                "event_ids": ids[:MAX_NAMED],
                "next_try_s": None if isinstance(error, TooLarge) else round(delay_s, 1),
            },
        )
        if isinstance(error, TooLarge):
            self._failures = 0
            return [_failure(ids[0], error.reason, str(error))]
        self._not_before = self._clock() + delay_s
        if isinstance(error, Unavailable):
            return _held_back(events, delay_s)  # it was no attempt of theirs
        if not isinstance(error, NoAnswer):
            delay_s = max(RAISED_FACTOR * delay_s, self._delay_s(events[0].get(ATTEMPT, 1)))
        return [_failure(record_id, error.reason, str(error), delay_s) for record_id in ids]

    def _delay_s(self, number: int) -> float:
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(number - 1, 10))
        return delay_s * (0.75 + self._chance() / 2)

    def _report(self, failure: Mapping[str, Any], attempt: int) -> None:
        """Count and log what the function said of a record."""
        reason, detail, is_retriable = failure["reason"], failure["detail"], "retryAfter" in failure
        error_type = self._bounded(reason)
        if error_type == OTHER:
            detail = f"{reason[:MAX_REASON_LENGTH]}: {detail}"
        count_errors(self._counters, self._rule, IN_FUNCTION, error_type)
        self._note(failure["itemIdentifier"], IN_FUNCTION, error_type, detail)
        repeated = self._counters.repeats.unsaid((self._flow, self._rule, "failed", IN_FUNCTION, error_type))
        if repeated is None:
            return  # the function's own log has it
        say = logger().warning if is_retriable else logger().error
        fields = {
            "rule": self._rule,
            "flow": self._flow,
            "outcome": "failed",
            "event_id": failure["itemIdentifier"],
            "attempt": attempt,
            "stage": IN_FUNCTION,
            "error_type": error_type,
            "detail": detail,
            "retriable": is_retriable,
        }
        say("record failed", extra={**fields, "repeated": repeated} if repeated else fields)

    def _bounded(self, reason: str) -> str:
        """Return the reason if it is a word, and of not too many; it is a label."""
        if reason not in self._words:
            if len(self._words) >= MAX_WORDS or not _REASON.fullmatch(reason):
                return OTHER
            self._words.add(reason)
        return reason

    def _note(self, record_id: str, stage: str, reason: str, detail: str) -> None:
        error = LastError(record=record_id, outcome="failed", stage=stage, reason=reason, detail=detail, at=time.time())
        self._counters.note_error(self._flow, self._rule, error)


def _fitting(sizes: Sequence[int]) -> int:
    """Return how many events, given by their sizes, one request may hold; at least one."""
    request_bytes = len(b"[]")
    for at, size in enumerate(sizes):
        request_bytes += size + (len(b",") if at else 0)
        if request_bytes >= MAX_REQUEST_BYTES and at:
            return at
    return len(sizes)


def _failures_of(answer: bytes, events: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the failures that a function reports, by the id of the record.

    Raises:
        Unanswered: it is none of our functions' answers; what became of the records is anybody's guess.
    """
    try:
        document = json.loads(answer)
        listed = document["batchItemFailures"]
        if not isinstance(listed, list):
            raise TypeError("batchItemFailures")
        failures = [
            _failure(each["itemIdentifier"], each.get("reason", ""), each.get("detail", ""), each.get("retryAfter"))
            for each in listed
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        failures = None
    ids = {str(event["id"]) for event in events}
    if failures is None or not all(_is_good(each, ids) for each in failures):
        told = "expected batchItemFailures with ids of the batch, as a function of mqbridge answers, got something else"
        raise Unanswered("malformed_answer", told)
    return {each["itemIdentifier"]: each for each in failures}


def _is_good(failure: Mapping[str, Any], ids: set[str]) -> bool:
    texts = (failure["itemIdentifier"], failure["reason"], failure["detail"])
    after = failure.get("retryAfter", 0)
    is_delay = isinstance(after, int | float) and not isinstance(after, bool) and 0 <= after <= LONGEST_RETRY_S
    return is_delay and all(isinstance(text, str) for text in texts) and failure["itemIdentifier"] in ids


def _failure(record_id: str, reason: str, detail: str, retry_after_s: float | None = None) -> dict[str, Any]:
    failure: dict[str, Any] = {"itemIdentifier": record_id, "reason": reason, "detail": detail}
    return failure if retry_after_s is None else {**failure, "retryAfter": retry_after_s}


def _held_back(events: Sequence[Mapping[str, Any]], retry_after_s: float) -> list[dict[str, Any]]:
    return [_failure(str(event["id"]), HELD_BACK, "", retry_after_s) for event in events]
