"""When a failed SQS message comes back: after its rule's delay instead of the queue's visibility timeout.

Who hides messages is a port: AWS, unless `hiding_by` put something else in place, as tests do. It is a favour to the source, never a
condition: where it fails, the queue's own timeout holds.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Settled
from mqbridge.patience import within

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["Hidden", "Hide", "hide_failed", "hiding_by"]

# ChangeMessageVisibility: twelve hours, counted from when the message was received.
MAX_HIDDEN_S = 43_200
# Since then, where the record cannot tell: a function runs for 15 minutes at most, and a batch waits for 5 at most before it does.
MAX_HELD_S = 1_200
MAX_BATCH_ENTRIES = 10
# All of it happens after the 10 s that a handler has for sending. Connecting and answering take a call 1 s each at most, so that none
# begins in the last 2 s before the platform ends the invocation; where it does not say when, none later than 1 s after the first.
# So a function needs a timeout of 15 s or more. There is no second attempt.
TIMEOUT_S = 1.0
CALL_S = 2 * TIMEOUT_S
BUDGET_S = 1.0

_QUEUE = re.compile(r"arn:aws[a-z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):(?P<name>[a-zA-Z0-9_.-]+)")

_log = logging.getLogger("mqbridge")  # where the product's logger writes; triggers do not know it


@dataclass(frozen=True, slots=True)
class Hidden:
    """One received message, and for how many seconds from now nobody shall see it."""

    receipt_handle: str
    seconds: int


# Hides messages of the queue that an ARN names. Raises for none of them.
Hide = Callable[[str, Sequence[Hidden]], None]


def hide_failed(settled: Sequence[tuple[Record, Settled]], deadline: float | None = None) -> None:
    """Have every record that is to be tried again hidden for its delay; what was given up stays as it is.

    `deadline` is when the platform ends the invocation, in time.monotonic seconds; None if it does not say.
    """
    hide = _in_place.get() or partial(hide_on_aws, deadline=deadline)
    for queue_arn, messages in _to_hide(settled, time.time()).items():
        hide(queue_arn, messages)


@contextmanager
def hiding_by(hide: Hide) -> Iterator[None]:
    """Have messages hidden by `hide` in this context."""
    token = _in_place.set(hide)
    try:
        yield
    finally:
        _in_place.reset(token)


def _to_hide(settled: Sequence[tuple[Record, Settled]], now_s: float) -> dict[str, list[Hidden]]:
    by_queue: dict[str, list[Hidden]] = {}
    for record, outcome in settled:
        queue_arn, handle = record.event.get("eventSourceARN"), record.event.get("receiptHandle")
        if isinstance(outcome, Failed) and outcome.retry_after_s > 0 and _is_text(queue_arn) and _is_text(handle):
            seconds = min(math.ceil(outcome.retry_after_s), MAX_HIDDEN_S - _held_s(record, now_s))
            by_queue.setdefault(str(queue_arn), []).append(Hidden(str(handle), max(0, seconds)))
    return by_queue


def _held_s(record: Record, now_s: float) -> int:
    if record.attempt == 1 and 0 < record.first_attempt_ms <= now_s * 1000:
        return math.ceil(now_s - record.first_attempt_ms / 1000)
    return MAX_HELD_S


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


# AWS.

_clients: dict[str, Any] = {}
_lock = threading.Lock()  # boto3 makes clients without one


def hide_on_aws(queue_arn: str, messages: Sequence[Hidden], deadline: float | None = None) -> None:
    """Hide messages of an SQS queue before the deadline; what cannot be hidden is logged, and harmless."""
    queue = _QUEUE.fullmatch(queue_arn)
    if queue is None:
        _warn(queue_arn, len(messages), "expected the ARN of an SQS queue")
        return
    done = 0
    try:
        client = within(CALL_S, partial(_client, queue["region"]))
        last_begin = time.monotonic() + BUDGET_S if deadline is None else deadline - CALL_S
        for done in range(0, len(messages), MAX_BATCH_ENTRIES):
            if time.monotonic() > last_begin:
                _warn(queue_arn, len(messages) - done, "no time left")
                return
            url = f"{client.meta.endpoint_url.rstrip('/')}/{queue['account']}/{queue['name']}"
            batch = messages[done : done + MAX_BATCH_ENTRIES]
            within(CALL_S, partial(_hide_batch, client, url, queue_arn, batch))
    except Exception as error:
        _warn(queue_arn, len(messages) - done, _said(error))


def _hide_batch(client: "SQSClient", url: str, queue_arn: str, batch: Sequence[Hidden]) -> None:
    answer = client.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": str(at), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": message.seconds}
            for at, message in enumerate(batch)
        ],
    )
    failed = answer.get("Failed", [])
    if failed:
        # Most often the message has become visible meanwhile, and is on its way again.
        _warn(queue_arn, len(failed), ", ".join(sorted({str(each.get("Code")) for each in failed})))


def _client(region: str) -> "SQSClient":
    # Here, because it costs a cold start 300 ms, and only an invocation that failed needs it.
    import boto3
    from botocore.config import Config

    with _lock:
        if region not in _clients:
            config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
            _clients[region] = boto3.session.Session().client("sqs", region_name=region, config=config)
        client: SQSClient = _clients[region]
    return client


def _said(error: Exception) -> str:
    # Without AWS's text: of a wrong signature it holds the session token.
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return f"AWS answered {response.get('Error', {}).get('Code', 'an error')}"
    return "needs boto3 (extra mqbridge[aws])" if isinstance(error, ImportError) else type(error).__name__


def _warn(queue_arn: str, count: int, why: str) -> None:
    _log.warning(
        "visibility not changed: the queue's own timeout holds",
        extra={"queue": queue_arn, "messages": count, "detail": why},
    )


_in_place: ContextVar[Hide | None] = ContextVar("mqbridge-visibility", default=None)
