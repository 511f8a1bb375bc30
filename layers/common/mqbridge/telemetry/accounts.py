"""What one invocation receives, plans and brings about, entered into the counters: by sums, as the time of a record is dear.

What is planned and what came of it are counted apart, at different times and from different lists: that both agree is shown by

    planned == the sum over all outcomes + in flight,        by flow and rule
    events received == events unmatched + events planned,    by function

which the tests assert (tests/identity.py). A record that got lost in between would break it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled, stage_of

from .counters import Counters, LastError, Series
from .lines import OUTCOME_WORDS, log_settlement, logger, logs_everything

if TYPE_CHECKING:
    from mqbridge.delivery import Outgoing, Sent, Settlement
    from mqbridge.outcomes import Planned

__all__ = ["Accounts", "begin_rule", "count_held_back", "count_retries", "count_sent", "sink_label"]

_STAGES = ("receiving", "processing", "sending")
_FAILURE = "unexpected_error"


class Accounts:
    """The accounts of one invocation: `received`, `planned` once or more, then `settled`; or `abandoned`, if something was raised.

    Args:
        counters: what it is entered into.
        function: the function's name, which is its flow's.
        trigger: what the records came by.
        unix: Unix seconds, for the age of records.
    """

    def __init__(
        self, counters: Counters, function: str, trigger: str, *, unix: Callable[[], float] = time.time
    ) -> None:
        self.events = 0
        self.unmatched = 0
        self.body_bytes = 0
        self._counters = counters
        self._function = function
        self._trigger = trigger
        self._unix = unix
        self._begun = time.monotonic()
        self._planned_events = 0
        self._in_flight: dict[str, int] = {}

    @property
    def duration_s(self) -> float:
        """Return how long it has taken until now."""
        return time.monotonic() - self._begun

    def received(self, records: Sequence[Record]) -> None:
        """Enter what was read from the invocation's event."""
        self.events = len(records)
        for record in records:
            message = record.message
            if isinstance(message, MqttMessage):
                self.body_bytes += len(message.payload)
            elif isinstance(message, RocketMQMessage):
                self.body_bytes += len(message.body)
        function, trigger = ("function", self._function), ("trigger", self._trigger)
        self._counters.add_all(
            {
                ("mqbridge_events_received_total", (function, trigger)): self.events,
                ("mqbridge_received_bytes_total", (trigger,)): self.body_bytes,
            }
        )
        self._counters.observe("mqbridge_batch_events", (self.events,), function=self._function)

    def planned(self, decided: "Sequence[Planned | Settlement]") -> None:
        """Enter what was decided about records: all of a record at once, one after another."""
        planned: dict[str, int] = {}
        events = unmatched = amount = 0
        last_record, last_rule, name = None, None, ""
        for each in decided:
            record, rule = each[0], each[1]
            if rule is None and isinstance(each[2], Drop):
                unmatched += 1
                continue
            if rule is not last_rule:
                if amount:
                    planned[name] = planned.get(name, 0) + amount
                last_rule, name, amount = rule, "" if rule is None else rule.rule_id, 0
            amount += 1
            if record is not last_record:
                events, last_record = events + 1, record
        if amount:
            planned[name] = planned.get(name, 0) + amount
        self._enter_plan(planned, events, unmatched)

    def settled(self, settlements: "Sequence[Settlement]") -> dict[str, int]:
        """Enter what became of the records, log what did not go well, and return the totals by outcome."""
        totals: dict[tuple[str, str], int] = {}
        worst: dict[str, Settlement] = {}
        delivered_ms: list[int] = []
        logs_all = logs_everything()
        last_rule, name = None, ""
        for settlement in settlements:
            record, rule, outcome = settlement
            if rule is not last_rule:
                last_rule, name = rule, "" if rule is None else rule.rule_id
            if type(outcome) is Delivered:
                message = record.message
                if not isinstance(message, Reject):
                    delivered_ms.append(message.time_ms)
                totals[name, "delivered"] = totals.get((name, "delivered"), 0) + 1
                if not logs_all:
                    continue
            elif rule is not None or not isinstance(outcome, Drop):
                word = OUTCOME_WORDS[type(outcome)]
                totals[name, word] = totals.get((name, word), 0) + 1
                self._count_reason(name, outcome)
                # Of one batch the first that is given up, or else the first that failed: what comes behind is often its consequence.
                if _gravity(outcome) > (_gravity(worst[name].outcome) if name in worst else 0):
                    worst[name] = settlement
            log_settlement(self._counters.repeats, self._function, self._trigger, name, record, outcome)
        self._enter_outcomes(totals)
        for name, settlement in worst.items():
            self._counters.note_error(self._function, name, _last_error(name, settlement))
        now_ms = self._unix() * 1000
        ages = [max(0.0, now_ms - time_ms) / 1000 for time_ms in delivered_ms if time_ms]
        if ages:
            self._counters.observe("mqbridge_event_age_seconds", ages, trigger=self._trigger)
        if self.events:
            self._counters.observe(
                "mqbridge_event_duration_seconds", (self.duration_s,), times=self.events, function=self._function
            )
        by_word: dict[str, int] = {}
        for (_, word), amount in totals.items():
            by_word[word] = by_word.get(word, 0) + amount
        return by_word

    def log_summary(self, level: int, totals: Mapping[str, int], config_hash: str) -> None:
        """Log the invocation in one line."""
        if level < logger().log_level:
            return
        fields: dict[str, object] = {"function": self._function, "trigger": self._trigger, "events": self.events}
        fields |= {"unmatched": self.unmatched, **dict.fromkeys(sorted(set(OUTCOME_WORDS.values())), 0), **totals}
        fields |= {"body_bytes": self.body_bytes, "duration_s": round(self.duration_s, 6), "config_hash": config_hash}
        say = logger().info if level == logging.INFO else logger().debug
        say("handled", extra=fields)

    def abandoned(self) -> None:
        """Enter that something was raised: whatever was received and is not settled, or was never planned, has failed."""
        missing = self.events - self._planned_events - self.unmatched
        if missing > 0:
            self._enter_plan({"": missing}, missing, 0)
        unfinished = {(name, "failed"): amount for name, amount in self._in_flight.items() if amount}
        self._enter_outcomes(unfinished)
        for (name, _), amount in unfinished.items():
            self._counters.add("mqbridge_errors_total", amount, rule=name, stage="processing", error_type=_FAILURE)

    def _enter_plan(self, planned: dict[str, int], events: int, unmatched: int) -> None:
        function = (("function", self._function),)
        amounts: dict[Series, float] = {}
        if unmatched:
            amounts["mqbridge_events_unmatched_total", function] = unmatched
        if events:
            amounts["mqbridge_events_planned_total", function] = events
        for name, amount in planned.items():
            labels = (("flow", self._function), ("rule", name))
            amounts["mqbridge_records_planned_total", labels] = amount
            amounts["mqbridge_records_in_flight", labels] = amount
            self._in_flight[name] = self._in_flight.get(name, 0) + amount
        self._planned_events += events
        self.unmatched += unmatched
        self._counters.add_all(amounts)

    def _enter_outcomes(self, totals: dict[tuple[str, str], int]) -> None:
        amounts: dict[Series, float] = {}
        for (name, word), amount in totals.items():
            labels = (("flow", self._function), ("rule", name))
            amounts["mqbridge_records_total", (*labels, ("outcome", word))] = amount
            in_flight = "mqbridge_records_in_flight", labels
            amounts[in_flight] = amounts.get(in_flight, 0) - amount
            self._in_flight[name] = self._in_flight.get(name, 0) - amount
        self._counters.add_all(amounts)

    def _count_reason(self, rule: str, outcome: Settled) -> None:
        if isinstance(outcome, Delivered):
            return
        if isinstance(outcome, Drop | Discarded):
            intentional = "true" if isinstance(outcome, Drop) else "false"
            self._counters.add("mqbridge_dropped_total", rule=rule, reason=outcome.reason, intentional=intentional)
        if not isinstance(outcome, Drop):
            stage = stage_of(rule, outcome)
            stage = stage if stage in _STAGES else "processing"  # which of a task's steps it was, the log says
            self._counters.add("mqbridge_errors_total", rule=rule, stage=stage, error_type=outcome.reason)
        if isinstance(outcome, Failed) and outcome.is_unknown:
            self._counters.add("mqbridge_unknown_outcome_total", rule=rule, sink=outcome.sink)


