"""How many dead letters lie in the queues of the rules in force, for mqbridge_dead_letters: asked now and then, by a thread of its own.

No rule waits for it, and nothing of it is shared with one. A queue that cannot be read has no depth, rather than an old one.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from mqbridge.rules import Rules
from mqbridge.telemetry import logger
from mqbridge_cli.dlq.depths import Depth, DepthReader, depth_readers

__all__ = ["DeadLetterWatch"]

LOOK_EVERY_S = 30.0
# That a queue cannot be read is said so seldom.
SAY_EVERY_S = 3_600.0
# What is asked at the end gets so long; a thread that hangs longer ends with the process.
END_S = 2.0


class DeadLetterWatch:
    """Watches the queues of whatever document `rules` returns, from `start` until `stop`."""

    def __init__(self, rules: Callable[[], Rules], every_s: float = LOOK_EVERY_S) -> None:
        self._rules = rules
        self._every_s = every_s
        self._depths: dict[str, Depth] = {}
        self._said_at: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)

    @property
    def depths(self) -> Mapping[str, Depth]:
        """What lies in each queue that could be read the last time, by its address."""
        return dict(self._depths)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; not before the queue that is being asked has answered, or some time has passed."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            rules = self._rules()
            readers = self._made(rules)
            try:
                while rules is self._rules() and not self._stopping.is_set():
                    self._look(readers)
                    self._stopping.wait(self._every_s)
            finally:
                for reader in readers:
                    reader.close()

    def _made(self, rules: Rules) -> Sequence[DepthReader]:
        readers = list(depth_readers(rules))
        self._depths = {reader.queue: self._depths[reader.queue] for reader in readers if reader.queue in self._depths}
        return readers

    def _look(self, readers: Sequence[DepthReader]) -> None:
        for reader in readers:
            if self._stopping.is_set():
                return
            try:
                depth = reader.read()
            except Exception as error:  # StoreError, and whatever else: the next one is asked all the same
                depth = None
                self._say(reader.queue, str(error))
            # Another mapping, not a changed one: it may be looked at meanwhile.
            others = {queue: of for queue, of in self._depths.items() if queue != reader.queue}
            self._depths = others if depth is None else {**others, reader.queue: depth}

    def _say(self, queue: str, why: str) -> None:
        now = time.monotonic()
        if now - self._said_at.get(queue, -SAY_EVERY_S) >= SAY_EVERY_S:
            self._said_at[queue] = now
            logger().warning("dead letters cannot be counted", extra={"queue": queue, "detail": why})
