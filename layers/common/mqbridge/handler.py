"""Compose one flow: trigger -> plan -> deliver -> respond. The only place that sees all of them.

A `Bridge` holds what lives as long as an execution environment: the rules and the open connections. Handlers use the one that
`using` put in place (the runner, one per rule; tests, with captured sinks), else the process's own, made from MQBRIDGE_RULES.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from mqbridge import triggers
from mqbridge.carrying import Time, carry
from mqbridge.contexts import Context, request_id, time_left_s
from mqbridge.delivery import Delivery, OpenSinks, Sinks, settled_records
from mqbridge.flows import Flow
from mqbridge.messages import Record
from mqbridge.outcomes import Planned, Settled
from mqbridge.rules import Rules
from mqbridge.sources import RefreshedRules
from mqbridge.telemetry import Accounts, Counters, FunctionTelemetry, count_retries, count_sent, logger

if TYPE_CHECKING:
    from mqbridge.pulling import Puller

__all__ = ["Bridge", "check_wanted", "handle", "using"]

# Where the rules layer puts what config/rules.yaml was built into.
DEFAULT_RULES = "/opt/rules.json"


class Bridge:
    """Rules, connections and counters of one execution environment. For one thread at a time."""

    def __init__(
        self,
        rules: Rules,
        sinks: Sinks,
        counters: Counters | None = None,
        *,
        admit: "Callable[[triggers.HttpRequest], None] | None" = None,
        summary_level: int = logging.DEBUG,
    ) -> None:
        self.rules = rules
        self.sinks = sinks
        self.counters = counters or Counters()
        self._admit = admit
        self._summary_level = summary_level
        self._delivery = Delivery(sinks, rules.run_options, on_sent=partial(count_sent, self.counters))
        self._puller: Puller | None = None

    def handle(self, name: str, flow: Flow, event: Any, context: Context, *, may_pull: bool = False) -> Any:
        """Carry one invocation's event through `flow` and return what its trigger wants to hear.

        With `may_pull` the event may ask for a pull instead: to read the sources of the inbound rules.

        Raises:
            UnreadableEvent: the event is none that a trigger sends; nothing was done.
            Undelivered: something is left to the platform, which understands nothing but an error.
        """
        time_left = Time.of(time_left_s(context))
        try:
            received = triggers.receive(event, request_id=request_id(context), admit=self._admit)
            check_wanted(received, self.rules, name, may_pull=may_pull)
        except triggers.UnreadableEvent as error:
            self.counters.add("mqbridge_errors_total", rule="", stage="receiving", error_type="unreadable_event")
            answer = error.answer or triggers.refusal(event, str(error))
            if answer is None:
                raise
            logger().error("event refused", extra={"function": name, "detail": str(error)})
            return answer
        if isinstance(received, triggers.PullRequest):
            return received.answer(self._pull(name, flow, time_left))
        settled = self._carried(name, flow, received, time_left, self._summary_level)
        return received.trigger.respond(settled, time_left.end)

    def _pull(self, name: str, flow: Flow, time_left: Time) -> dict[str, int]:
        """Read the sources of the inbound rules, carry what they hold through `flow`, and return how many messages went where.

        Raises:
            Undelivered: something failed, and waits in RocketMQ for the next pull.
        """
        from mqbridge.pulling import Puller  # here, because no other invocation reads RocketMQ

        def carry_events(events: Sequence[Mapping[str, Any]], end: float) -> list[Settled]:
            batch = triggers.pulled(events)
            return [outcome for _, outcome in self._carried(name, flow, batch, Time.until(end), logging.DEBUG)]

        if self._puller is None:
            self._puller = Puller(self.rules)
        pulled = self._puller.pull(carry_events, time_left.end)
        summary = pulled.summary()
        logger().info("pulled", extra={"function": name, **summary})
        if pulled.problems:
            said = "; ".join(f"{rule}: {problem}" for rule, problem in pulled.problems.items())
            raise triggers.Undelivered(f"{summary['failed']} of {summary['pulled']} messages failed; {said}"[:1_000])
        return summary

    def _carried(
        self, name: str, flow: Flow, batch: triggers.Batch, time_left: Time, summary_level: int
    ) -> list[tuple[Record, Settled]]:
        accounts = Accounts(self.counters, name, batch.trigger.name)
        accounts.received(batch.records)
        plan = partial(_plan, flow, self.rules, batch.only_rule)
        try:
            settlements = carry(
                batch.records, batch.groups, plan, self._delivery.carry_out, time_left, accounts.planned
            )
            totals = accounts.settled(settlements)
        except Exception:
            accounts.abandoned()
            raise
        accounts.log_summary(summary_level, totals, self.rules.digest)
        return settled_records(settlements)


def check_wanted(received: triggers.Batch | triggers.PullRequest, rules: Rules, flow: str, *, may_pull: bool) -> None:
    """Refuse a pull where there is nothing to pull for, and what is meant for a rule that is not there: nobody would want it, and whoever
    sent it would take that for done.

    Raises:
        UnreadableEvent: says which it is.
    """
    if isinstance(received, triggers.PullRequest):
        if not may_pull:
            raise triggers.UnreadableEvent(f"the event asks for a pull, which is for the inbound function, not {flow}")
        return
    wanted, own = received.only_rule, rules.of_flow(flow)
    if wanted is not None and all(rule.rule_id != wanted for rule in own):
        told = ", ".join(sorted(rule.rule_id for rule in own)) or "there are none"
        raise triggers.UnreadableEvent(f"mqbridgerule: expected one of the {flow} rules ({told}), got {wanted[:127]!r}")


def _plan(flow: Flow, rules: Rules, only_rule: str | None, records: Sequence[Record]) -> list[Planned]:
    return flow(records, rules, only_rule)


_in_place: ContextVar[Bridge | None] = ContextVar("mqbridge", default=None)
_own: "dict[str, _OwnBridges]" = {}
_own_lock = threading.Lock()


@contextmanager
def using(bridge: Bridge) -> Iterator[Bridge]:
    """Have handlers called in this context use `bridge`."""
    token = _in_place.set(bridge)
    try:
        yield bridge
    finally:
        _in_place.reset(token)


def handle(name: str, flow: Flow, event: Any, context: Context, *, may_pull: bool = False) -> Any:
    """Handle an event with the bridge in place, or the process's own."""
    try:
        with _bridge(name, context) as bridge:
            return bridge.handle(name, flow, event, context, may_pull=may_pull)
    except Exception as error:
        # Rules that cannot be had now, a pull that failed, a defect of ours. Senders by HTTP take most errors for a reason to drop what
        # they sent; only the second kind is told in words for them.
        answer = triggers.fault_answer(event, str(error) if isinstance(error, triggers.Undelivered) else "")
        if answer is None:
            raise
        logger().exception("invocation failed", extra={"function": name})
        return answer


