"""An SQS queue as a store of dead letters: received, held while the command runs, and released at its end.

The queue may also be one that a rule of an EventBridge bus fills: its bodies are events whose detail is the letter.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mqbridge.delivery import ENVELOPE
from mqbridge.rules import DeadLetterQueue
from mqbridge_cli.dlq.letters import StoredLetter, read_envelope
from mqbridge_cli.dlq.stores import StoreError, say

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

__all__ = ["QueueStore"]

# How long a letter that was read is kept from other readers. Longer than ten of them take to be redriven at the slowest sensible rate;
# one that comes back all the same is known by its id.
HOLD_S = 600
BATCH = 10
WAIT_S = 1  # long polling asks all of SQS's servers: what answers with nothing then is empty
MAX_STALE_ANSWERS = 3  # so many in a row with nothing new, but copies of what is held, are the end too
MAX_HELD = 100_000  # SQS lets 120,000 messages of a queue be held
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 20.0


class QueueStore:
    """Read the letters of one SQS queue, waiting up to `wait_s` for more; removing deletes."""

    def __init__(self, queue: DeadLetterQueue, wait_s: int = WAIT_S) -> None:
        self._queue = queue
        self._wait_s = wait_s
        self._made: SQSClient | None = None
        self._handles: dict[str, str] = {}  # receipt handles of what is held, by message id
        self._seen: set[str] = set()

    def read(self) -> Iterator[StoredLetter]:
        """See `Store.read`. Of a FIFO queue's group, SQS gives out ten at most until they are removed or released."""
        stale = 0
        while stale < MAX_STALE_ANSWERS:
            if len(self._handles) >= MAX_HELD:
                say(f"{self._queue.arn}: {MAX_HELD} letters are held, and there may be more: redrive or choose some")
                return
            received, fresh = self._receive(), []
            if not received:
                return
            for message in received:
                message_id = message["MessageId"]
                self._handles[message_id] = message["ReceiptHandle"]
                if message_id not in self._seen:
                    self._seen.add(message_id)
                    fresh.append(message)
            stale = 0 if fresh else stale + 1
            yield from (self._letter(message) for message in fresh)

    def remove(self, letter: StoredLetter) -> None:
        """Delete the letter."""
        handle = self._handles.pop(letter.id)
        try:
            self._client().delete_message(QueueUrl=self._url(), ReceiptHandle=handle)
        except Exception as error:
            raise StoreError(f"letter {letter.id}: it cannot be deleted: {_said(error)}") from error

    def count(self) -> int:
        """Return how many letters can be read now, which SQS tells approximately.

        Raises:
            StoreError: it does not tell.
        """
        try:
            answer = self._client().get_queue_attributes(
                QueueUrl=self._url(), AttributeNames=["ApproximateNumberOfMessages"]
            )
            return int(answer["Attributes"]["ApproximateNumberOfMessages"])
        except Exception as error:
            raise StoreError(f"{self._queue.arn}: {_said(error)}") from error

    def close(self) -> None:
        """Release what is still held, for the next reader to find at once, and close the connections."""
        held = list(self._handles.values())
        self._handles.clear()
        try:
            for at in range(0, len(held), BATCH):
                self._client().change_message_visibility_batch(
                    QueueUrl=self._url(),
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                        for number, handle in enumerate(held[at : at + BATCH])
                    ],
                )
        except Exception as error:
            say(
                f"{self._queue.arn}: letters stay hidden for up to {HOLD_S} s, as they cannot be released: {_said(error)}"
            )
        if self._made is not None:
            self._made.close()

    def _receive(self) -> "list[MessageTypeDef]":
        try:
            answer = self._client().receive_message(
                QueueUrl=self._url(),
                MaxNumberOfMessages=BATCH,
                VisibilityTimeout=HOLD_S,
                WaitTimeSeconds=self._wait_s,
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=[ENVELOPE],
            )
        except Exception as error:
            raise StoreError(f"{self._queue.arn}: {_said(error)}") from error
        return answer.get("Messages", [])

    def _letter(self, message: "MessageTypeDef") -> StoredLetter:
        event = message.get("Body", "")
        attributes: Mapping[str, Any] = message.get("MessageAttributes", {})
        envelope = read_envelope(attributes.get(ENVELOPE, {}).get("StringValue", ""))
        if not envelope:
            event, envelope = _off_a_bus(event)
        return StoredLetter(
            id=message["MessageId"],
            queue=self._queue.arn,
            place=message["MessageId"],
            event=event,
            envelope=envelope,
            stored_ms=int(message.get("Attributes", {}).get("SentTimestamp", "0")),
        )

    def _url(self) -> str:
        return f"{self._client().meta.endpoint_url.rstrip('/')}/{self._queue.account}/{self._queue.name}"

    def _client(self) -> "SQSClient":
        if self._made is None:
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S)
            self._made = boto3.session.Session().client("sqs", region_name=self._queue.region, config=config)
        return self._made


def _off_a_bus(body: str) -> tuple[str, Mapping[str, Any]]:
    """Return event and envelope of a body that is an event of a bus; the body itself and {} if it is none."""
    try:
        detail = json.loads(body)["detail"]
        event, envelope = detail["event"], detail["deadLetter"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return body, {}
    if not isinstance(envelope, dict):
        return body, {}
    return event if isinstance(event, str) else json.dumps(event, ensure_ascii=False), envelope


def _said(error: Exception) -> str:
    # Without AWS's text: of a wrong signature it holds the session token.
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return f"AWS answered {response.get('Error', {}).get('Code', 'an error')}"
    return "needs boto3 (extra mqbridge[aws])" if isinstance(error, ImportError) else type(error).__name__
