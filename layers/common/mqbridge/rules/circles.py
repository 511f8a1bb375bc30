"""Circles of rules that nothing would end at run time, so that they must not be loaded. Pure.

What the bridge publishes under MQTT 5 carries a mark, and goes out no more. Under 3.1.1 only the parent that a message came out of
last is known, by a property of the RocketMQ message: it does not go back there, but two parents would hand it to each other for ever.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .faults import Fault, Path

__all__ = ["Step", "circles"]

Parent = tuple[str | None, str]  # an MQTT instance and a parent topic of it


class Step(NamedTuple):
    """A way from one MQTT parent to another, by the inbound rule at `path`."""

    start: Parent
    end: Parent
    path: Path


def circles(steps: Iterable[Step]) -> Iterator[Fault]:
    """Yield a fault for every step between two different parents that lies on a circle."""
    ways: dict[Parent, list[Step]] = {}
    for step in steps:
        if step.start != step.end:
            ways.setdefault(step.start, []).append(step)
    for start, from_here in ways.items():
        for step in from_here:
            if start in _reachable(step.end, ways):
                yield Fault(
                    code="MB214",
                    path=step.path,
                    expected="rules that form no circle through several parent topics of MQTT 3.1.1",
                    got=f"a way from {_name(start)} to {_name(step.end)} and back",
                    help="ProtocolVersion 5 lets the bridge recognise what it published itself",
                )


def _reachable(start: Parent, ways: dict[Parent, list[Step]]) -> set[Parent]:
    found, waiting = {start}, [start]
    while waiting:
        for step in ways.get(waiting.pop(), ()):
            if step.end not in found:
                found.add(step.end)
                waiting.append(step.end)
    return found


def _name(parent: Parent) -> str:
    return "/".join(str(part) for part in parent)
