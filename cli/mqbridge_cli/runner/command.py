"""mqbridge run: every enabled data rule and task, from its source to its handler, until a signal comes."""

import signal
import sys
import threading

from prometheus_client import generate_latest

from mqbridge.garbage import collect_rarely
from mqbridge.telemetry import Counters, logger
from mqbridge_cli.runner.dead_letter_watch import DeadLetterWatch
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.health import answers, readiness
from mqbridge_cli.runner.http_server import HttpServer
from mqbridge_cli.runner.metrics import registry_of
from mqbridge_cli.runner.reloader import Reloader
from mqbridge_cli.runner.settings import RunSettings, load_or_say
from mqbridge_cli.runner.task_desk import TaskDesk

__all__ = ["run"]

# How often the keeper looks whether a worker is busy for so long that its source must be served for it.
KEEPER_S = 1.0


def run(settings: RunSettings) -> int:
    """Run the rules until SIGTERM or SIGINT; return 0 after draining, 2 if they cannot be run.

    As a part it is a worker of a supervisor: it runs every so manieth rule, says first where it listens, does not watch the rules
    file, and ends with the supervisor.
    """
    rules = load_or_say(settings)
    if rules is None:
        return 2
    counters = Counters()
    try:
        fleet = Fleet(
            rules,
            counters,
            settings.holds,
            share=settings.share,
            part=settings.part or (1, 1),
            functions=settings.functions(),
        )
        reloader = _reloader(settings, fleet, counters)
        dead_letters = DeadLetterWatch(lambda: fleet.rules)
        registry = registry_of(fleet, counters, lambda: dead_letters.depths)
        server = HttpServer(
            settings.listen,
            answers(
                lambda: readiness(fleet.rules.digest, fleet.lives, reloader.error if reloader is not None else None),
                lambda: generate_latest(registry),
                TaskDesk(fleet, counters),
            ),
        )
    except Exception as error:  # a secret that is not there, a port that is taken: said in one line, not as a traceback
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    if settings.part is not None:
        print(server.address, flush=True)
        threading.Thread(target=_stop_with_supervisor, args=(stop,), daemon=True).start()
    collect_rarely()
    server.start()
    fleet.start()
    if settings.invoke is None and (settings.part is None or settings.part[0] == 1):
        dead_letters.start()
    if reloader is not None:
        reloader.start()
    logger().info(
        "running", extra={"rules": [life.name for life in fleet.lives], "health": f"http://{server.address}/readyz"}
    )
    while not stop.wait(KEEPER_S):
        fleet.keep_up()
    logger().info("draining", extra={"unsettled": sum(life.unsettled for life in fleet.lives)})
    if reloader is not None:
        reloader.stop()
    fleet.stop()
    dead_letters.stop()
    server.close()
    logger().info("stopped")
    return 0


def _reloader(settings: RunSettings, fleet: Fleet, counters: Counters) -> Reloader | None:
    if settings.part is not None or not settings.is_file:
        return None
    return Reloader(settings.rules_path, lambda: fleet.apply(settings.load()), counters)


def _stop_with_supervisor(stop: threading.Event) -> None:
    sys.stdin.read()  # ends when the supervisor does, however it does
    stop.set()
