"""AWS IoT Core's HTTPS API (iot-data, Publish) as a sink: one request a message, several at once, a topic's in order.

Delivered is the API's answer. Nothing is waited for but answers: what AWS refuses for now is tried again when its platform brings it again.
"""

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from mqbridge.aws_iot import MAX_QOS
from mqbridge.delivery.sinks import Outgoing, Sent
from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Delivered, Failed, Reject
from mqbridge.patience import OutOfTime, within
from mqbridge.rules import MqttInstance

__all__ = ["IotDataSink", "outcome_of"]

# So many requests at once: a few hundred messages a second, at the 20 ms or so that one takes. Publishing by the API is limited per
# account, not per connection.
MAX_AT_ONCE = 10
# To connect, and to read: what a request takes at most. None begins that would not end before the deadline.
TIMEOUT_S = 1.0
REQUEST_S = 2 * TIMEOUT_S
# AWS closes what is idle, and a frozen function does not see it: connections are made anew after this long.
IDLE_LIMIT_S = 30.0
# An address that leads elsewhere, as for everything else of AWS.
_ELSEWHERE = ("AWS_ENDPOINT_URL_IOT_DATA_PLANE", "AWS_ENDPOINT_URL")

_DELIVERED = Delivered()
_NO_TIME = Failed("no_time_left", "not published: a request might not have ended in time")
_HELD_BACK = Failed("held_back", "an earlier message to the same topic failed")

# The API's errors by their codes, those of every AWS API among them. Any other may pass.
_FORBIDDEN = frozenset({"UnauthorizedException", "ForbiddenException", "AccessDeniedException"})
_ILLEGAL = frozenset({"InvalidRequestException", "MethodNotAllowedException", "ValidationException"})
_TOO_LARGE = frozenset({413, 414, 431})  # what stands in front of the API knows no codes of its own


class IotDataSink:
    """A publisher to one account and region of AWS IoT Core, with the credentials of the process."""

    def __init__(self, instance: MqttInstance) -> None:
        self._instance = instance
        self._client: Any = None
        self._last_use = (0.0, 0.0)

    def send(self, messages: Sequence[Outgoing], deadline: float) -> list[Sent]:
        """Publish MQTT messages, of each topic in order; see `Sink.send`."""
        from concurrent.futures import (
            ThreadPoolExecutor,  # here, because a cold start without this sink has no use for it
        )

        lanes: dict[str, list[tuple[int, MqttMessage]]] = {}
        for at, message in enumerate(messages):
            if isinstance(message, MqttMessage):
                lanes.setdefault(message.topic, []).append((at, message))
        try:
            client = self._opened()
        except Exception as error:  # boto3 is not here; there is no region, or nothing that looks like credentials
            return [Failed("cannot_connect", f"{self._instance.instance_id}: {_said(error)}")] * len(messages)
        batch = _Batch(client, self._instance.instance_id, deadline, [_NO_TIME] * len(messages))
        if len(lanes) == 1:
            batch.publish(next(iter(lanes.values())))
        else:
            with ThreadPoolExecutor(min(MAX_AT_ONCE, max(1, len(lanes)))) as pool:
                list(pool.map(batch.publish, lanes.values()))
        self._last_use = (time.monotonic(), time.time())
        return batch.outcomes

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _opened(self) -> Any:
        monotonic, wall = self._last_use
        if max(time.monotonic() - monotonic, time.time() - wall) > IDLE_LIMIT_S:
            self.close()
        if self._client is None:
            self._client = _new_client(self._instance)
        return self._client


class _Batch:
    """One call's messages. Its methods may run in several threads, each on topics of its own."""

    def __init__(self, client: Any, instance_id: str, deadline: float, outcomes: list[Sent]) -> None:
        self.outcomes = outcomes
        self._client = client
        self._instance_id = instance_id
        self._deadline = deadline
        self._unreachable: Failed | None = None

    def publish(self, messages: Sequence[tuple[int, MqttMessage]]) -> None:
        """Publish one topic's messages in order; what is behind one that failed is held back."""
        has_failed = False
        for at, message in messages:
            self.outcomes[at] = _HELD_BACK if has_failed else self._unreachable or self._publish(message)
            has_failed = has_failed or isinstance(self.outcomes[at], Failed)

    def _publish(self, message: MqttMessage) -> Sent:
        for _ in range(2):
            if time.monotonic() + REQUEST_S > self._deadline:
                return _NO_TIME
            try:
                within(self._deadline - time.monotonic(), partial(self._client.publish, **_arguments(message)))
            except Exception as error:
                outcome = outcome_of(error, self._instance_id)
                if isinstance(outcome, Failed) and outcome.reason == "connect_failed":
                    self._unreachable = outcome  # the others need not wait for the same
                if type(error).__name__ != "ConnectionClosedError":
                    return outcome
                # A connection that AWS had closed: once more, on another.
            else:
                return _DELIVERED
        return outcome


def _arguments(message: MqttMessage) -> dict[str, Any]:
    """Return the parameters of Publish. boto3 writes userProperties as JSON in Base64, which is what the header has to hold."""
    arguments: dict[str, Any] = {
        "topic": message.topic,
        "qos": min(message.qos, MAX_QOS),
        "retain": message.retain,
        "payload": message.payload,
    }
    if message.user_properties:
        arguments["userProperties"] = [{name: value} for name, value in message.user_properties]
    if message.message_expiry_interval is not None:
        arguments["messageExpiry"] = message.message_expiry_interval
    if message.content_type:
        arguments["contentType"] = message.content_type
    return arguments


def _new_client(instance: MqttInstance) -> Any:
    import boto3  # here, because it costs a cold start 300 ms
    from botocore.config import Config

    config = Config(
        connect_timeout=TIMEOUT_S,
        read_timeout=TIMEOUT_S,
        retries={"total_max_attempts": 1},  # it would sleep in between
        max_pool_connections=MAX_AT_ONCE,
    )
    address = None if any(map(os.environ.get, _ELSEWHERE)) else instance.endpoint.replace("iot-data:", "https:", 1)
    # boto3 by itself looks at AWS_DEFAULT_REGION and the profile.
    session: Any = boto3.session.Session(region_name=instance.aws_region or os.environ.get("AWS_REGION") or None)
    return session.client("iot-data", endpoint_url=address, config=config)


def outcome_of(error: Exception, instance_id: str) -> Failed | Reject:
    """Translate what boto3 raises, here and nowhere else; AWS's own texts are left out: they may hold the session token."""
    from botocore import exceptions

    if isinstance(error, exceptions.ParamValidationError):
        return Reject("illegal_message", "boto3 finds the message illegal")
    if isinstance(error, exceptions.ClientError):
        said = f"{instance_id}: {_said(error)}"
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _FORBIDDEN:
            return Reject("broker_forbids", said)
        is_illegal = code in _ILLEGAL or error.response["ResponseMetadata"].get("HTTPStatusCode") in _TOO_LARGE
        return Reject("illegal_message", said) if is_illegal else Failed("broker_refused", said)
    if isinstance(error, exceptions.HTTPClientError | OutOfTime):
        return Failed("outcome_unknown", f"{instance_id}: {_said(error)}", is_unknown=True)
    # Nothing was sent: no connection, or no credentials.
    return Failed("connect_failed", f"{instance_id}: {_said(error)}")


def _said(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "needs boto3 (extra mqbridge[aws])"
    if type(error).__name__ == "NoRegionError":
        return "expected a region in AWS_REGION, a profile or the endpoint, got none"
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return f"AWS answered {response.get('Error', {}).get('Code', 'an error')}"
    return f"AWS cannot be asked: {type(error).__name__}"
