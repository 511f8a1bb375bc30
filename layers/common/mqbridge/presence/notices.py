"""ApsaraMQ's own status notices: a JSON object as its documentation shows it, and as its SDK reads it (StatusNotice). Pure.

{"clientId": "GID_x@@@d1", "time": 1717000000123, "eventType": "tcpclean", "channelId": "2b9b...", "clientIp": "203.0.113.9:51234"}
and, from some brokers, "remark". `time` is in milliseconds. disconnect is a client's own announcement (a DISCONNECT packet), tcpclean the
end of its connection, with or without one.
"""

import json
from collections.abc import Mapping
from typing import Any

from mqbridge.messages import StatusNotice

__all__ = ["CONNECT", "DISCONNECT", "EVENT_TYPES", "TCPCLEAN", "UnreadableNotice", "read_notice", "write_notice"]

CONNECT, DISCONNECT, TCPCLEAN = "connect", "disconnect", "tcpclean"
EVENT_TYPES = (CONNECT, DISCONNECT, TCPCLEAN)

# What is exact in every JSON reader; a time beyond it is none.
_MAX_TIME_MS = 1 << 53


class UnreadableNotice(ValueError):
    """What is wrong with an event of a client: `reason` is a word from a bounded set, `detail` is for people.

    `client_id` is the client's, if that much could be read.
    """

    def __init__(self, reason: str, detail: str, client_id: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.client_id = client_id


def read_notice(body: bytes | Mapping[str, Any]) -> StatusNotice:
    """Read one notice; keys that are not known are passed over.

    Raises:
        UnreadableNotice: it is none.
    """
    value: Any = body
    if isinstance(body, bytes):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnreadableNotice("not_a_status_event", f"expected a status notice as JSON ({error})") from None
    if not isinstance(value, Mapping):
        raise UnreadableNotice("not_a_status_event", "expected a status notice as a JSON object")
    client_id = client_id_in(value, "clientId")
    event_type = value.get("eventType")
    if event_type not in EVENT_TYPES:
        detail = f"eventType: expected {', '.join(EVENT_TYPES)}, got {shown(event_type)}"
        raise UnreadableNotice("foreign_event_type", detail, client_id)
    channel_id = value.get("channelId")
    if not isinstance(channel_id, str) or not channel_id:
        detail = f"channelId: expected the connection's id, got {shown(channel_id)}"
        raise UnreadableNotice("channel_id_missing", detail, client_id)
    return StatusNotice(
        client_id=client_id,
        event_type=event_type,
        time_ms=time_in(value, ("time",), 0, client_id),
        channel_id=channel_id,
        client_ip=text_in(value, "clientIp"),
        remark=text_in(value, "remark"),
    )


def write_notice(notice: StatusNotice) -> bytes:
    """Return the notice as ApsaraMQ writes it; what came as such is returned unchanged."""
    if notice.body is not None:
        return notice.body
    value: dict[str, Any] = {
        "clientId": notice.client_id,
        "time": notice.time_ms,
        "eventType": notice.event_type,
        "channelId": notice.channel_id,
        "clientIp": notice.client_ip,
    }
    if notice.remark:
        value["remark"] = notice.remark
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


# What all forms of event share.


def client_id_in(value: Mapping[str, Any], key: str) -> str:
    """Return the client id.

    Raises:
        UnreadableNotice: there is none.
    """
    client_id = value.get(key)
    if not isinstance(client_id, str) or not client_id:
        raise UnreadableNotice("client_id_missing", f"{key}: expected a client id, got {shown(client_id)}")
    return client_id


def time_in(value: Mapping[str, Any], keys: tuple[str, ...], fallback_ms: int, client_id: str) -> int:
    """Return the time in milliseconds that stands under the first of the keys that is there, else `fallback_ms` unless that is 0.

    Raises:
        UnreadableNotice: it is no number, or there is none.
    """
    key = next((each for each in keys if value.get(each) is not None), keys[0])
    time_ms = value.get(key)
    if time_ms is None and fallback_ms:
        return fallback_ms
    if isinstance(time_ms, float) and time_ms.is_integer():
        time_ms = int(time_ms)
    if not isinstance(time_ms, int) or isinstance(time_ms, bool) or not 0 <= time_ms <= _MAX_TIME_MS:
        detail = f"{key}: expected milliseconds since 1970, got {shown(time_ms)}"
        raise UnreadableNotice("invalid_time", detail, client_id)
    return time_ms


def text_in(value: Mapping[str, Any], key: str) -> str:
    """Return an optional text; what is none counts as absent, for nothing depends on it. EMQX writes "undefined" for what it has not."""
    text = value.get(key)
    return text if isinstance(text, str) and text != "undefined" else ""


def shown(value: Any) -> str:
    """Return a value as a detail shows it."""
    return "nothing" if value is None or value == "" else repr(value)[:80]
