"""All rules of a document as they run: started, changed, paused, resumed and stopped together or one by one."""

import threading
import time
from collections.abc import Iterable, Sequence

from mqbridge.rules import EventStreaming, MqttInstance, OutboundRule, Rules, StatusRule
from mqbridge.telemetry import Counters, logger
from mqbridge_cli.runner.blocking import may_block
from mqbridge_cli.runner.changes import Key, Part, changes, parts
from mqbridge_cli.runner.drop_watch import DropWatch
from mqbridge_cli.runner.holds import StateDirectory, StateUnavailable
from mqbridge_cli.runner.lambda_functions import Functions
from mqbridge_cli.runner.rule_life import RuleLife
from mqbridge_cli.runner.rule_runner import DRAIN_TIMEOUT_S
from mqbridge_cli.runner.rules_file import CannotRun

__all__ = ["Fleet"]


class Fleet:
    """What this process runs of a document.

    Changes come one at a time, from whatever thread; who only looks does not wait for them.

    Args:
        rules: the document.
        counters: of this process.
        holds: where pauses and blocks are kept.
        share: this runner's name among several that share the load.
        part: (number, of how many): every so manieth rule; the first one also says what concerns the whole document.
        functions: what carries records out, if not this process.

    Raises:
        CannotRun: a secret is not there, or state cannot be kept.
    """

    def __init__(
        self,
        rules: Rules,
        counters: Counters,
        holds: StateDirectory,
        *,
        share: str = "",
        part: tuple[int, int] = (1, 1),
        functions: Functions | None = None,
    ) -> None:
        self._counters = counters
        self._holds = holds
        self._share = share
        self._part = part
        self._functions = functions
        self._lock = threading.Lock()
        self._is_stopped = False
        self._watched: list[MqttInstance] = []
        self._rules = rules
        self._lives: dict[Key, RuleLife] = {}
        self._lives = {each.key: each for each in self._born(rules, self._mine(rules).values())}

    @property
    def rules(self) -> Rules:
        """The document in force."""
        return self._rules

    @property
    def lives(self) -> Sequence[RuleLife]:
        """Every rule, running or held."""
        return tuple(self._lives.values())

    def task(self, name: str) -> RuleLife | None:
        """Return a task by its name."""
        return self._lives.get(("outflow", name))

    def start(self) -> None:
        """Begin."""
        if self._part[0] == 1:
            _warn_of_what_does_not_run(self._rules)
        with self._lock:
            self._start(self.lives)

    def keep_up(self) -> None:
        """Serve the sources of busy workers."""
        for life in self.lives:
            life.keep_up()

    def apply(self, rules: Rules) -> None:
        """Put another document in force: what is the same goes on untouched, the rest is drained and started anew, or stopped.

        Raises:
            CannotRun: nothing has changed.
        """
        with self._lock:
            if self._is_stopped:
                raise CannotRun("the runner is stopping")
            old = {key: life.part for key, life in self._lives.items()}
            new = self._mine(rules)
            found = changes(old, new)
            # Made before anything is stopped: it shows whether they can run.
            born = self._born(rules, [new[key] for key in (*found.changed, *found.added)])
            _drain([self._lives[key] for key in (*found.changed, *found.removed)])
            fresh = {life.key: life for life in born}
            self._lives = {key: fresh[key] if key in fresh else self._lives[key] for key in new}
            self._rules = rules
            self._start(born)
        names = {word: [name for _, name in getattr(found, word)] for word in ("kept", "changed", "added", "removed")}
        logger().info("rules changed", extra={"config_hash": rules.digest, **names})

    def pause(self, name: str) -> None:
        """Have a task drain and disconnect until it is resumed.

        Raises:
            KeyError: there is no such task.
            StateUnavailable: that could not be remembered, so nothing was done.
            CannotRun: the runner is stopping.
        """
        with self._lock:
            self._task(name).pause(time.monotonic() + DRAIN_TIMEOUT_S)

    def resume(self, name: str) -> None:
        """Have a task run that was paused or blocked.

        Raises:
            KeyError: there is no such task.
            StateUnavailable, CannotRun: it is still held.
        """
        with self._lock:
            task = self._task(name)
            try:
                task.resume(time.monotonic() + DRAIN_TIMEOUT_S)
            except StateUnavailable:
                raise
            except Exception as error:  # a secret that is no longer there
                raise CannotRun(str(error)) from error

    def stop(self) -> None:
        """Drain everything and end."""
        with self._lock:
            self._is_stopped = True
            _drain(self.lives)

    def _task(self, name: str) -> RuleLife:
        if self._is_stopped:
            raise CannotRun("the runner is stopping")
        return self._lives["outflow", name]

    def _mine(self, rules: Rules) -> dict[Key, Part]:
        number, of = self._part
        return dict(list(parts(rules).items())[number - 1 :: of])

    def _born(self, rules: Rules, mine: Iterable[Part]) -> list[RuleLife]:
        wanted = list(mine)
        try:
            if any(isinstance(part.rule, EventStreaming) for part in wanted):
                self._holds.check()
            return [
                RuleLife(
                    part,
                    rules,
                    self._counters,
                    self._holds,
                    share=self._share,
                    received=self._lives[part.key].received if part.key in self._lives else 0,
                    functions=self._functions,
                )
                for part in wanted
            ]
        except Exception as error:  # a secret that is not there, a certificate that cannot be read
            raise CannotRun(str(error)) from error

    def _start(self, lives: Sequence[RuleLife]) -> None:
        for life in lives:
            _warn(life)
            life.start()
        if self._part[0] == 1:
            self._watch_for_drops()

    def _watch_for_drops(self) -> None:
        for part in parts(self._rules).values():
            instance = part.instances[0]
            if isinstance(instance, MqttInstance) and instance not in self._watched:
                self._watched.append(instance)
                DropWatch(instance).start()


def _drain(lives: Sequence[RuleLife]) -> None:
    for life in lives:
        life.stop_reading()
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for life in lives:
        life.finish(deadline)


def _warn_of_what_does_not_run(rules: Rules) -> None:
    for rule in rules.status:
        instance_id = str(rule.source.instance_id)
        if rule.status == "Enabled" and rules.mqtt[instance_id].presence_from is None:
            logger().warning(
                "status rule does not run here: its MQTT instance does not say where its presence comes from (PresenceFrom); "
                "functions/outbound/status.py takes what a broker posts",
                extra={"rule": rule.rule_id, "instance": instance_id},
            )


def _warn(life: RuleLife) -> None:
    rule = life.part.rule
    if isinstance(rule, OutboundRule | StatusRule) and rule.run_options.dead_letter_queue is None:
        logger().warning(
            "rule has no dead-letter queue: a message that can never be delivered will wait at the MQTT broker",
            extra={"rule": life.name},
        )
    if may_block(rule):
        logger().warning(
            "task has no dead-letter queue, and its ErrorsTolerance is NONE: "
            "it will stop at the first message that cannot be delivered",
            extra={"rule": life.name},
        )
