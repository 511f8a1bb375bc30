"""Calls that may take longer than anybody has time for: they are waited for no longer than that.

A name may have many addresses, and sockets, TLS and boto3 give each of them the whole of a timeout. A function that is still waiting when
its time is over is ended with all that it holds; one that waits no longer can still answer for its records.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Generic, TypeVar

__all__ = ["OutOfTime", "until", "within"]

T = TypeVar("T")

_deadline: ContextVar[float] = ContextVar("mqbridge-deadline", default=float("inf"))


class OutOfTime(TimeoutError):
    """There was no answer within the time that there was for it; the call may still be under way."""


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Have nothing waited for beyond `deadline` (time.monotonic seconds) in this context."""
    token = _deadline.set(min(deadline, _deadline.get()))
    try:
        yield
    finally:
        _deadline.reset(token)


def within(seconds: float, call: Callable[[], T], late: Callable[[T], None] | None = None) -> T:
    """Return what `call` returns, or raise what it raises, within so many seconds.

    It runs in a thread of its own, which goes on if it is waited for no longer: until then it has to end by timeouts of its own. What it
    returns afterwards is given to `late`, in that thread.

    Raises:
        OutOfTime: it took longer, or there is no time at all.
    """
    left_s = min(seconds, _deadline.get() - time.monotonic())
    if left_s <= 0:
        raise OutOfTime("no time left")
    waited_for = _Call(call, late)
    context = copy_context()
    threading.Thread(target=lambda: context.run(waited_for.run), daemon=True).start()
    return waited_for.result(left_s)


class _Call(Generic[T]):
    def __init__(self, call: Callable[[], T], late: Callable[[T], None] | None) -> None:
        self._call = call
        self._late = late
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._is_left = False
        self._returned: list[T] = []
        self._raised: BaseException | None = None

    def run(self) -> None:
        try:
            self._returned.append(self._call())
        except BaseException as error:  # raised again where it is waited for
            self._raised = error
        with self._lock:
            self._is_over.set()
            is_late = self._is_left
        if is_late and self._returned and self._late is not None:
            self._late(self._returned[0])

    def result(self, left_s: float) -> T:
        self._is_over.wait(left_s)
        with self._lock:
            self._is_left = not self._is_over.is_set()
        if self._is_left:
            raise OutOfTime(f"no answer within {left_s:.1f} s")
        raised, self._raised = self._raised, None
        try:
            if raised is not None:
                raise raised
        finally:
            del raised  # its traceback has this frame: together they would keep what the call had opened
        return self._returned[0]
