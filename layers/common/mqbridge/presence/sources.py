"""What MQTT brokers say when a client comes or goes, read into ApsaraMQ's notices. Pure.

channelId is made of what tells a connection from others of its client, and stands in both of its events:

- AWS IoT's life cycle events ($aws/events/presence/...): sessionIdentifier with versionNumber. A persistent session outlives connections;
  the number is the same in a connection's two events, and another in the next one's.
- EMQX's client.connected and client.disconnected, of a webhook or rule or under $SYS/brokers/NODE/clients/: connected_at, which the end
  names too, from EMQX 5.8.6 on in rules (emqx/emqx#14869), before that under $SYS. A rule may select what else tells connections
  apart AS connection_id.
- ApsaraMQ's own notices have a channelId.
- mosquitto's log lines are read by the runner (`mosquitto`), which sends {"clientId", "notices": [ApsaraMQ's, ...]}.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from mqbridge.messages import ClientStatus, StatusNotice
from mqbridge.outcomes import Reject

from .notices import (
    CONNECT,
    DISCONNECT,
    EVENT_TYPES,
    TCPCLEAN,
    UnreadableNotice,
    client_id_in,
    read_notice,
    shown,
    text_in,
    time_in,
)

__all__ = ["SYS_TOPICS", "channel_id_of", "read_payload", "read_status"]

# EMQX publishes these if nobody has turned sys_topics.sys_event_messages off.
SYS_TOPICS = ("$SYS/brokers/+/clients/+/connected", "$SYS/brokers/+/clients/+/disconnected")

# Other events of AWS IoT's $aws/events/..., which a rule may select together with those of presence.
_AWS_OTHERS = ("subscribed", "unsubscribed", "connect_failed")
# What tells AWS IoT's events from a device's own data, in which an eventType may stand too.
_AWS_MARKS = frozenset({"sessionIdentifier", "principalIdentifier", "versionNumber"})
_AWS_LEAST = frozenset({"clientId", "timestamp"})
_EMQX_CONNECTED, _EMQX_DISCONNECTED = "client.connected", "client.disconnected"
# Families of EMQX's events that a webhook may send to the same address.
_EMQX_FAMILIES = ("client.", "session.")
# EMQX names the reason code of a client's DISCONNECT packet so; 0x04 announces the end too, and asks for the will.
_EMQX_ANNOUNCED = frozenset({"normal", "disconnect_with_will_message"})


def read_status(value: Any, *, topic: str = "", instance_id: str = "", time_ms: int = 0) -> ClientStatus | None:
    """Read one event of a broker about a client; None if it is of none of the forms.

    Args:
        value: the event's JSON, decoded.
        topic: where it was published, if it was.
        instance_id: the MQTT instance, where known; else an event may name it.
        time_ms: serves where the event has no time.
    """
    if not isinstance(value, Mapping):
        return None
    form = _form_of(value, topic)
    if form is None:
        return None
    client_id, event_type = "", ""
    notices: tuple[StatusNotice, ...] = ()
    fault = None
    try:
        client_id, event_type, notices = form(value, topic, time_ms)
    except UnreadableNotice as error:
        client_id, fault = error.client_id, Reject(error.reason, error.detail)
    except RecursionError:
        fault = Reject("not_a_status_event", "nested too deeply")
    return ClientStatus(
        instance_id=instance_id or _instance_in(value),
        client_id=client_id,
        event_type=event_type,
        notices=notices,
        fault=fault,
        time_ms=notices[0].time_ms if notices else time_ms,
        topic=topic,
    )


def _instance_in(value: Mapping[str, Any]) -> str:
    # No broker names an instance of ours; a rule's SELECT or a webhook's template can.
    found = (value.get(key) for key in ("instanceId", "instance_id"))
    return next((each for each in found if isinstance(each, str)), "")


def read_payload(payload: bytes, *, topic: str = "", instance_id: str = "", time_ms: int = 0) -> ClientStatus:
    """Read a message that carries such an event; ApsaraMQ's own passes with its bytes unchanged."""
    try:
        value = json.loads(payload)
        status = read_status(value, topic=topic, instance_id=instance_id, time_ms=time_ms)
        why = "an event of AWS IoT, EMQX or ApsaraMQ about a client, got another JSON value"
    except (ValueError, RecursionError):
        status, why = None, "the JSON of an event about a client, got other bytes"
    if status is None:
        fault = Reject("not_a_status_event", f"payload: expected {why}")
        return ClientStatus(instance_id=instance_id, client_id="", fault=fault, time_ms=time_ms, topic=topic)
    if len(status.notices) == 1 and status.notices[0].body is not None:
        return replace(status, notices=(replace(status.notices[0], body=payload),))
    return status


def channel_id_of(source: str, client_id: str, connection: str) -> str:
    """Return the id of a connection, always the same one, in the form of ApsaraMQ's: 32 hexadecimal digits."""
    identity = f"{source}\0{client_id}\0{connection}"
    return sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_Read = tuple[str, str, tuple[StatusNotice, ...]]  # client id, event type, notices
_Form = Callable[[Mapping[str, Any], str, int], _Read]


