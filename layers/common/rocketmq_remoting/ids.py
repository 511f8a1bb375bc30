"""Message ids in the form of Java's MessageClientIDSetter: 16 bytes as 32 upper-case hexadecimal digits.

Java writes  address (4) | pid (2) | class loader (4) | ms since the month began (4) | counter (2).  RocketMQ's query by
unique key reads the time back (MessageClientIDSetter.getNearlyTimeFromID) to bound its search, so the four time bytes have to be
right. Address and pid mean nothing where functions run (sandboxes share them, snapshots clone them): those bytes are random here,
or a digest where the same source must give the same id.
"""

import os
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

__all__ = ["derived_message_id", "is_message_id", "random_message_id"]


def random_message_id(time_ms: int) -> str:
    """Return a fresh id that carries `time_ms` (Unix time in milliseconds)."""
    block = _block
    try:
        low = block.unused.pop()
    except IndexError:
        block = _new_block()
        low = block.unused.pop()
    return f"{block.head}{_time_digits(time_ms)}{block.high}{low}"


_LOW_BYTES = [f"{low:02X}" for low in range(256)]


class _Block:
    """256 ids that differ in their last byte only, as Java's differ by its counter; 11 other bytes are random.

    The kernel is asked once for all: a system call an id was a tenth of a bridge's work. (Threads may take from one block.)
    """

    __slots__ = ("head", "high", "unused")

    def __init__(self) -> None:
        digits = os.urandom(11).hex().upper()
        self.head, self.high = digits[:20], digits[20:]
        self.unused = list(_LOW_BYTES)


def _new_block() -> _Block:
    global _block
    _block = _Block()
    return _block


_block = _Block()
# A process that is copied must not give out the ids that its original has in store.
os.register_at_fork(after_in_child=_new_block)


def is_message_id(text: str) -> bool:
    """Tell whether this has the form of a message id: 32 hexadecimal digits."""
    try:
        return len(text) == 32 and len(bytes.fromhex(text)) == 16
    except ValueError:
        return False


def derived_message_id(source: str, time_ms: int) -> str:
    """Return the id that `source` always has; `time_ms` must be the same each time as well."""
    digits = sha256(source.encode("utf-8", "surrogatepass")).hexdigest().upper()
    return f"{digits[:20]}{_time_digits(time_ms)}{digits[20:24]}"


@lru_cache(maxsize=64)  # a batch has few times
def _time_digits(time_ms: int) -> str:
    return f"{(time_ms - _month_start_ms(time_ms)) & 0xFFFFFFFF:08X}"


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
