"""Carry one invocation's records through planning and delivery: in order within a group, and within the time that is left.

Records without groups are planned and delivered together. Of a group one record goes at a time, and after the first that failed none: it
would overtake, and its platform (SQS FIFO) demands that all behind it fail too. What there is no time for any more is handed back
untouched, so that nothing is cut off halfway and no time is billed for it.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from mqbridge.delivery import Settlement, settled_records
from mqbridge.messages import Record
from mqbridge.outcomes import Failed, Planned, Reject
from mqbridge.patience import until
from mqbridge.values import Value

__all__ = ["Time", "carry"]

# One invocation's sends: long enough for a slow broker, short enough that a hung one is reported while the platform still listens.
SEND_TIMEOUT_S = 10.0
# Kept for the answer when the platform says how much time is left.
ANSWER_MARGIN_S = 1.0
# Of what is left without it, the part that planning may use: operators may look things up, and what is planned has to be sent.
PLANNING_PART = 0.8
MAX_GROUP_LENGTH = 100

_NO_TIME = Failed("no_time_left", "handed back before the end of the invocation", stage="processing")


class Time(Value):
    """How long an invocation may take, in seconds of `clock`.

    `end` is when the platform ends it, None if it does not say. Planning ends at `planning`.
    """

    end: float | None
    planning: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, left_s: float | None, clock: Callable[[], float] = time.monotonic) -> "Time":
        """Return the time of an invocation that has so many seconds left from now, None if nobody knows."""
        if left_s is None:
            return cls(end=None, planning=float("inf"), clock=clock)
        now = clock()
        planning_s = PLANNING_PART * max(0.0, left_s - ANSWER_MARGIN_S)
        return cls(end=now + left_s, planning=now + planning_s, clock=clock)

    @classmethod
    def until(cls, end: float, clock: Callable[[], float] = time.monotonic) -> "Time":
        """Return the time of what has to be done by `end`, infinity if nobody knows."""
        return cls.of(None if end == float("inf") else end - clock(), clock)

    def sending_deadline(self) -> float:
        """Return the time by which what is sent from now on has to be answered."""
        now = self.clock()
        at_most = now + SEND_TIMEOUT_S
        return at_most if self.end is None else max(now, min(at_most, self.end - ANSWER_MARGIN_S))


def carry(
    records: Sequence[Record],
    groups: Sequence[str],
    plan: Callable[[Sequence[Record]], list[Planned]],
    deliver: Callable[[Sequence[Planned], float], list[Settlement]],
    time_left: Time,
    decided: Callable[[Sequence[Planned | Settlement]], None] = lambda _decided: None,
) -> list[Settlement]:
    """Plan and deliver the records, and return their settlements in the records' order.

    Args:
        records: of one batch.
        groups: the group of each, "" for none; empty where no record has one.
        plan: makes a plan of records; it is asked for one at a time where time is short.
        deliver: carries a plan out by a deadline.
        time_left: of the invocation.
        decided: told what is to become of each record, before it is delivered or held back.
    """
    if not groups:
        planned = _planned(records, plan, time_left)
        decided(planned)
        return _delivered(planned, deliver, time_left)
    settlements: list[Settlement] = []
    failed: dict[str, Settlement] = {}
    for number, places in enumerate(_rounds(groups)):
        ready = [records[at] for at in places if groups[at] not in failed]
        held = [_held_back(records[at], groups[at], failed[groups[at]]) for at in places if groups[at] in failed]
        planned = _planned(ready, plan, time_left, is_first=number == 0)
        decided(planned)
        decided(held)
        done = _delivered(planned, deliver, time_left) if ready else []
        settlements += [*done, *held]
        group_of = {id(records[at]): groups[at] for at in places}
        for record, outcome in settled_records(done):
            group = group_of[id(record)]
            if group and isinstance(outcome, Failed | Reject):
                failed[group] = Settlement(record, None, outcome)
    order = {id(record): at for at, record in enumerate(records)}
    return sorted(settlements, key=lambda settlement: order[id(settlement.record)])


def _planned(
    records: Sequence[Record],
    plan: Callable[[Sequence[Record]], list[Planned]],
    time_left: Time,
    *,
    is_first: bool = True,
) -> list[Planned]:
    if time_left.end is None:
        return plan(records)
    with until(time_left.planning):  # what operators look up has to come by then
        return _planned_in_time(records, plan, time_left, is_first=is_first)


def _planned_in_time(
    records: Sequence[Record], plan: Callable[[Sequence[Record]], list[Planned]], time_left: Time, *, is_first: bool
) -> list[Planned]:
    planned: list[Planned] = []
    for at, record in enumerate(records):
        # The first in any case: a function whose time never suffices would else never get anything done, nor say so.
        if (at or not is_first) and time_left.clock() > time_left.planning:
            planned += [Planned(each, None, _NO_TIME) for each in records[at:]]
            break
        planned += plan([record])
    return planned


def _delivered(
    planned: Sequence[Planned], deliver: Callable[[Sequence[Planned], float], list[Settlement]], time_left: Time
) -> list[Settlement]:
    deadline = time_left.sending_deadline()
    with until(deadline):  # for secrets too, which are looked up to connect
        return deliver(planned, deadline)


def _rounds(groups: Sequence[str]) -> Iterator[list[int]]:
    """Yield the places of the records of each round: in the first those of no group and the first of each group, and so on."""
    rounds: list[list[int]] = []
    met: dict[str, int] = {}
    for at, group in enumerate(groups):
        number = met.get(group, 0) if group else 0
        met[group] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(at)
    yield from rounds


def _held_back(record: Record, group: str, first: Settlement) -> Settlement:
    outcome = first.outcome
    # It has to be visible again no later than the one that it waits for: SQS gives out nothing of a group while one of it is hidden.
    delay_s = outcome.retry_after_s if isinstance(outcome, Failed) else 0.0
    detail = f"{first.record.id[:MAX_GROUP_LENGTH]} before it in group {group[:MAX_GROUP_LENGTH]} failed"
    return first._replace(record=record, outcome=Failed("held_back", detail, delay_s, stage="sending"))
