"""How many dead letters lie in a queue, and since when: asked of its broker, without reading them all and without a trace."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from mqbridge.namespace import plain_text, wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import DeadLetterQueue, RocketMQInstance, Rules
from mqbridge.secrets import UnresolvedSecret
from mqbridge_cli.browsing import REQUEST_TIMEOUT_S, messages_between, span_of
from mqbridge_cli.dlq.queue_store import QueueStore
from mqbridge_cli.dlq.stores import StoreError, queues_of
from rocketmq_remoting import BrokerForbids, Client, MessageQueue, RocketMQError, RouteNotFound

__all__ = ["Depth", "DepthReader", "QueueDepth", "TopicDepth", "depth_readers"]

# RocketMQ's own dead letters of a consumer group. Brokers make the topic with the group's first.
GROUP_PREFIX = "%DLQ%"


class Depth(NamedTuple):
    """The letters of a queue, and when the oldest was stored (Unix milliseconds, None if that is not to be had)."""

    letters: int
    oldest_ms: int | None = None


class DepthReader(Protocol):
    """Reads one queue's depth, again and again; `queue` is its address."""

    queue: str

    def read(self) -> Depth | None:
        """Ask once; None if the queue is not there, and need not be.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Close the connections; raises nothing."""
        ...


class TopicDepth:
    """Of a RocketMQ topic. Letters that were redriven still lie there, until the broker's retention takes them."""

    def __init__(self, queue: str, instance: RocketMQInstance, topic: str, *, may_be_missing: bool = False) -> None:
        self.queue = queue
        self._instance = instance
        self._topic = topic
        self._may_be_missing = may_be_missing
        self._client: Client | None = None

    def read(self) -> Depth | None:
        """See `DepthReader.read`."""
        try:
            client = self._client = self._client or open_client(self._instance)
            route = client.route(self._topic, time.monotonic() + REQUEST_TIMEOUT_S, fresh=True)
            found = [_depth(client, route.addresses[queue.broker_name], queue) for queue in route.readable]
        except RouteNotFound as error:
            if self._may_be_missing:
                return None
            raise self._failed(error) from error
        except (RocketMQError, UnresolvedSecret, OSError) as error:
            raise self._failed(error) from error
        if not found:
            raise self._failed("no queue of the topic may be read")
        return Depth(sum(each.letters for each in found), _oldest(each for each in found if each.letters))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _failed(self, why: object) -> StoreError:
        return StoreError(f"{self.queue}: {plain_text(self._instance.namespace, str(why))}")


class QueueDepth:
    """Of an SQS queue, which tells the number approximately, and no age."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self.queue = queue.arn
        self._store = QueueStore(queue)

    def read(self) -> Depth:
        """See `DepthReader.read`."""
        return Depth(self._store.count())

    def close(self) -> None:
        """Close the connections."""
        self._store.close()


def depth_readers(rules: Rules) -> Iterator[DepthReader]:
    """Yield a reader of each dead-letter queue that the document names, and of each inbound rule's group; a bus keeps nothing."""
    for queue in queues_of(rules):
        if queue.kind == "sqs":
            yield QueueDepth(queue)
        elif queue.kind == "rocketmq":
            instance_id, topic = queue.instance_and_topic
            instance = rules.rocketmq[instance_id]
            yield TopicDepth(queue.arn, instance, wire_name(instance.namespace, topic))
    groups = dict.fromkeys((str(rule.source.instance_id), rule.consumer_group) for rule in rules.inbound)
    for instance_id, group in groups:
        instance = rules.rocketmq[instance_id]
        address = f"acs:mq:{instance.region or ''}:0:/instances/{instance_id}/topic/{GROUP_PREFIX}{group}"
        topic = GROUP_PREFIX + wire_name(instance.namespace, group)
        yield TopicDepth(address, instance, topic, may_be_missing=True)


def _depth(client: Client, address: str, queue: MessageQueue) -> Depth:
    first, end = span_of(client, address, queue)
    try:
        oldest = next(messages_between(client, address, queue, first, min(first + 1, end)), None)
    except BrokerForbids:  # to read takes more permission than to count
        oldest = None
    return Depth(end - first, oldest.store_timestamp_ms if oldest is not None else None)


def _oldest(depths: Iterable[Depth]) -> int | None:
    times = [each.oldest_ms for each in depths]
    known = [each for each in times if each is not None]
    return min(known) if known and len(known) == len(times) else None
