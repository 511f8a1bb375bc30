"""What SQS and EventBridge have in common for dead letters: clients, batches, and what AWS says when it takes none."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mqbridge.delivery.sinks import Sent
from mqbridge.outcomes import Delivered, Failed
from mqbridge.patience import within

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

__all__ = ["MAX_BATCH_BYTES", "events_client", "put_in_batches", "sqs_client"]

Entry = TypeVar("Entry")

# Of SendMessageBatch and of PutEvents alike.
MAX_BATCH_ENTRIES = 10
MAX_BATCH_BYTES = 262_144
# Two attempts, each to connect and to read, and a second at most between them: 5 s, of the 10 s that a handler has for sending. Two,
# because the first finds out that a frozen function's connection is dead.
TIMEOUT_S = 1.0
ATTEMPTS = 2
CALL_S = 6.0  # whatever the number of addresses, and boto3's import

_clients: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()  # boto3 makes clients without one


def sqs_client(region: str) -> "SQSClient":
    """Return the process's client for SQS in `region`.

    Raises:
        ImportError: boto3 is not installed.
    """
    import boto3  # here, because it costs a cold start 300 ms, and most invocations have no dead letter for AWS

    with _lock:
        if ("sqs", region) not in _clients:
            _clients["sqs", region] = boto3.session.Session().client("sqs", region_name=region, config=_config())
        client: SQSClient = _clients["sqs", region]
    return client


def events_client(region: str) -> "EventBridgeClient":
    """Return the process's client for EventBridge in `region`.

    Raises:
        ImportError: boto3 is not installed.
    """
    import boto3

    with _lock:
        if ("events", region) not in _clients:
            _clients["events", region] = boto3.session.Session().client("events", region_name=region, config=_config())
        client: EventBridgeClient = _clients["events", region]
    return client


def _config() -> "Config":
    from botocore.config import Config

    retries: Any = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    return Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries=retries)


def put_in_batches(
    entries: Sequence[tuple[Entry, int]],
    put: Callable[[Sequence[Entry]], Mapping[int, str]],
    deadline: float,
) -> list[Sent]:
    """Put all entries, given with their sizes in bytes, and return what became of each, in order.

    `put` makes one call, and returns what AWS said of the entries that it did not take, by their places among those given. After a call
    that failed as a whole, and after the deadline (time.monotonic seconds), nothing more is tried.
    """
    sent: list[Sent] = []
    problem = ""
    for batch in _batches(entries):
        failures: Mapping[int, str] = {}
        if not problem and time.monotonic() >= deadline:
            problem = "no time left"
        if not problem:
            try:
                failures = within(min(CALL_S, deadline - time.monotonic()), partial(put, batch))
            except Exception as error:
                problem = _said(error)
        for at in range(len(batch)):
            what = problem or failures.get(at, "")
            sent.append(Failed("queue_failed", what) if what else Delivered())
    return sent


def _batches(entries: Sequence[tuple[Entry, int]]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    batch_bytes = 0
    for entry, size_bytes in entries:
        if batch and (len(batch) == MAX_BATCH_ENTRIES or batch_bytes + size_bytes > MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(entry)
        batch_bytes += size_bytes
    if batch:
        yield batch


def _said(error: Exception) -> str:
    """Return what went wrong, without AWS's text: of a wrong signature it holds the session token."""
    if isinstance(error, ImportError):
        return "needs boto3 (extra mqbridge[aws])"
    response = getattr(error, "response", None)  # botocore's ClientError, whose class would have to be imported
    if isinstance(response, Mapping):
        return f"AWS answered {response.get('Error', {}).get('Code', 'an error')}"
    return f"AWS cannot be asked: {type(error).__name__}"
