"""mqbridge run: every enabled data rule, from its source to its handler, until a signal comes."""

import gc
import signal
import sys
import threading
import time

from mqbridge.rules import InboundRule, InvalidRules, OutboundRule, Rules, RulesError, load
from mqbridge.telemetry import Counters, logger
from mqbridge_cli.runner.drop_watch import DropWatch
from mqbridge_cli.runner.health import HealthServer
from mqbridge_cli.runner.metrics import registry_of
from mqbridge_cli.runner.rule_runner import DRAIN_TIMEOUT_S, RuleRunner
from mqbridge_cli.validate import print_faults

__all__ = ["run"]

# How often the keeper looks whether a worker is busy for so long that its source must be served for it.
KEEPER_S = 1.0


def run(rules_path: str, listen: str, share: str = "") -> int:
    """Run the rules at `rules_path` until SIGTERM or SIGINT; return 0 after draining, 2 if they cannot be run.

    `share` is this runner's name among several that share the load; without it, it is the only one.
    """
    try:
        rules = load(rules_path)
    except InvalidRules as error:
        print_faults(rules_path, error.faults, sys.stderr)
        return 2
    except RulesError as error:
        print(error, file=sys.stderr)
        return 2
    _warn(rules)
    counters = Counters()
    try:
        runners = [RuleRunner(rule, rules, counters, share) for rule in _enabled(rules)]
        host, _, port = listen.rpartition(":")
        health = HealthServer(host or "127.0.0.1", int(port), rules, runners, registry_of(rules, runners, counters))
    except Exception as error:  # a secret that is not there, a port that is taken: said in one line, not as a traceback
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _tune_garbage_collection()
    health.start()
    for runner in runners:
        runner.start()
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
