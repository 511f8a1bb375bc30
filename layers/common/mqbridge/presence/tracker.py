"""Who is online, by status notices that come in any order, twice, and overlapping. Pure, and bounded in memory.

The rules are those of ApsaraMQ's documentation of status notices (rules 2 to 5 of its page on online status) and of its sample
(MQTTClientStatusNoticeProcessDemo), and one that the sample lacks:

- A client is online while some connection of it has begun and not ended. Reconnects overlap, so there may be several.
- Any end (disconnect, tcpclean) ends the connection with its own channelId and no other, whatever the times say.
- An end may come before its beginning, which then changes nothing.
- A connection that has ended is remembered as such: a late duplicate of its connect must not bring it back.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from mqbridge.messages import StatusNotice

from .notices import CONNECT

__all__ = ["ClientPresence", "Presence"]

# Ends that are remembered, of all clients together: a day of 100,000 devices that reconnect every hour needs 2.4 million, of which
# duplicates come within minutes.
MAX_ENDED = 100_000
# A client has one connection at a time, as a rule. Sources whose ends name no connection leave theirs open: the oldest are given up.
MAX_BEGUN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPresence:
    """What is known of one client: online or not, since when (the source's clock, milliseconds), and from where."""

    client_id: str
    is_online: bool
    since_ms: int
    client_ip: str = ""
    connections: int = 0


@dataclass(slots=True)
class _Client:
    # By channelId: when it began, and from where.
    begun: dict[str, tuple[int, str]] = field(default_factory=dict)
    ended: int = 0  # how many ends of its are remembered
    last_end_ms: int = 0


class Presence:
    """Take notices, tell who is online.

    Memory holds the newest 64 connections of each client that have begun and not ended, and at most `max_ended` ended ones; the oldest
    are forgotten first, and with its last one a client that is not online. So the answer does not depend on the order of the notices
    as long as no notice comes later than `max_ended` ends of other connections.
    """

    def __init__(self, *, max_ended: int = MAX_ENDED) -> None:
        self._max_ended = max_ended
        self._clients: dict[str, _Client] = {}
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()  # (client id, channelId)

    def add(self, notice: StatusNotice) -> ClientPresence | None:
        """Take a notice; return what is known of its client if that made it come online or go offline."""
        was_online = self.is_online(notice.client_id)
        if notice.event_type == CONNECT:
            self._begin(notice)
        else:
            self._end(notice)
        found = self.client(notice.client_id)
        return found if found is not None and found.is_online != was_online else None

    def is_online(self, client_id: str) -> bool:
        """Tell whether a client is online; one that was never heard of is not."""
        client = self._clients.get(client_id)
        return client is not None and bool(client.begun)

    def client(self, client_id: str) -> ClientPresence | None:
        """Return what is known of a client, None if nothing is."""
        client = self._clients.get(client_id)
        if client is None:
            return None
        if not client.begun:
            return ClientPresence(client_id=client_id, is_online=False, since_ms=client.last_end_ms)
        # Online since the first of the connections that last; seen at the address of the newest.
        since_ms = min(began_ms for began_ms, _ in client.begun.values())
        client_ip = max(client.begun.values())[1]
        return ClientPresence(
            client_id=client_id, is_online=True, since_ms=since_ms, client_ip=client_ip, connections=len(client.begun)
        )

    def clients(self) -> list[ClientPresence]:
        """Return all clients that are known, by client id."""
        found = (self.client(client_id) for client_id in sorted(self._clients))
        return [each for each in found if each is not None]

    def online(self) -> list[ClientPresence]:
        """Return the clients that are online, by client id."""
        return [each for each in self.clients() if each.is_online]

    def _begin(self, notice: StatusNotice) -> None:
        if (notice.client_id, notice.channel_id) in self._ended:
            return
        client = self._clients.setdefault(notice.client_id, _Client())
        began = (notice.time_ms, notice.client_ip)
        # Of two that differ the same one is kept in whatever order they come.
        client.begun[notice.channel_id] = min(began, client.begun.get(notice.channel_id, began))
        if len(client.begun) > MAX_BEGUN:
            del client.begun[min(client.begun, key=lambda channel_id: (client.begun[channel_id], channel_id))]

    def _end(self, notice: StatusNotice) -> None:
        client = self._clients.setdefault(notice.client_id, _Client())
        client.begun.pop(notice.channel_id, None)
        client.last_end_ms = max(client.last_end_ms, notice.time_ms)
        key = (notice.client_id, notice.channel_id)
        if key not in self._ended:
            self._ended[key] = None
            client.ended += 1
            self._forget_the_oldest()

    def _forget_the_oldest(self) -> None:
        while len(self._ended) > self._max_ended:
            (client_id, _), _ = self._ended.popitem(last=False)
            client = self._clients[client_id]
            client.ended -= 1
            if not client.ended and not client.begun:
                del self._clients[client_id]