def _form_of(value: Mapping[str, Any], topic: str) -> _Form | None:
    if isinstance(value.get("notices"), list):
        return _several
    if "eventType" in value:
        if "channelId" in value or (value["eventType"] in EVENT_TYPES and "clientId" in value):
            return _apsara
        return _aws if _AWS_MARKS & value.keys() or value.keys() >= _AWS_LEAST else None
    event = value.get("event")
    if isinstance(event, str) and event.startswith(_EMQX_FAMILIES):
        return _emqx
    is_sys = topic.startswith("$SYS/brokers/") and "/clients/" in topic
    if is_sys or ("clientid" in value and ("connected_at" in value or "disconnected_at" in value)):
        return _emqx_sys
    return None


def _apsara(value: Mapping[str, Any], topic: str, time_ms: int) -> _Read:
    del topic, time_ms
    notice = read_notice(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return notice.client_id, notice.event_type, (replace(notice, body=text.encode("utf-8", "backslashreplace")),)


def _several(value: Mapping[str, Any], topic: str, time_ms: int) -> _Read:
    del topic, time_ms
    client_id = client_id_in(value, "clientId")
    notices = tuple(read_notice(each) for each in value["notices"])
    if any(each.client_id != client_id for each in notices):
        raise UnreadableNotice("not_a_status_event", "notices: expected those of one client", client_id)
    return client_id, notices[-1].event_type if notices else "", notices


def _aws(value: Mapping[str, Any], topic: str, time_ms: int) -> _Read:
    del topic
    client_id = client_id_in(value, "clientId")
    event_type = value["eventType"]
    if event_type in _AWS_OTHERS:
        return client_id, event_type, ()
    if event_type not in ("connected", "disconnected"):
        raise _foreign("eventType", ("connected", "disconnected"), event_type, client_id)
    session, version = text_in(value, "sessionIdentifier"), value.get("versionNumber")
    if not session and not _is_whole(version):
        detail = "sessionIdentifier, versionNumber: expected what tells the connection from others, got nothing"
        raise UnreadableNotice("channel_id_missing", detail, client_id)
    reason = text_in(value, "disconnectReason")
    is_announced = value.get("clientInitiatedDisconnect", reason == "CLIENT_INITIATED_DISCONNECT") is True
    return _read(
        event_type,
        is_end=event_type == "disconnected",
        is_announced=is_announced,
        client_id=client_id,
        time_ms=time_in(value, ("timestamp",), time_ms, client_id),
        channel_id=channel_id_of("aws-iot", client_id, f"{session}/{version if _is_whole(version) else ''}"),
        client_ip=text_in(value, "ipAddress"),
        remark=reason,
    )


def _emqx(value: Mapping[str, Any], topic: str, time_ms: int) -> _Read:
    del topic
    event = str(value["event"])
    client_id = client_id_in(value, "clientid")
    if event not in (_EMQX_CONNECTED, _EMQX_DISCONNECTED):
        return client_id, event, ()
    return _of_emqx(value, client_id, event, time_ms)


def _emqx_sys(value: Mapping[str, Any], topic: str, time_ms: int) -> _Read:
    client_id = client_id_in(value, "clientid")
    word = topic.rpartition("/")[2] if topic.startswith("$SYS/") else ""
    if word and word not in ("connected", "disconnected"):
        return client_id, f"client.{word}", ()
    is_end = word == "disconnected" if word else "disconnected_at" in value
    return _of_emqx(value, client_id, _EMQX_DISCONNECTED if is_end else _EMQX_CONNECTED, time_ms)


def _of_emqx(value: Mapping[str, Any], client_id: str, event: str, time_ms: int) -> _Read:
    is_end = event == _EMQX_DISCONNECTED
    own_time = "disconnected_at" if is_end else "connected_at"
    at = time_in(value, ("timestamp", "ts", own_time), time_ms, client_id)
    reason = text_in(value, "reason")
    address = text_in(value, "peername") or text_in(value, "ipaddress")
    chosen, connected_at = text_in(value, "connection_id"), value.get("connected_at")
    # Without connected_at (a rule's disconnect before 5.8.6) nothing ties an end to its beginning for certain: a device may come back from
    # the same address. The end is told all the same, as that of a connection of its own.
    connection = chosen or (str(connected_at) if _is_whole(connected_at) else f"{address}/{at}")
    return _read(
        event,
        is_end=is_end,
        is_announced=reason in _EMQX_ANNOUNCED,
        client_id=client_id,
        time_ms=at,
        channel_id=channel_id_of("emqx", client_id, connection),
        client_ip=address,
        remark=reason if is_end else "",
    )


def _read(event_type: str, *, is_end: bool, is_announced: bool, **common: Any) -> _Read:
    """Return the notices of an event: an announced end is a disconnect and a tcpclean, any other a tcpclean alone."""
    kinds = ((DISCONNECT, TCPCLEAN) if is_announced else (TCPCLEAN,)) if is_end else (CONNECT,)
    return common["client_id"], event_type, tuple(StatusNotice(event_type=kind, **common) for kind in kinds)


def _foreign(key: str, expected: tuple[str, ...], got: Any, client_id: str) -> UnreadableNotice:
    return UnreadableNotice("foreign_event_type", f"{key}: expected {', '.join(expected)}, got {shown(got)}", client_id)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
