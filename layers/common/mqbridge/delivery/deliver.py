"""Carry out a plan: send, judge by the rule's retry strategy, dead-letter what cannot succeed; one settled outcome per record."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mqbridge.delivery.queues import queues_beside
from mqbridge.delivery.retry import next_delay_s
from mqbridge.delivery.sinks import Outgoing, Sent, Sinks
from mqbridge.messages import MqttMessage, Record
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Planned, Reject, Send, Settled, stage_of
from mqbridge.rules import DeadLetterQueue, Rule, RunOptions

if TYPE_CHECKING:
    from mqbridge.delivery.dead_letters import DeadLetter, Redrive

__all__ = ["Delivery", "Settlement", "settled_records"]

# Instances of both kinds may have one id, so sinks are named kind:id.
OnSent = Callable[[str, Sequence[Outgoing], Sequence[Sent], float], None]

_DELIVERED = Delivered()


class Settlement(NamedTuple):
    """What became of one record by one rule; `rule` is None where none wanted it."""

    record: Record
    rule: Rule | None
    outcome: Settled


class Delivery:
    """Carries out plans through `sinks`.

    Args:
        sinks: the sinks of all instances; with dead-letter queues of its own, if it has a method `dead_letter`.
        defaults: the run options that hold where no rule is known, for records that could not be read.
        chance: a source of random numbers from 0 to 1.
        clock: Unix time in seconds.
        redrive: that what is carried out was dead-lettered before, for the letters of what fails again.
        on_sent: called after every call that sent messages, with the sink's name, the messages, what became of them, and the seconds.
    """

    def __init__(
        self,
        sinks: Sinks,
        defaults: RunOptions,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
        redrive: "Redrive | None" = None,
        on_sent: OnSent | None = None,
    ) -> None:
        self._sinks = sinks
        self._queues = queues_beside(sinks)
        self._defaults = defaults
        self._chance = chance
        self._clock = clock
        self._redrive = redrive
        self._on_sent = on_sent

    def carry_out(self, plan: Sequence[Planned], deadline: float) -> list[Settlement]:
        """Send everything that the plan says, and return one settlement per planned outcome, in the same order.

        `deadline` is time.monotonic seconds; what is not answered by then has failed.
        """
        outcomes = self._send(plan, deadline)
        settlements = [self._judge(planned, outcome) for planned, outcome in zip(plan, outcomes, strict=True)]
        self._dead_letter(settlements, deadline)
        return settlements

    def _send(self, plan: Sequence[Planned], deadline: float) -> list[Settled]:
        by_instance: dict[tuple[str, str], list[tuple[int, Outgoing]]] = {}
        outcomes: list[Settled] = []
        for at, planned in enumerate(plan):
            if isinstance(planned.outcome, Send):
                outcomes.append(_DELIVERED)
                for message in planned.outcome.messages:
                    kind = "mqtt" if isinstance(message, MqttMessage) else "rocketmq"
                    by_instance.setdefault((kind, message.instance_id), []).append((at, message))
            else:
                outcomes.append(planned.outcome)
        for (kind, instance_id), entries in by_instance.items():
            messages = [message for _, message in entries]
            begun = time.monotonic()
            sent = self._sinks.send(kind, instance_id, messages, deadline)
            sink = f"{kind}:{instance_id}"
            if self._on_sent is not None:
                self._on_sent(sink, messages, sent, time.monotonic() - begun)
            for (at, _), outcome in zip(entries, sent, strict=True):
                if outcome is not _DELIVERED:
                    outcomes[at] = _worse(outcomes[at], _at_sink(sink, outcome))
        return outcomes

    def _judge(self, planned: Planned, outcome: Settled) -> Settlement:
        if isinstance(outcome, Failed):
            record = planned.record
            strategy = None if planned.rule is None else planned.rule.run_options.retry_strategy
            delay_s = next_delay_s(strategy, attempt=record.attempt, age_s=self._age_s(record), chance=self._chance())
            if delay_s is None:
                detail = f"given up after {record.attempt} attempts: {outcome.detail}"
                outcome = Reject(outcome.reason, detail, stage_of("", outcome), outcome.answer)
            else:
                outcome = replace(outcome, retry_after_s=delay_s)
        return Settlement(planned.record, planned.rule, outcome)

    def _age_s(self, record: Record) -> float:
        time_ms = 0 if isinstance(record.message, Reject) else record.message.time_ms
        return max(0.0, self._clock() - time_ms / 1000) if time_ms else 0.0

    def _dead_letter(self, settlements: list[Settlement], deadline: float) -> None:
        """Put every Reject into its rule's dead-letter queue, and write what came of it into `settlements`."""
        rejected = [(at, each, each.outcome) for at, each in enumerate(settlements) if isinstance(each.outcome, Reject)]
        if not rejected:
            return
        from mqbridge.delivery.dead_letters import dead_letter  # here, as it is seldom that there is one

        by_queue: dict[DeadLetterQueue, list[tuple[int, Reject, DeadLetter]]] = {}
        for at, settlement, reject in rejected:
            options = self._options(settlement.rule)
            if options.dead_letter_queue is not None:
                try:
                    letter = dead_letter(settlement.record, settlement.rule, reject, self._clock(), self._redrive)
                except (ValueError, OverflowError, OSError, RecursionError) as error:
                    detail = f"{reject.detail}; and no dead letter can be written of it: {error}"
                    settlements[at] = settlement._replace(outcome=replace(reject, detail=detail))
                else:
                    by_queue.setdefault(options.dead_letter_queue, []).append((at, reject, letter))
            elif (
                options.errors_tolerance == "ALL" and settlement.rule is not None
            ):  # only a rule may say so for its own
                settlements[at] = settlement._replace(
                    outcome=Discarded(reject.reason, reject.detail, reject.stage, reject.answer)
                )
        for queue, entries in by_queue.items():
            sent = self._queues.dead_letter(queue, [letter for _, _, letter in entries], deadline)
            for (at, reject, _), outcome in zip(entries, sent, strict=True):
                settlements[at] = settlements[at]._replace(
                    outcome=self._dead_lettered(settlements[at], reject, outcome)
                )

    def _dead_lettered(self, settlement: Settlement, reject: Reject, sent: Sent) -> Settled:
        if isinstance(sent, Delivered):
            return DeadLettered(reject.reason, reject.detail, reject.stage, reject.answer)
        # The queue for what failed has failed: the source keeps the record until it works again.
        detail = f"{reject.reason}: {reject.detail}; and the dead-letter queue did not take it: {sent.detail}"
        delay_s = next_delay_s(None, attempt=settlement.record.attempt, age_s=0.0, chance=self._chance())
        return Failed("dead_letter_failed", detail, delay_s or 0.0, answer=sent.answer)

    def _options(self, rule: Rule | None) -> RunOptions:
        return rule.run_options if rule is not None else self._defaults


# Of what the rules made of one record, the worst counts for the platform: anything to retry, then anything to report.
_SEVERITY: dict[type, int] = {Failed: 3, Reject: 2, DeadLettered: 1, Discarded: 1, Delivered: 0, Drop: 0}


def _at_sink(sink: str, outcome: Sent) -> Settled:
    if isinstance(outcome, Reject):
        return replace(outcome, stage="sending")
    return replace(outcome, sink=sink) if isinstance(outcome, Failed) and outcome.is_unknown else outcome


def _worse(one: Settled, other: Settled) -> Settled:
    return other if _SEVERITY[type(other)] > _SEVERITY[type(one)] else one


def settled_records(settlements: Iterable[Settlement]) -> list[tuple[Record, Settled]]:
    """Return one outcome per record, the worst of its rules', in the order of the batch."""
    by_place: dict[int, tuple[Record, Settled]] = {}
    for settlement in settlements:
        known = by_place.get(id(settlement.record))
        outcome = settlement.outcome if known is None else _worse(known[1], settlement.outcome)
        by_place[id(settlement.record)] = (settlement.record, outcome)
    return list(by_place.values())
