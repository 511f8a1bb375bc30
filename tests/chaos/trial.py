"""One trial: load, a fault in the middle of it, and the verdict of clients that are not ours."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from devstack.javatool import StoredMessage, consume
from devstack.rocketmq import RocketMQ
from tests.chaos.cells import Cell
from tests.chaos.load import BackEnd, Devices, Subscriber, id_of
from tests.chaos.stack import COMMANDS, TELEMETRY, Stack

__all__ = ["Direction", "Pace", "Verdict", "try_cell"]

# A message that is through within this time was not held up.
PROMPT_S = 1.0
# What is not there so long after the load has ended is lost: longer than any retry delay and than a broker forgets a dead member.
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the load is, how long it runs before and after the fault, and how long late duplicates are waited for."""

    rate: float = 300.0
    before_s: float = 3.0  # soon after the start: a connection that has not lasted yet is the harder case
    after_s: float = 10.0
    late_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """What became of one direction's messages. Times are seconds from the end of the fault; None: nothing came any more."""

    acknowledged: int
    lost: int
    duplicates: int
    first_flow_s: float | None
    caught_up_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one cell did."""

    cell: Cell
    amount: float
    out: Direction
    into: Direction
    duplicates_keep_their_id: bool
    duration_s: float


def try_cell(cell: Cell, running: Stack, *, amount: float, pace: Pace) -> Verdict:
    """Run one cell on a stack, on which others may have run before, and judge it."""
    began = time.monotonic()
    with Subscriber(running.mosquitto.port) as subscriber:
        devices = Devices(running.mosquitto.port, pace.rate)
        back_end = BackEnd(running.rocketmq.name_server, COMMANDS, pace.rate)
        devices.start()
        back_end.start()
        time.sleep(pace.before_s)
        cell.do(running, amount)
        ended = time.time()
        time.sleep(pace.after_s)
        devices.finish()
        back_end.finish()

        deadline = time.monotonic() + PATIENCE_S
        published, acknowledged = devices.acknowledged, back_end.acknowledged
        subscriber.wait_for(acknowledged.keys(), deadline)
        time.sleep(pace.late_s)
        telemetry = _read(running.rocketmq, TELEMETRY, published.keys(), devices.ids, deadline)
        commands = _read(running.rocketmq, COMMANDS, acknowledged.keys(), back_end.ids, deadline)
        # A command whose sender never got an answer must be delivered all the same, if it is stored.
        sent = acknowledged | _first(commands)
        subscriber.wait_for(sent.keys(), deadline)
        arrived = list(subscriber.arrived)
    copies = Counter(id_of(each["body"]) for each in commands)
    came = Counter(each for each, _ in arrived)
    return Verdict(
        cell=cell,
        amount=amount,
        out=_direction(published, _first(telemetry), len(telemetry) - len(_first(telemetry)), ended),
        # What the back end itself has sent twice is not the bridge's doing.
        into=_direction(sent, _earliest(arrived), sum((came - copies).values()), ended),
        duplicates_keep_their_id=all(id_of(each["body"]) == each["msgId"] for each in telemetry),
        duration_s=time.monotonic() - began,
    )


def _read(rocketmq: RocketMQ, topic: str, wanted: Set[str], ours: Set[str], deadline: float) -> list[StoredMessage]:
    """Read this trial's messages with the Java client until everything that is wanted is there, or the time is up."""
    while True:
        stored = consume(rocketmq.name_server, topic, len(wanted), timeout_s=15, grace_s=0.5)
        found = [each for each in stored if id_of(each["body"]) in ours]
        if wanted <= {id_of(each["body"]) for each in found} or time.monotonic() >= deadline:
            return found
        time.sleep(1)


def _first(stored: Iterable[StoredMessage]) -> dict[str, float]:
    return _earliest((id_of(each["body"]), each["storeTimestamp"] / 1000) for each in stored)


def _earliest(arrivals: Iterable[tuple[str, float]]) -> dict[str, float]:
    earliest: dict[str, float] = {}
    for each, at in arrivals:
        earliest[each] = min(at, earliest.get(each, at))
    return earliest


def _direction(sent: Mapping[str, float], arrived: Mapping[str, float], duplicates: int, ended: float) -> Direction:
    after = [at - ended for at in arrived.values() if at >= ended]
    held_up = [at - ended for each, at in arrived.items() if at >= ended and at - sent.get(each, at) > PROMPT_S]
    return Direction(
        acknowledged=len(sent),
        lost=len(sent.keys() - arrived.keys()),
        duplicates=duplicates,
        first_flow_s=min(after, default=None),
        caught_up_s=max(held_up, default=0.0),
    )
