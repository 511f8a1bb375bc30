"""mqbridge run: every enabled data rule, from its source to its handler, until a signal comes."""

import gc
import signal
import sys
import threading
import time

from prometheus_client import generate_latest

from mqbridge.rules import InboundRule, InvalidRules, OutboundRule, Rules, RulesError, load
from mqbridge.telemetry import Counters, logger
from mqbridge_cli.runner.drop_watch import DropWatch
from mqbridge_cli.runner.health import HealthServer, readiness
from mqbridge_cli.runner.metrics import registry_of
from mqbridge_cli.runner.rule_runner import DRAIN_TIMEOUT_S, RuleRunner
from mqbridge_cli.validate import print_faults

__all__ = ["run"]

# How often the keeper looks whether a worker is busy for so long that its source must be served for it.
KEEPER_S = 1.0


def run(rules_path: str, listen: str, *, share: str = "", part: tuple[int, int] | None = None) -> int:
    """Run the rules at `rules_path` until SIGTERM or SIGINT; return 0 after draining, 2 if they cannot be run.

    `share` is this runner's name among several that share the load; without it, it is the only one. As a `part` (number, of how many)
    it is a worker of a supervisor: it runs every so manieth rule, says first where its health is served, and ends with the supervisor.
    """
    try:
        rules = load(rules_path)
    except InvalidRules as error:
        print_faults(rules_path, error.faults, sys.stderr)
        return 2
    except RulesError as error:
        print(error, file=sys.stderr)
        return 2
    counters = Counters()
    try:
        number, of = part or (1, 1)
        runners = [RuleRunner(rule, rules, counters, share) for rule in _enabled(rules)[number - 1 :: of]]
        registry = registry_of(rules, runners, counters)
        host, _, port = listen.rpartition(":")
        health = HealthServer(
            host or "127.0.0.1", int(port), lambda: readiness(rules, runners), lambda: generate_latest(registry)
        )
    except Exception as error:  # a secret that is not there, a port that is taken: said in one line, not as a traceback
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    if part is not None:
        print(health.address, flush=True)
        threading.Thread(target=_stop_with_supervisor, args=(stop,), daemon=True).start()
    if part is None or part[0] == 1:
        _warn(rules)
    _tune_garbage_collection()
    health.start()
    for runner in runners:
        runner.start()
    if part is None or part[0] == 1:
        _watch_for_drops(rules)
    logger().info(
        "running", extra={"rules": [runner.rule_id for runner in runners], "health": f"http://{health.address}/readyz"}
    )
    while not stop.wait(KEEPER_S):
        for runner in runners:
            runner.worker.keep_up()
    logger().info("draining", extra={"unsettled": sum(runner.inbox.unsettled for runner in runners)})
    _drain(runners)
    health.close()
    logger().info("stopped")
    return 0


def _stop_with_supervisor(stop: threading.Event) -> None:
    sys.stdin.read()  # ends when the supervisor does, however it does
    stop.set()


def _tune_garbage_collection() -> None:
    """Collect cycles more rarely: records under way are many, short-lived and without cycles, and walking them again and again took
    as long as all other work (measured: 117 against 36 us a message in paho's decoder alone).
    """
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


def _enabled(rules: Rules) -> list[OutboundRule | InboundRule]:
    data_rules: list[OutboundRule | InboundRule] = [*rules.outbound, *rules.inbound]
    return [rule for rule in data_rules if rule.status == "Enabled"]


def _watch_for_drops(rules: Rules) -> None:
    for instance_id in sorted(
        {str(rule.source.instance_id) for rule in _enabled(rules) if isinstance(rule, OutboundRule)}
    ):
        DropWatch(rules.mqtt[instance_id]).start()


def _drain(runners: list[RuleRunner]) -> None:
    for runner in runners:
        runner.stop_reading()
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for runner in runners:
        runner.finish(deadline)


def _warn(rules: Rules) -> None:
    for rule in _enabled(rules):
        if isinstance(rule, OutboundRule) and rule.run_options.dead_letter_queue is None:
            logger().warning(
                "rule has no dead-letter queue: a message that can never be delivered will wait at the MQTT broker",
                extra={"rule": rule.rule_id},
            )
    for kind, several in (("StatusRules", rules.status), ("EventStreamings", rules.streamings)):
        if several:
            logger().warning(f"{kind} are not run by this version", extra={"count": len(several)})