def count_sent(
    counters: Counters, sink: str, messages: "Sequence[Outgoing]", sent: "Sequence[Sent]", duration_s: float
) -> None:
    """Enter one call that sent `messages` to a sink, and what became of them."""
    stored = 0
    for message, outcome in zip(messages, sent, strict=True):
        if type(outcome) is Delivered:
            stored += len(message.payload if isinstance(message, MqttMessage) else message.body)
    counters.add("mqbridge_sent_bytes_total", stored, sink=sink)
    counters.observe("mqbridge_send_duration_seconds", (duration_s,), sink=sink)


def count_retries(counters: Counters, sink: str, error_type: str, amount: int) -> None:
    """Enter messages that a sink sent once more by itself."""
    counters.add("mqbridge_send_retries_total", amount, sink=sink, error_type=error_type)


def count_held_back(counters: Counters, function: str, held: "Sequence[Planned]", reason: str) -> None:
    """Enter records that were received, planned, and handed back untried, as an earlier one of their lane failed."""
    for planned in held:
        rule = "" if planned.rule is None else planned.rule.rule_id
        labels = (("flow", function), ("rule", rule))
        stage = (("rule", rule), ("stage", "processing"), ("error_type", reason))
        counters.add_all(
            {
                ("mqbridge_events_planned_total", (("function", function),)): 1,
                ("mqbridge_records_planned_total", labels): 1,
                ("mqbridge_records_total", (*labels, ("outcome", "failed"))): 1,
                ("mqbridge_errors_total", stage): 1,
            }
        )


