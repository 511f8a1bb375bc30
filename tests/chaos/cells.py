"""The faults, one cell each: what is done, to what, for how long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.proxy import Mode
from tests.chaos.stack import Stack

__all__ = ["CELLS", "Cell"]

# Within it, a runner that was killed is back.
_GAP_S = (0.3, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A fault. `do` begins and ends it, `amount` is its seconds or how often it is done."""

    name: str
    what: str
    do: Callable[[Stack, float], None]
    amount: float
    short_amount: float
    runners: int = 1
    is_proxied: bool = False


def _broker_killed(stack: Stack, seconds: float) -> None:
    stack.rocketmq.broker.kill()
    time.sleep(seconds)
    stack.rocketmq.broker.start()


def _broker_paused(stack: Stack, seconds: float) -> None:
    stack.rocketmq.broker.pause()
    time.sleep(seconds)
    stack.rocketmq.broker.resume()


def _name_server_killed(stack: Stack, seconds: float) -> None:
    stack.rocketmq.namesrv.kill()
    time.sleep(seconds)
    stack.rocketmq.namesrv.start()


def _mosquitto_restarted(stack: Stack, seconds: float) -> None:
    stack.mosquitto.stop()
    time.sleep(seconds)
    stack.mosquitto.start()


def _proxied(mode: Mode) -> Callable[[Stack, float], None]:
    def do(stack: Stack, seconds: float) -> None:
        stack.set_proxies(mode)
        time.sleep(seconds)
        stack.set_proxies(Mode.PASS)

    return do


def _runner_killed(stack: Stack, times: float) -> None:
    process = stack.runners[0].process
    for _ in range(int(times)):
        time.sleep(random.uniform(*_GAP_S))
        process.kill()
        process.launch()  # and does not wait: the next kill may come while it starts


def _one_of_two_killed(stack: Stack, seconds: float) -> None:
    process = stack.runners[1].process
    process.kill()
    time.sleep(seconds)
    process.launch()


CELLS = (
    Cell(
        name="broker-killed",
        what="RocketMQ's broker: kill -9, {amount:g} s away, restarted",
        do=_broker_killed,
        amount=15,
        short_amount=3,
    ),
    Cell(
        name="broker-paused",
        what="RocketMQ's broker: SIGSTOP for {amount:g} s",
        do=_broker_paused,
        amount=20,
        short_amount=4,
    ),
    Cell(
        name="name-server-killed",
        what="RocketMQ's name server: kill -9, {amount:g} s away, restarted without its memory",
        do=_name_server_killed,
        amount=40,  # longer than the 30 s that a route is good for
        short_amount=4,
    ),
    Cell(
        name="mosquitto-restarted",
        what="mosquitto, with persistence: stopped, {amount:g} s away, restarted",
        do=_mosquitto_restarted,
        amount=5,
        short_amount=1,
    ),
    Cell(
        name="connections-cut",
        what="the bridge's connections to both brokers: cut in mid-frame, again and again for {amount:g} s",
        do=_proxied(Mode.CUT),
        amount=15,
        short_amount=3,
        is_proxied=True,
    ),
    Cell(
        name="byte-at-a-time",
        what="the bridge's connections to both brokers: one byte at a time for {amount:g} s",
        do=_proxied(Mode.DRIP),
        amount=15,
        short_amount=3,
        is_proxied=True,
    ),
    Cell(
        name="connections-stalled",
        what="the bridge's connections to both brokers: open and silent for {amount:g} s",
        do=_proxied(Mode.STALL),
        amount=20,
        short_amount=4,
        is_proxied=True,
    ),
    Cell(
        name="connections-refused",
        what="the bridge's connections to both brokers: accepted and closed at once for {amount:g} s",
        do=_proxied(Mode.REFUSE),
        amount=8,
        short_amount=3,
        is_proxied=True,
    ),
    Cell(
        name="runner-killed",
        what="the runner: kill -9 and restart, {amount:g} times at random moments",
        do=_runner_killed,
        amount=10,
        short_amount=2,
    ),
    Cell(
        name="one-of-two-killed",
        what="one of two runners that share the load: kill -9, restarted after {amount:g} s",
        do=_one_of_two_killed,
        amount=8,
        short_amount=2,
        runners=2,
    ),
)
