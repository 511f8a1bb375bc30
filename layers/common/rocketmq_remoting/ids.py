"""Message ids in the form of Java's MessageClientIDSetter: 16 bytes as 32 upper-case hexadecimal digits.

Java writes  address (4) | pid (2) | class loader (4) | ms since the month began (4) | counter (2).  RocketMQ's query by
unique key reads the time back (MessageClientIDSetter.getNearlyTimeFromID) to bound its search, so the four time bytes have to be
right. Address and pid mean nothing where functions run (sandboxes share them, snapshots clone them): those bytes are random here,
or a digest where the same source must give the same id.
"""

import os
from datetime import UTC, datetime
from hashlib import sha256

__all__ = ["derived_message_id", "random_message_id"]


def random_message_id(time_ms: int) -> str:
    """Return a fresh id that carries `time_ms` (Unix time in milliseconds)."""
    try:
        unique = _fresh.pop()
    except IndexError:  # the kernel is asked once for many: a system call an id was a tenth of a bridge's work
        block = os.urandom(12 * _FRESH)
        _fresh.extend(block[at : at + 12] for at in range(12, len(block), 12))
        unique = block[:12]
    return _message_id(unique, time_ms)


_FRESH = 256
_fresh: list[bytes] = []
# A process that is copied must not give out the ids that its original has in store.
os.register_at_fork(after_in_child=_fresh.clear)


def derived_message_id(source: str, time_ms: int) -> str:
    """Return the id that `source` always has; `time_ms` must be the same each time as well."""
    return _message_id(sha256(source.encode("utf-8", "surrogatepass")).digest(), time_ms)


def _message_id(unique: bytes, time_ms: int) -> str:
    since_month_began = (time_ms - _month_start_ms(time_ms)) & 0xFFFFFFFF
    return (unique[:10] + since_month_began.to_bytes(4, "big") + unique[10:12]).hex().upper()


_END_OF_TIME_MS = 253_370_764_800_000  # the year 9999, of which datetime cannot name the end

_known_month: tuple[int, int] = (0, 0)  # [start, end) of the month asked for last, so that a batch computes it once


def _month_start_ms(time_ms: int) -> int:
    global _known_month
    start, end = _known_month
    if not start <= time_ms < end:
        if (
            not 0 <= time_ms < _END_OF_TIME_MS
        ):  # a source may claim any time; beyond the calendar there is no month to begin
            return 0
        month = datetime.fromtimestamp(time_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
        start, end = int(month.timestamp()) * 1000, int(following.timestamp()) * 1000
        _known_month = (start, end)
    return start
