"""What a test gives, as the event that a handler gets: in the runner's own shape, or as it stands in a file."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mqbridge.cloud_events import mqtt_event, rocketmq_event
from mqbridge.mqtt import Publish
from rocketmq_remoting import StoredMessage

from .document import Given, GivenPublish, GivenRocketMQ

__all__ = ["UnreadableFile", "event_of"]

# The same at every run, so that whatever is derived of them is, too.
TIME_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MESSAGE_ID = "0A0B0C0D00002A139A5B00D5E1F30001"
_LEVELS = {"5": 5, "3.1.1": 4}


class UnreadableFile(Exception):
    """A file that a test names cannot be read."""


def event_of(given: Given, folder: Path) -> Any:
    """Return the event; paths in `given` are relative to `folder`.

    Raises:
        UnreadableFile: says which, and why.
    """
    if given.publish is not None:
        return [_without_rule(_published(given.publish, folder))]
    if given.rocketmq is not None:
        return [_without_rule(_stored(given.rocketmq, folder))]
    return _content(folder, str(given.event)).decode("utf-8", "surrogateescape")


def _published(given: GivenPublish, folder: Path) -> Mapping[str, Any]:
    publish = Publish(
        topic=given.topic,
        payload=_bytes(given.payload, given.payload_file, given.payload_base64, folder),
        qos=given.qos,
        retain=given.retain,
        dup=False,
        packet_id=0,
        user_properties=list((given.user_properties or {}).items()),
        message_expiry_interval=given.message_expiry_interval,
        content_type=given.content_type,
    )
    return mqtt_event(
        rule="",
        event_id=MESSAGE_ID,
        time_ms=TIME_MS,
        instance_id=given.instance_id,
        protocol_version=_LEVELS[given.protocol_version],
        publish=publish,
        client_id=given.client_id,
    )


def _stored(given: GivenRocketMQ, folder: Path) -> Mapping[str, Any]:
    system = {"UNIQ_KEY": MESSAGE_ID, "TAGS": given.tags, "KEYS": given.keys}
    message = StoredMessage(
        topic=given.topic,
        queue_id=0,
        queue_offset=0,
        physical_offset=0,
        body=_bytes(given.body, given.body_file, given.body_base64, folder),
        properties={**{name: value for name, value in system.items() if value}, **(given.properties or {})},
        born_timestamp_ms=TIME_MS,
        store_timestamp_ms=TIME_MS,
        reconsume_times=0,
    )
    return rocketmq_event(rule="", instance_id=given.instance_id, message=message)


def _without_rule(event: Mapping[str, Any]) -> dict[str, Any]:
    # The runner makes events for one rule each; a test's is for all of them.
    return {key: value for key, value in event.items() if key != "mqbridgerule"}


def _bytes(text: str | None, file: str | None, encoded: str | None, folder: Path) -> bytes:
    if file is not None:
        return _content(folder, file)
    return base64.b64decode(encoded) if encoded is not None else (text or "").encode()


def _content(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{folder / name}: {getattr(error, 'strerror', None) or error}") from error
