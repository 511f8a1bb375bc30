"""SQS as a dead-letter queue: the event is the body, the envelope an attribute."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mqbridge.delivery.aws import put_in_batches, sqs_client
from mqbridge.delivery.dead_letters import ENVELOPE, DeadLetter, QueueMessage
from mqbridge.delivery.sinks import Sent
from mqbridge.rules import DeadLetterQueue

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

__all__ = ["put"]


def put(queue: DeadLetterQueue, letters: Sequence[DeadLetter], deadline: float) -> list[Sent]:
    """Put letters into the SQS queue; see `DeadLetterQueues.dead_letter`."""

    def send(messages: Sequence[QueueMessage]) -> Mapping[int, str]:
        client = sqs_client(queue.region)
        answer = client.send_message_batch(
            # As every queue's address is made; asking SQS for it would cost a request and another permission.
            QueueUrl=f"{client.meta.endpoint_url.rstrip('/')}/{queue.account}/{queue.name}",
            Entries=[_entry(at, message, is_fifo=queue.is_fifo) for at, message in enumerate(messages)],
        )
        return {
            int(each["Id"]): f"{each['Code']}: {each.get('Message', '')[:200]}" for each in answer.get("Failed", [])
        }

    messages = [letter.for_queue() for letter in letters]
    return put_in_batches([(message, message.size_bytes) for message in messages], send, deadline)


def _entry(at: int, message: QueueMessage, *, is_fifo: bool) -> "SendMessageBatchRequestEntryTypeDef":
    entry: SendMessageBatchRequestEntryTypeDef = {
        "Id": str(at),
        "MessageBody": message.body,
        "MessageAttributes": {ENVELOPE: {"DataType": "String", "StringValue": message.envelope}},
    }
    if is_fifo:
        entry["MessageGroupId"] = message.group_id
        entry["MessageDeduplicationId"] = message.deduplication_id
    return entry
