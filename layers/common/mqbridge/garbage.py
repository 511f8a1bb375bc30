"""Python's garbage collector, as a process has it that carries messages."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_rarely", "kept_for_good"]


def collect_rarely() -> None:
    """Have cycles looked for more rarely, and not among what is there already.

    Records under way are many, short-lived and without cycles. Walking them again and again took as long as all other work where paho
    decoded them (117 against 36 us a message), and a third of it where a function gets 10,000 in a batch.
    """
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Make or import what a process keeps until it ends, and then collect rarely.

    Nothing is looked for meanwhile: walking what is there already, again and again, was 5 of the 90 ms of a cold start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        collect_rarely()
