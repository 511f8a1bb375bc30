"""Python's garbage collector, as a process has it that carries messages."""

import gc

__all__ = ["collect_rarely"]


def collect_rarely() -> None:
    """Have cycles looked for more rarely, and not among what is there already.

    Records under way are many, short-lived and without cycles. Walking them again and again took as long as all other work where paho
    decoded them (117 against 36 us a message), and a third of it where a function gets 10,000 in a batch.
    """
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)
