"""Drain the sources of all inbound rules, in turns, until nothing is left or the time is over.

Two pulls at once do no harm: each queue is read by one of them, because the broker gives its lock to one. An empty topic costs a few
requests; nothing waits for messages, or for the time of a retry.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mqbridge.inbound_source import InboundSource
from mqbridge.pulling.memory import QueueMemory
from mqbridge.pulling.rule_pull import Carry, RulePull, Totals
from mqbridge.rocketmq import open_client
from mqbridge.rules import InboundRule, Rules
from mqbridge.secrets import UnresolvedSecret
from mqbridge.telemetry import logger
from rocketmq_remoting import Client, MessageQueue, RocketMQError

__all__ = ["Pulled", "Puller"]

# Of what the platform gives, kept for committing, letting go of the queues, and the answer.
SETTLE_S = 2.0
# What has less left than this begins no further step: sending keeps a second for itself.
LEAST_STEP_S = 2.0
OPEN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull did.

    `left` are messages that it left in queues that it held, `queues_taken` the queues that another pull holds, `queues_waiting` those in
    which the time for a retry has not come. `rules_consumed` have group members, `rules_unread` were not come to. `problems` says by rule
    what went wrong.
    """

    totals: Totals
    left: int
    rules: int
    rules_consumed: int
    rules_unread: int
    queues_taken: int
    queues_waiting: int
    problems: dict[str, str]

    def summary(self) -> dict[str, int]:
        """Return the numbers by name, for the log and for who invoked."""
        return {
            **asdict(self.totals),
            "left": self.left,
            "rules": self.rules,
            "rules_consumed": self.rules_consumed,
            "rules_unread": self.rules_unread,
            "queues_taken": self.queues_taken,
            "queues_waiting": self.queues_waiting,
        }


class Puller:
    """Pulls for the inbound rules of one document; lives as long as its execution environment. For one thread at a time."""

    def __init__(self, rules: Rules, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._monotonic = monotonic
        self._memories: dict[str, dict[MessageQueue, QueueMemory]] = {}
        self._turn = 0

    def pull(self, carry: Carry, end: float | None) -> Pulled:
        """Read, deliver and settle what there is; `end` is when the platform ends the invocation, in time.monotonic seconds."""
        deadline = float("inf") if end is None else end - SETTLE_S / 2
        done_by = float("inf") if end is None else end - SETTLE_S
        enabled = [rule for rule in self._rules.inbound if rule.status == "Enabled"]
        turns = deque(enabled)
        turns.rotate(-self._turn)
        clients: dict[str, Client] = {}
        problems: dict[str, str] = {}
        opened: dict[str, RulePull] = {}
        try:
            while turns and self._monotonic() < done_by - LEAST_STEP_S:
                rule = turns.popleft()
                pull = opened.get(rule.rule_id)
                try:
                    if pull is None:
                        pull = self._open(rule, clients, min(deadline, self._monotonic() + OPEN_TIMEOUT_S), opened)
                    pull.step(carry, done_by, deadline)
                except (RocketMQError, UnresolvedSecret, OSError) as error:
                    problems[rule.rule_id] = self._source(rule).plain(error)
                except Exception as error:  # a defect of ours: the other rules must not suffer for it
                    logger().exception("pull failed", extra={"rule": rule.rule_id})
                    problems[rule.rule_id] = type(error).__name__
                else:
                    if not pull.is_done:
                        turns.append(rule)
            if turns and not opened and not problems:
                problems[turns[0].rule_id] = (
                    f"no time to read anything: expected at least {SETTLE_S + LEAST_STEP_S:.0f} s"
                )
            if turns:  # the next pull begins with what this one had no time for
                self._turn = enabled.index(turns[0])
        finally:
            for pull in opened.values():
                pull.close(deadline)
            for client in clients.values():
                client.close()
        return self._pulled(enabled, opened, problems)

    def _open(
        self, rule: InboundRule, clients: dict[str, Client], deadline: float, opened: dict[str, RulePull]
    ) -> RulePull:
        instance_id = str(rule.source.instance_id)
        if instance_id not in clients:
            clients[instance_id] = open_client(self._rules.rocketmq[instance_id])
        memories = self._memories.setdefault(rule.rule_id, {})
        pull = RulePull(rule, self._source(rule), clients[instance_id], memories)
        opened[rule.rule_id] = pull
        pull.open(deadline)
        return pull

    def _source(self, rule: InboundRule) -> InboundSource:
        return InboundSource(self._rules.rocketmq[str(rule.source.instance_id)], rule)

    def _pulled(self, enabled: list[InboundRule], opened: dict[str, RulePull], problems: dict[str, str]) -> Pulled:
        totals = Totals()
        for pull in opened.values():
            for name, amount in asdict(pull.totals).items():
                setattr(totals, name, getattr(totals, name) + amount)
        found = {name: pull.problem for name, pull in opened.items() if pull.problem}
        return Pulled(
            totals=totals,
            left=sum(pull.left for pull in opened.values()),
            rules=len(enabled),
            rules_consumed=sum(pull.is_consumed for pull in opened.values()),
            rules_unread=len(enabled) - len(opened),
            queues_taken=sum(pull.taken for pull in opened.values()),
            queues_waiting=sum(pull.waiting for pull in opened.values()),
            problems={**problems, **found},
        )
