"""Clients coming and going: what brokers say of it, in the words of ApsaraMQ's status notices, and who is online by them. Pure."""

from typing import TYPE_CHECKING

from mqbridge.later import later

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

__getattr__ = later(
    __name__,
    {
        "LOG_TOPICS": "mosquitto",
        "Connection": "mosquitto",
        "ConnectionLog": "mosquitto",
        "ClientPresence": "tracker",
        "Presence": "tracker",
    },
)
