"""Names as an ApsaraMQ 4.0 instance has them: on the wire topics and groups begin with its id, everywhere else they are plain.

`MQ_INST_1_a%telemetry`, `MQ_INST_1_a%GID_x`; the retry topic of such a group is `%RETRY%MQ_INST_1_a%GID_x` by itself
(NamespaceUtil.java). For any other cluster the namespace is "" and names stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from rocketmq_remoting import Message

__all__ = ["plain_text", "wire_messages", "wire_name"]

AnyMessage = TypeVar("AnyMessage", bound=Message)


def wire_name(namespace: str, name: str) -> str:
    """Return a topic's or a group's name as the broker knows it; a name that has the prefix keeps it."""
    prefix = f"{namespace}%"
    return prefix + name if namespace and not name.startswith(prefix) else name


def wire_messages(namespace: str, messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """Return the messages with the topics that the broker knows."""
    if not namespace:
        return messages
    return [replace(message, topic=wire_name(namespace, message.topic)) for message in messages]


def plain_text(namespace: str, text: str) -> str:
    """Return a name, or what was said of one, without the prefix."""
    return text.replace(f"{namespace}%", "") if namespace else text
