"""What mosquitto's log says of clients, read into ApsaraMQ's notices. Pure; whoever reads the log keeps one `ConnectionLog`.

mosquitto publishes no presence, but its log, with `log_dest topic`: $SYS/broker/log/N has who came and left, $SYS/broker/log/E who was
taken over. The lines are those of mosquitto 2.0 (context.c, handle_connect.c, loop.c): only the one of a beginning names the address, so
an end belongs to the connection that the same client last began.
"""

import re
from dataclasses import dataclass, replace

from mqbridge.messages import StatusNotice

from .notices import CONNECT, DISCONNECT, TCPCLEAN
from .sources import channel_id_of

__all__ = ["LOG_TOPICS", "ConnectionLog"]

LOG_TOPICS = ("$SYS/broker/log/N", "$SYS/broker/log/E")

# The first that matches; what stands before it is the time, in seconds unless log_timestamp_format says otherwise.
_TIME = r"(?:(?P<time>[0-9]{1,12})|[^ ]*): "
_BEGIN = re.compile(
    rf"(?:{_TIME})?New (?:bridge|client) connected from (?P<ip>[^ ]+) as (?P<id>.+?)"
    r" \(p[0-9]+, c[0-9]+, k[0-9]+(?:, u'.*')?\)\.",
    re.DOTALL,
)
_ENDS = (
    (re.compile(rf"(?:{_TIME})?Client (?P<id>.+) disconnected\.", re.DOTALL), "", True),
    (re.compile(rf"(?:{_TIME})?Client (?P<id>.+) closed its connection\.", re.DOTALL), "closed its connection", False),
    (
        re.compile(rf"(?:{_TIME})?Client (?P<id>.+) has exceeded timeout, disconnecting\.", re.DOTALL),
        "exceeded timeout",
        False,
    ),
    (
        re.compile(rf"(?:{_TIME})?Client (?P<id>.+) already connected, closing old connection\.", re.DOTALL),
        "taken over",
        False,
    ),
    (
        re.compile(rf"(?:{_TIME})?Client (?P<id>.+) disconnected(?P<remark> due to [^.]+| [^.]+)\.", re.DOTALL),
        "",
        False,
    ),
    (re.compile(rf"(?:{_TIME})?Socket error on client (?P<id>.+), disconnecting\.", re.DOTALL), "socket error", False),
)
# Text in a client id or user name that would let a line be read in two ways. Such a client is passed over.
_AMBIGUOUS = re.compile(r" \(p[0-9]+, c[0-9]+, k[0-9]+")

MAX_CLIENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    channel_id: str
    client_ip: str
    began_ms: int
    ended_by: str = ""  # the line that said so


class ConnectionLog:
    """Turn log lines into notices; remembers each client's last connection.

    A line that comes again gives the same notices again. What ended without a line (the reader was away) ends when its client begins
    anew; an end whose beginning was not seen is told as one of a connection of its own.
    """

    def __init__(self, *, max_clients: int = MAX_CLIENTS) -> None:
        self._max_clients = max_clients
        self._known: dict[str, _Known] = {}

    def read(self, line: str, now_ms: int) -> tuple[StatusNotice, ...]:
        """Return what a line says, nothing for most lines; `now_ms` serves where the line has no time in seconds."""
        line = line.rstrip("\n")
        begin = _BEGIN.fullmatch(line)
        if begin is not None:
            return () if len(_AMBIGUOUS.findall(line)) > 1 else self._begin(begin, now_ms)
        for pattern, remark, is_announced in _ENDS:
            end = pattern.fullmatch(line)
            if end is not None:
                said = (end.groupdict().get("remark") or remark).strip()
                return self._end(end, line, now_ms, said, is_announced)
        return ()

    def _begin(self, match: re.Match[str], now_ms: int) -> tuple[StatusNotice, ...]:
        client_id, client_ip, at = match["id"], match["ip"], _time_ms(match, now_ms)
        channel_id = channel_id_of("mosquitto", client_id, f"{client_ip}/{at}")
        begun = _Known(channel_id, client_ip, at)
        known = self._known.get(client_id)
        if known is not None and (known.channel_id == channel_id or at < known.began_ms):
            return (_notice(client_id, CONNECT, at, begun),)  # a line that comes again
        self._known.pop(client_id, None)  # so that it becomes the youngest
        notices = []
        if known is not None and not known.ended_by:
            # mosquitto has one connection of a client id: the older one is gone, whatever was said of it.
            notices.append(replace(_notice(client_id, TCPCLEAN, at, known), remark="followed by another connection"))
        self._known[client_id] = begun
        if len(self._known) > self._max_clients:
            del self._known[next(iter(self._known))]
        return (*notices, _notice(client_id, CONNECT, at, begun))

    def _end(
        self, match: re.Match[str], line: str, now_ms: int, remark: str, is_announced: bool
    ) -> tuple[StatusNotice, ...]:
        client_id, at = match["id"], _time_ms(match, now_ms)
        known = self._known.get(client_id)
        if known is None or known.ended_by not in ("", line) or at < known.began_ms:
            known = _Known(channel_id_of("mosquitto", client_id, f"ended/{at}"), "", at)
        else:
            self._known[client_id] = replace(known, ended_by=line)
        kinds = (DISCONNECT, TCPCLEAN) if is_announced else (TCPCLEAN,)
        return tuple(replace(_notice(client_id, kind, at, known), remark=remark) for kind in kinds)


def _notice(client_id: str, event_type: str, time_ms: int, known: _Known) -> StatusNotice:
    return StatusNotice(
        client_id=client_id,
        event_type=event_type,
        time_ms=time_ms,
        channel_id=known.channel_id,
        client_ip=known.client_ip,
    )


def _time_ms(match: re.Match[str], now_ms: int) -> int:
    return int(match["time"]) * 1000 if match["time"] else now_ms
