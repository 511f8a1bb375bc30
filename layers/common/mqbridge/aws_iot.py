"""What AWS IoT Core takes no message beyond, however it is published. Pure.

AWS General Reference, "AWS IoT Core endpoints and quotas", message broker limits; none of these can be raised. What can be, and what
depends on the connection, is left to it to say.
"""

from mqbridge.messages import MqttMessage
from mqbridge.outcomes import Reject

__all__ = ["MAX_QOS", "limit_broken"]

MAX_QOS = 1
MAX_PAYLOAD_BYTES = 128 * 1024
MAX_TOPIC_BYTES = 256
MAX_SLASHES = 7


def limit_broken(message: MqttMessage) -> Reject | None:
    """Return which limit the message goes beyond, None if none; its QoS is lowered, and so no reason."""
    if len(message.payload) > MAX_PAYLOAD_BYTES:
        return Reject("body_too_large", _said("a body", MAX_PAYLOAD_BYTES, "bytes", len(message.payload)))
    topic_bytes, slashes = len(message.topic.encode()), message.topic.count("/")
    if topic_bytes > MAX_TOPIC_BYTES:
        return Reject("illegal_topic", _said("a topic", MAX_TOPIC_BYTES, "bytes", topic_bytes))
    if slashes > MAX_SLASHES:
        return Reject("illegal_topic", _said("a topic", MAX_SLASHES, "slashes", slashes))
    return None


def _said(what: str, most: int, unit: str, got: int) -> str:
    return f"AWS IoT Core takes {what} of at most {most} {unit}, got {got}"
