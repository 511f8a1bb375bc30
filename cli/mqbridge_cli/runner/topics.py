"""Topics must exist before a rule that sends to them starts, as the managed rules demand; the bridge never creates one."""

import threading
import time
from collections.abc import Sequence

from mqbridge.namespace import plain_text, wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import EventStreaming, RocketMQInstance
from mqbridge_cli.runner.state import RuleState, State
from rocketmq_remoting import RocketMQError, RouteNotFound

__all__ = ["static_topics", "wait_until_topics_exist"]

LOOK_UP_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 5.0


def static_topics(task: EventStreaming) -> tuple[str, ...]:
    """Return the topics that a task names outright; those that it takes out of events nobody knows before."""
    topic = task.sink.rocketmq.topic
    found = [str(topic.value)] if topic.form == "CONSTANT" else []
    for transform in task.transforms:
        if transform.route is not None:
            found += [each for rule in transform.route.rules for each in rule.target_topics]
            found += [transform.route.default_topic] if transform.route.default_topic is not None else []
    return tuple(dict.fromkeys(found))


def wait_until_topics_exist(
    instance: RocketMQInstance, topics: Sequence[str], state: RuleState, stopping: threading.Event
) -> None:
    """Return when all of `topics` have a route, or when no name server can say: then the rule starts, and what arrives waits for them."""
    client = open_client(instance)
    try:
        while topics and not stopping.is_set():
            missing: dict[str, RouteNotFound] = {}
            for topic in topics:
                try:
                    client.route(wire_name(instance.namespace, topic), time.monotonic() + LOOK_UP_TIMEOUT_S, fresh=True)
                except RouteNotFound as error:
                    missing[topic] = error
            if not missing:
                return
            topics = tuple(missing)
            state.change(State.STARTING_FAILED, "; ".join(_said(instance, each) for each in missing.values()))
            stopping.wait(LOOK_AGAIN_S)
    except RocketMQError as error:
        state.change(State.RECONNECTING, _said(instance, error))
    finally:
        client.close()


def _said(instance: RocketMQInstance, error: RocketMQError) -> str:
    return f"{instance.instance_id}: {plain_text(instance.namespace, str(error))}"