@contextmanager
def _bridge(name: str, context: Context) -> Iterator[Bridge]:
    in_place = _in_place.get()
    if in_place is not None:
        yield in_place
    else:
        own = _own_bridges(name)
        with own.telemetry.invocation(name, context), own.lease() as bridge:
            yield bridge


def _own_bridges(flow: str) -> "_OwnBridges":
    """Return the process's own bridges for a flow, of which it mostly has one, by what MQBRIDGE_RULES says."""
    source = os.environ.get("MQBRIDGE_RULES") or DEFAULT_RULES
    with _own_lock:
        own = _own.get(flow)
        if own is None or own.source != source:
            if own is not None:
                own.close()
            own = _own[flow] = _OwnBridges(source, os.environ.get("MQBRIDGE_RULES_TTL"), flow)
        return own


class _OwnBridges:
    """Bridges for one flow by the rules of one source, no older than MQBRIDGE_RULES_TTL; they never change during an invocation.

    There is one bridge for each invocation under way: a server answers several requests at once, other platforms one. Rules and counters
    are common to all, connections are each bridge's own. The one that was used last is taken first, as its connections are fresh.
    """

    def __init__(self, source: str, ttl: str | None, flow: str) -> None:
        self.source = source
        self.telemetry = FunctionTelemetry()
        self._rules = RefreshedRules(source, ttl, self.telemetry.counters, flow=flow)
        self._idle: list[_OwnBridge] = []
        self._lock = threading.Lock()

    @contextmanager
    def lease(self) -> Iterator[Bridge]:
        """Lend a bridge for one invocation.

        Raises:
            RulesError: there are no rules.
        """
        with self._lock:
            rules = self._rules.current()
            own = self._idle.pop() if self._idle else _OwnBridge(self.telemetry.counters)
        try:
            yield own.following(rules)
        finally:
            self._idle.append(own)

    def close(self) -> None:
        """Close the connections of all bridges that are not lent."""
        while self._idle:
            self._idle.pop().close()


class _OwnBridge:
    """A bridge that is made anew when its rules change; counters stay, and connections to instances that stay as they are."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._sinks: OpenSinks | None = None
        self._bridge: Bridge | None = None

    def following(self, rules: Rules) -> Bridge:
        if self._bridge is None or self._bridge.rules is not rules:
            if self._sinks is None:
                self._sinks = OpenSinks(rules, partial(count_retries, self._counters))
            else:
                self._sinks.follow(rules)
            self._bridge = Bridge(rules, self._sinks, self._counters, admit=_admit, summary_level=logging.INFO)
        return self._bridge

    def close(self) -> None:
        if self._sinks is not None:
            self._sinks.close()


def _admit(request: "triggers.HttpRequest") -> None:
    from mqbridge.http_access import admit  # here, because most functions get no requests

    admit(request)
