"""What mosquitto's log says of clients, read into ApsaraMQ's notices. Pure; whoever reads the log keeps one `ConnectionLog`.

mosquitto publishes no presence, but its log, with `log_dest topic`: $SYS/broker/log/N has who came and left, $SYS/broker/log/E who was
taken over. The lines are those of mosquitto 2.0 (do_disconnect in loop.c, handle_connect.c), and the one of 1.x that went since: only the
one of a beginning names the address, so an end belongs to the connection that the same client last began.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mqbridge.messages import StatusNotice

from .notices import CONNECT, DISCONNECT, TCPCLEAN
from .sources import channel_id_of

__all__ = ["LOG_TOPICS", "Connection", "ConnectionLog"]

LOG_TOPICS = ("$SYS/broker/log/N", "$SYS/broker/log/E")

# What stands before a line is the time, in seconds unless log_timestamp_format says otherwise; no letters, which could be a client's.
_TIME = r"(?:(?P<stamp>[0-9TZ:.,/+ -]{1,40}): )?"
_BEGIN = re.compile(
    rf"{_TIME}New (?:bridge|client) connected from (?P<ip>[^ ]+) as (?P<id>.+?)"
    r" \((?:p[0-9]+, )?c[0-9]+, k[0-9]+(?:, u'.*')?\)\.",
    re.DOTALL,
)
# Announced is the first alone. "Client ID disconnected, not authorised." is none: that is somebody who was refused under this client id,
# whose owner may well be connected.
_ENDS = tuple(
    (re.compile(_TIME + pattern, re.DOTALL), remark)
    for pattern, remark in (
        (r"Client (?P<id>.+) disconnected\.", ""),
        (r"Client (?P<id>.+) closed its connection\.", "closed its connection"),
        (r"Client (?P<id>.+) has exceeded timeout, disconnecting\.", "exceeded timeout"),
        (r"Client (?P<id>.+) already connected, closing old connection\.", "taken over"),
        (r"Client (?P<id>.+) been disconnected by administrative action\.", "administrative action"),
        (r"Client (?P<id>.+) disconnected(?: due to|:) (?P<remark>.+)\.", ""),
        (r"Bad socket read/write on client (?P<id>.+): (?P<remark>.+)", ""),
        (r"Socket error on client (?P<id>.+), disconnecting\.", "socket error"),
    )
)
_ANNOUNCED = _ENDS[0][0]
# Text in a client id or user name that would let a line be read in two ways. Such a client is passed over.
_AMBIGUOUS = re.compile(r" \((?:p[0-9]+, )?c[0-9]+, k[0-9]+")

# Clients that are connected, and clients that have left and may be told of again.
MAX_CONNECTED, MAX_LEFT = 1_000_000, 10_000
MAX_SECONDS_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Connection:
    """The last connection of a client: `stamp` is what its first line has for a time, `ended_by` the line that told its end, if one did."""

    channel_id: str
    client_ip: str
    stamp: str
    ended_by: str = ""

    def began_after(self, stamp: str) -> bool:
        """Tell whether a line with that stamp is older; seconds and the usual formats sort as text."""
        return len(stamp) == len(self.stamp) and stamp < self.stamp


class ConnectionLog:
    """Turn log lines into notices; remembers each client's last connection.

    A line that comes again gives the same notices again. What ended without a line (the reader was away) ends when its client begins
    anew; an end whose beginning was not seen is told as one of a connection of its own.

    Args:
        known: what another log remembered, for a reader that starts again.
        max_connected: so many connected clients are remembered, the youngest.
        max_left: likewise for those that have left.
    """

    def __init__(
        self,
        known: Mapping[str, Connection] | None = None,
        *,
        max_connected: int = MAX_CONNECTED,
        max_left: int = MAX_LEFT,
    ) -> None:
        self._max_connected = max_connected
        self._max_left = max_left
        self._connected: dict[str, Connection] = {}
        self._left: dict[str, Connection] = {}
        for client_id, connection in (known or {}).items():
            self._remember(client_id, connection)

    def __len__(self) -> int:
        """Return how many clients are remembered."""
        return len(self._connected) + len(self._left)

    @property
    def known(self) -> dict[str, Connection]:
        """Return the last connection of every client that is remembered."""
        return {**self._left, **self._connected}

    def connection_of(self, client_id: str) -> Connection | None:
        """Return the last connection of a client."""
        return self._connected.get(client_id) or self._left.get(client_id)

    def read(self, line: str, now_ms: int) -> tuple[StatusNotice, ...]:
        """Return what a line says, nothing for most lines; `now_ms` serves where the line has no time in seconds."""
        line = line.rstrip("\n")
        begin = _BEGIN.fullmatch(line)
        if begin is not None:
            return () if len(_AMBIGUOUS.findall(line)) > 1 else self._begin(begin, now_ms)
        for pattern, remark in _ENDS:
            end = pattern.fullmatch(line)
            if end is not None:
                said = end.groupdict().get("remark") or remark
                return self._end(end, line, now_ms, said, is_announced=pattern is _ANNOUNCED)
        return ()

    def _begin(self, match: re.Match[str], now_ms: int) -> tuple[StatusNotice, ...]:
        client_id, client_ip, at = match["id"], match["ip"], _time_ms(match, now_ms)
        stamp = match["stamp"] or str(now_ms)
        begun = Connection(channel_id_of("mosquitto", client_id, f"{client_ip}/{stamp}"), client_ip, stamp)
        before = self.connection_of(client_id)
        if before is not None and (before.channel_id == begun.channel_id or before.began_after(stamp)):
            return (_notice(client_id, CONNECT, at, begun),)  # a line that comes again
        notices = []
        if before is not None and not before.ended_by:
            # mosquitto has one connection of a client id: the older one is gone, whatever was said of it.
            notices.append(replace(_notice(client_id, TCPCLEAN, at, before), remark="followed by another connection"))
        self._remember(client_id, begun)
        return (*notices, _notice(client_id, CONNECT, at, begun))

    def _end(
        self, match: re.Match[str], line: str, now_ms: int, remark: str, *, is_announced: bool
    ) -> tuple[StatusNotice, ...]:
        client_id, at = match["id"], _time_ms(match, now_ms)
        stamp = match["stamp"] or str(now_ms)
        ended = self.connection_of(client_id)
        if ended is None or ended.ended_by not in ("", line) or ended.began_after(stamp):
            ended = Connection(channel_id_of("mosquitto", client_id, f"ended/{stamp}"), "", stamp)
        else:
            self._remember(client_id, replace(ended, ended_by=line))
        kinds = (DISCONNECT, TCPCLEAN) if is_announced else (TCPCLEAN,)
        return tuple(replace(_notice(client_id, kind, at, ended), remark=remark) for kind in kinds)

    def _remember(self, client_id: str, connection: Connection) -> None:
        self._connected.pop(client_id, None)
        self._left.pop(client_id, None)
        place, limit = (self._left, self._max_left) if connection.ended_by else (self._connected, self._max_connected)
        place[client_id] = connection
        if len(place) > limit:
            del place[next(iter(place))]


def _notice(client_id: str, event_type: str, time_ms: int, connection: Connection) -> StatusNotice:
    return StatusNotice(
        client_id=client_id,
        event_type=event_type,
        time_ms=time_ms,
        channel_id=connection.channel_id,
        client_ip=connection.client_ip,
    )


def _time_ms(match: re.Match[str], now_ms: int) -> int:
    stamp = match["stamp"] or ""
    return int(stamp) * 1000 if stamp.isdigit() and len(stamp) <= MAX_SECONDS_DIGITS else now_ms
