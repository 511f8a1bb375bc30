"""One rule over pauses, blocks and resumptions: what it is doing, and the runner that does it, if one does."""

import threading
import time
from collections.abc import Mapping

from mqbridge.rules import EventStreaming, MqttInstance, RocketMQInstance, Rules
from mqbridge.telemetry import Counters, LastError, begin_rule, logger, sink_label
from mqbridge_cli.runner.changes import Key, Part
from mqbridge_cli.runner.function_accounts import begin_rule_elsewhere
from mqbridge_cli.runner.holds import BLOCKED, PAUSED, Hold, StateDirectory, StateUnavailable
from mqbridge_cli.runner.lambda_functions import Functions
from mqbridge_cli.runner.rule_runner import RuleRunner
from mqbridge_cli.runner.state import RuleState, State
from mqbridge_cli.runner.watched_sinks import Contact

__all__ = ["RuleLife"]

PAUSED_BY_FILE = "its Status in the rules file is Paused"


class RuleLife:
    """Holds at most one `RuleRunner` at a time. Its commands come from one thread at a time.

    Args:
        part: the rule and what it runs by.
        rules: the document that it is of.
        counters: shared by all rules.
        holds: where a task's pause or block is kept.
        share: this runner's name among several that share the load.
        received: how many records came in an earlier life of the rule in this process.
        functions: what carries records out, if not this process.
    """

    def __init__(
        self,
        part: Part,
        rules: Rules,
        counters: Counters,
        holds: StateDirectory,
        *,
        share: str = "",
        received: int = 0,
        functions: Functions | None = None,
    ) -> None:
        self.part = part
        self.flow, self.name = part.key
        self.broker, sink = map(_label, part.instances[:2])
        self.state = RuleState(
            self.name,
            lambda cause: counters.add("mqbridge_broker_reconnects_total", broker=self.broker, reason=cause),
        )
        self._rules = rules
        self._counters = counters
        self._holds = holds
        self._share = share
        self._functions = functions
        self._received_before = received
        self._hold_lock = threading.Lock()  # a task may come to a block while it is being paused
        self._hold = holds.hold_of(self.name) if self.is_task else None
        self._runner: RuleRunner | None = None
        if functions is None:
            begin_rule(counters, self.flow, self.name, sink)
        else:
            begin_rule_elsewhere(counters, self.flow, self.name)
        if not self.is_held:
            self._runner = self._new_runner()

    # What it is.

    @property
    def key(self) -> Key:
        """Flow and name."""
        return self.part.key

    @property
    def is_task(self) -> bool:
        """Whether it is a message outflow task, which has a life cycle."""
        return isinstance(self.part.rule, EventStreaming)

    @property
    def is_carried_out_elsewhere(self) -> bool:
        """Whether a function does it, so that nobody here knows what became of a record that is settled."""
        return self._functions is not None

    @property
    def is_paused_by_file(self) -> bool:
        """Whether the rules file itself says that the task is paused."""
        return isinstance(self.part.rule, EventStreaming) and self.part.rule.status == "Paused"

    @property
    def hold(self) -> Hold | None:
        """What holds the task beside the rules file."""
        return self._hold

    @property
    def is_held(self) -> bool:
        """Whether the rule is not to run."""
        return self._hold is not None or self.is_paused_by_file

    @property
    def received(self) -> int:
        """Records that came since the process started."""
        return self._received_before + (self._runner.inbox.received if self._runner is not None else 0)

    @property
    def unsettled(self) -> int:
        """Records that came and are not settled; those of a blocked task wait at the broker with what came after them."""
        return self._runner.inbox.unsettled if self._runner is not None else 0

    @property
    def parked(self) -> int:
        """Records that can never be delivered, and that only the source still keeps."""
        return self._runner.worker.parked if self._runner is not None else 0

    @property
    def contacts(self) -> Mapping[str, Contact]:
        """The last contact with each instance that the rule has sent to since it was started."""
        return self._runner.contacts if self._runner is not None else {}

    @property
    def last_error(self) -> LastError | None:
        """What last went wrong with one of its records."""
        return self._counters.last_error(self.flow, self.name)

    def oldest_age_s(self) -> float | None:
        """Return the age of the oldest record that came and is not settled."""
        return self._runner.worker.oldest_age_s() if self._runner is not None else None

    # What is done with it.

    def start(self) -> None:
        """Begin, unless something holds it."""
        if self._hold is None and self.is_task:
            self._hold = self._holds.hold_of(self.name)  # the life before this one may have come to a block at its end
        if self.is_held:
            self._runner = None
            self._show_hold()
        elif self._runner is not None:
            self._runner.start()

    def keep_up(self) -> None:
        """Serve the source if the worker is busy for long."""
        runner = self._runner
        if runner is not None:
            runner.worker.keep_up()

    def stop_reading(self) -> None:
        """Begin to stop."""
        if self._runner is not None and not self.is_held:
            self.state.change(State.DRAINING)
            self._runner.stop_reading()

    def finish(self, deadline: float) -> None:
        """Stop, by `deadline` (time.monotonic)."""
        if self._runner is None:
            return
        self._runner.finish(deadline)
        self._received_before, self._runner = self.received, None
        if not self.is_held:
            self.state.change(State.STOPPED)

    def pause(self, deadline: float) -> None:
        """Drain and disconnect, keeping the MQTT session, until resumed; a task that is held already stays as it is.

        Raises:
            StateUnavailable: it could not be remembered, so nothing was done.
        """
        with self._hold_lock:
            if self._hold is not None:
                return
            hold = Hold(kind=PAUSED, since=time.time())
            self._holds.put(self.name, hold)
            self._hold = hold
        if self._runner is not None:
            self.state.change(State.DRAINING)
            self._runner.stop_reading()
            self.finish(deadline)
        self._show_hold()

    def resume(self, deadline: float) -> None:
        """Run again after a pause or a block.

        Raises:
            StateUnavailable: what held the task could not be forgotten, so nothing was done.
            Exception: the task cannot be run, and is still held.
        """
        if self._hold is None or self.is_paused_by_file:
            return
        self.finish(deadline)  # what was blocked is still being closed, maybe
        runner = self._new_runner()
        self._holds.clear(self.name)
        with self._hold_lock:
            self._hold = None
        self.state.change(State.STARTING)
        self._runner = runner
        runner.start()

    def _new_runner(self) -> RuleRunner:
        part = self.part
        return RuleRunner(
            part.rule,
            self._rules,
            self._counters,
            self.state,
            share=self._share,
            on_block=self._on_block,
            state_path=self._holds.path,
            functions=self._functions,
        )

    def _on_block(self, record: str, reason: str, detail: str) -> None:
        error = self.last_error
        stage = error.stage if error is not None and error.record == record else ""
        hold = Hold(kind=BLOCKED, since=time.time(), record=record, stage=stage, reason=reason, detail=detail)
        with self._hold_lock:
            if self._hold is not None:
                return
            self._hold = hold
            try:
                self._holds.put(self.name, hold)
            except (
                StateUnavailable
            ) as unavailable:  # it is blocked all the same, and comes to the same record after a restart
                logger().error("block cannot be remembered", extra={"rule": self.name, "detail": str(unavailable)})
        self._show_hold()

    def _show_hold(self) -> None:
        hold = self._hold
        if self.is_paused_by_file:
            self.state.change(State.PAUSED, PAUSED_BY_FILE)
        elif hold is not None and hold.kind == BLOCKED:
            at = f"at record {hold.record}, {hold.stage or 'processing'}: {hold.reason}: {hold.detail}"
            self.state.change(State.BLOCKED, at)
        elif hold is not None:
            self.state.change(State.PAUSED, f"{hold.reason}: {hold.detail}" if hold.reason else "")


def _label(instance: MqttInstance | RocketMQInstance) -> str:
    return sink_label("mqtt" if isinstance(instance, MqttInstance) else "rocketmq", instance.instance_id)
