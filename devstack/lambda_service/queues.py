"""The queues of a template, made at SQS or what stands in for it (moto's server, ElasticMQ, LocalStack)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .template import DeclaredQueue, Template

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["MadeQueue", "make_queues"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeQueue:
    """Where a queue is."""

    url: str
    arn: str


def make_queues(sqs: "SQSClient", template: Template) -> dict[str, MadeQueue]:
    """Make every queue that the template declares, unless it is there, and return where they are, by their names in the template."""
    made: dict[str, MadeQueue] = {}
    # Dead-letter queues first, as the others name them.
    for queue in sorted(template.queues.values(), key=lambda queue: queue.dead_letters is not None):
        url = sqs.create_queue(QueueName=queue.queue_name, Attributes=_attributes(queue, made))["QueueUrl"]
        said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        made[queue.name] = MadeQueue(url=url, arn=said["Attributes"]["QueueArn"])
    return made


def _attributes(queue: DeclaredQueue, made: Mapping[str, MadeQueue]) -> dict[Any, str]:  # the stubs list the names
    attributes: dict[Any, str] = {"VisibilityTimeout": str(queue.visibility_timeout_s)}
    if queue.dead_letters is not None:
        target = made[queue.dead_letters].arn
        redrive = {"deadLetterTargetArn": target, "maxReceiveCount": queue.max_receive_count}
        attributes["RedrivePolicy"] = json.dumps(redrive)
    return attributes
