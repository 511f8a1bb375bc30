"""Topics must exist before a rule that sends to them starts, as the managed rules demand; the bridge never creates one."""

import threading
import time

from mqbridge.namespace import plain_text, wire_name
from mqbridge.rocketmq import open_client
from mqbridge.rules import RocketMQInstance
from mqbridge_cli.runner.state import RuleState, State
from rocketmq_remoting import RocketMQError, RouteNotFound

__all__ = ["wait_until_topic_exists"]

LOOK_UP_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 5.0


def wait_until_topic_exists(
    instance: RocketMQInstance, topic: str, state: RuleState, stopping: threading.Event
) -> None:
    """Return when `topic` has a route, or when no name server can say: then the rule starts, and what arrives waits for them."""
    client = open_client(instance)
    try:
        while not stopping.is_set():
            try:
                client.route(wire_name(instance.namespace, topic), time.monotonic() + LOOK_UP_TIMEOUT_S, fresh=True)
                return
            except RouteNotFound as error:
                state.change(State.STARTING_FAILED, _said(instance, error))
                stopping.wait(LOOK_AGAIN_S)
            except RocketMQError as error:
                state.change(State.RECONNECTING, _said(instance, error))
                return
    finally:
        client.close()


def _said(instance: RocketMQInstance, error: RocketMQError) -> str:
    return f"{instance.instance_id}: {plain_text(instance.namespace, str(error))}"
