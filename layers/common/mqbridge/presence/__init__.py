"""Clients coming and going: what brokers say of it, in the words of ApsaraMQ's status notices, and who is online by them. Pure."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .notices import CONNECT, DISCONNECT, TCPCLEAN, UnreadableNotice, read_notice, write_notice
from .sources import SYS_TOPICS, channel_id_of, read_payload, read_status

if TYPE_CHECKING:
    from .mosquitto import LOG_TOPICS, Connection, ConnectionLog
    from .tracker import ClientPresence, Presence

__all__ = [
    "CONNECT",
    "DISCONNECT",
    "LOG_TOPICS",
    "SYS_TOPICS",
    "TCPCLEAN",
    "ClientPresence",
    "Connection",
    "ConnectionLog",
    "Presence",
    "UnreadableNotice",
    "channel_id_of",
    "read_notice",
    "read_payload",
    "read_status",
    "write_notice",
]

_LATER = {
    "LOG_TOPICS": "mosquitto",
    "Connection": "mosquitto",
    "ConnectionLog": "mosquitto",
    "ClientPresence": "tracker",
    "Presence": "tracker",
}


def __getattr__(name: str) -> Any:
    """Load what no function uses when it is asked for: the expressions of log lines would cost every cold start 3 ms."""
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(name)
