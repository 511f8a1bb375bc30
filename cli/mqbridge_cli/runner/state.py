"""What a rule's source or worker is doing, in the words that logs, /readyz and metrics share."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mqbridge.telemetry import logger

__all__ = ["RuleState", "State"]


class State(Enum):
    STARTING = "STARTING"
    STARTING_FAILED = "STARTING_FAILED"  # a topic is missing, or a subscription was refused: nothing is consumed
    RUNNING = "RUNNING"
    RECONNECTING = "RECONNECTING"
    TAKEN_OVER = "TAKEN_OVER"  # another client uses our client id; this one stays away
    BLOCKED = "BLOCKED"  # a task that came to a record that it can neither deliver nor put aside
    PAUSED = "PAUSED"  # a task that was told to
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A rule's state at one moment; times are Unix seconds."""

    state: State
    since: float
    detail: str
    last_ok: float | None


class RuleState:
    """The state of one rule. Changes are logged once, when they happen.

    `on_reconnect` is called with the cause when the source is connected again.
    """

    def __init__(self, rule: str, on_reconnect: Callable[[str], None] = lambda _cause: None) -> None:
        self.rule = rule
        self._on_reconnect = on_reconnect
        self._cause = ""
        self._lock = threading.Lock()
        self._snapshot = Snapshot(State.STARTING, time.time(), "", None)

    @property
    def snapshot(self) -> Snapshot:
        """The current state."""
        return self._snapshot

    def change(self, state: State, detail: str = "", cause: str = "") -> None:
        """Enter `state`; entering it again changes nothing and is not logged again.

        `cause` says in a word of a bounded set what ended the source's connection, if that is why it is RECONNECTING.
        """
        with self._lock:
            before = self._snapshot
            now = time.time()
            last_ok = now if state is State.RUNNING else before.last_ok
            if before.state is state:
                self._snapshot = Snapshot(state, before.since, detail or before.detail, last_ok)
                return
            self._snapshot = Snapshot(state, now, detail, last_ok)
            if state is State.RUNNING and before.state is State.RECONNECTING and self._cause:
                self._on_reconnect(self._cause)
            self._cause = cause
        is_bad = state in (State.RECONNECTING, State.STARTING_FAILED, State.TAKEN_OVER, State.BLOCKED)
        say = logger().warning if is_bad else logger().info
        say(
            "rule state changed",
            extra={"rule": self.rule, "state": state.value, "was": before.state.value, "detail": detail},
        )