def begin_rule(counters: Counters, flow: str, rule: str, sink: str) -> None:
    """Have every series that can be known of a rule exist from the start, at 0: then the first failure is a step that a rate can see."""
    counters.add("mqbridge_events_unmatched_total", 0, function=flow)
    counters.add("mqbridge_events_planned_total", 0, function=flow)
    counters.add("mqbridge_records_planned_total", 0, flow=flow, rule=rule)
    counters.add("mqbridge_records_in_flight", 0, flow=flow, rule=rule)
    for word in sorted(set(OUTCOME_WORDS.values())):
        counters.add("mqbridge_records_total", 0, flow=flow, rule=rule, outcome=word)
    counters.add("mqbridge_unknown_outcome_total", 0, rule=rule, sink=sink)
    counters.add("mqbridge_sent_bytes_total", 0, sink=sink)
    counters.observe("mqbridge_send_duration_seconds", (), sink=sink)
    counters.observe("mqbridge_event_duration_seconds", (), function=flow)
    counters.observe("mqbridge_batch_events", (), function=flow)


def sink_label(kind: str, instance_id: str) -> str:
    """Return what the labels `sink` and `broker` call an instance: instances of both kinds may have one id."""
    return f"{kind}:{instance_id}"


def _gravity(outcome: Settled) -> int:
    if isinstance(outcome, Delivered | Drop):
        return 0
    return 1 if isinstance(outcome, Failed) else 2


def _last_error(rule: str, settlement: "Settlement") -> LastError:
    outcome = settlement.outcome
    assert isinstance(outcome, Failed | Reject | DeadLettered | Discarded)  # noqa: S101  # nothing else is a gravity
    return LastError(
        record=settlement.record.id,
        outcome=OUTCOME_WORDS[type(outcome)],
        stage=stage_of(rule, outcome),
        reason=outcome.reason,
        detail=outcome.detail,
        at=time.time(),
    )
