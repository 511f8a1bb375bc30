"""mqbridge match --rules: which rules of a document want an event, which do not, and why. By the flows that run, without any broker."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mqbridge import patterns, triggers
from mqbridge.events import task_event
from mqbridge.flows import inbound, outbound, outflow, status
from mqbridge.mapping import parent_of
from mqbridge.messages import ClientStatus, MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Drop, Failed, Plan, Planned, Reject, Send
from mqbridge.rules import InboundRule, InvalidRules, OutboundRule, Rules, RulesError, Task, load
from mqbridge_cli.validate import print_faults

__all__ = ["run"]

FORMAT_VERSION = "1.0"

State = Literal["matched", "not matched", "cannot tell"]
_WORDS = {"rule_disabled": "the rule is disabled", "task_paused": "the task is paused"}
_OF_THE_SINK = "mapping"  # the stage of a task after its pattern and its transforms


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule has to do with a record; `leaves` are the verdicts of its pattern, if they were asked for."""

    collection: str
    name: str
    state: State
    why: str = ""
    leaves: tuple[patterns.Verdict, ...] = ()


def run(
    rules_path: str, event_path: str, *, explains: bool = False, expected: str | None = None, output: str = "text"
) -> int:
    """Print a line per rule that is for messages of the event's kind, as text or json.

    Returns 0 if exactly the `expected` rules matched (names with commas between them), without any expectation if a rule matched; 1 if
    not; 2 if the rules are not valid, or the event cannot be read.
    """
    try:
        rules = load(rules_path)
    except InvalidRules as error:
        print_faults(rules_path, error.faults, sys.stderr)
        return 2
    except RulesError as error:
        print(error, file=sys.stderr)
        return 2
    names = None if expected is None else {name.strip() for name in expected.split(",") if name.strip()}
    if unknown := (names or set()) - {each.name for each in _candidates(rules, None)}:
        print(f"--expect: {rules_path} has no rule or task {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    try:
        batch = triggers.read(Path(event_path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, triggers.UnreadableEvent) as error:
        print(f"{event_path}: {error}", file=sys.stderr)
        return 2
    found = [(record, list(_findings(record, rules, batch.only_rule, explains))) for record in batch.records]
    print(_as_json(found) if output == "json" else _as_text(found), end="")
    if found and all(isinstance(record.message, Reject) for record, _ in found):
        print(f"{event_path}: no message in it can be read", file=sys.stderr)
        return 2
    matched = {each.name for _, findings in found for each in findings if each.state == "matched"}
    if names is None:
        return 0 if matched else 1
    for name in sorted(names - matched):
        print(f"{name}: expected to match, but does not", file=sys.stderr)
    for name in sorted(matched - names):
        print(f"{name}: matches, but is not expected to", file=sys.stderr)
    return 0 if matched == names else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    collection: str
    name: str
    instance_id: str
    topic: str = ""
    task: Task | None = None


def _candidates(rules: Rules, kind: type | None) -> Iterator[_Candidate]:
    """Yield the rules that are for messages of this kind; all if it is not known."""
    of_mqtt: list[OutboundRule] = list(rules.outbound) if kind in (None, MqttMessage) else []
    of_rocketmq: list[InboundRule] = list(rules.inbound) if kind in (None, RocketMQMessage) else []
    for collection, data_rules in (("OutboundRules", of_mqtt), ("InboundRules", of_rocketmq)):
        for rule in data_rules:
            source = rule.source
            yield _Candidate(
                collection=collection, name=rule.rule_id, instance_id=str(source.instance_id), topic=source.topic
            )
    for task in rules.tasks if kind in (None, MqttMessage) else ():
        mqtt = task.streaming.source.mqtt
        yield _Candidate(
            collection="EventStreamings",
            name=task.name,
            instance_id=str(mqtt.instance_id),
            topic=mqtt.topic,
            task=task,
        )
    for status_rule in rules.status if kind in (None, ClientStatus) else ():
        instance_id = str(status_rule.source.instance_id)
        yield _Candidate(collection="StatusRules", name=status_rule.rule_id, instance_id=instance_id)


def _findings(record: Record, rules: Rules, only_rule: str | None, explains: bool) -> Iterator[Finding]:
    message = record.message
    if isinstance(message, Reject):
        for each in _candidates(rules, None):
            yield Finding(collection=each.collection, name=each.name, state="cannot tell", why=_told(message))
        return
    planned = {collection: _by_rule(plan) for collection, plan in _plans(record, rules, only_rule)}
    for each in _candidates(rules, type(message)):
        plans = planned[each.collection]
        if (plan := plans.get(each.name)) is not None:
            state, why = _judged(plan, each)
        elif isinstance(general := plans.get(None), Reject):
            state, why = "cannot tell", _told(general)
        elif only_rule not in (None, each.name):
            state, why = "not matched", f"the event is for {only_rule} alone"
        else:
            state, why = "not matched", _elsewhere(each, message)
        leaves = _leaves(each, record, message) if explains and plan is not None else ()
        yield Finding(collection=each.collection, name=each.name, state=state, why=why, leaves=leaves)


def _plans(record: Record, rules: Rules, only_rule: str | None) -> Iterator[tuple[str, Iterable[Planned]]]:
    if isinstance(record.message, RocketMQMessage):
        yield "InboundRules", inbound.plan([record], rules, only_rule)
        return
    if isinstance(record.message, ClientStatus):
        yield "StatusRules", status.plan([record], rules, only_rule)
        return
    yield "OutboundRules", outbound.plan([record], rules, only_rule)
    # Whether a task matches is said by its pattern; operators, which may look things up outside, come after it.
    without_operators = replace(rules, tasks=tuple(replace(task, operators=()) for task in rules.tasks))
    yield "EventStreamings", outflow.plan([record], without_operators, only_rule)


def _by_rule(plan: Iterable[Planned]) -> dict[str | None, Plan]:
    return {None if each.rule is None else each.rule.rule_id: each.outcome for each in plan}


def _judged(plan: Plan, candidate: _Candidate) -> tuple[State, str]:
    if isinstance(plan, Send):
        return "matched", ""
    if isinstance(plan, Drop):
        return "not matched", plan.detail or _WORDS.get(plan.reason, plan.reason)
    if isinstance(plan, Reject) and plan.stage == _OF_THE_SINK and candidate.task is not None:
        # Transforms would have changed what the sink got.
        return "matched", "" if candidate.task.operators else f"but would be rejected: {_told(plan)}"
    return "cannot tell", _told(plan)


def _told(outcome: Reject | Failed) -> str:
    return f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason


def _elsewhere(candidate: _Candidate, message: MqttMessage | RocketMQMessage | ClientStatus) -> str:
    if isinstance(message, ClientStatus):
        return f"other clients: the event is of {message.client_id[:64]!r}"
    is_mqtt = isinstance(message, MqttMessage)
    topic = parent_of(message.topic) if is_mqtt else message.topic
    if topic != candidate.topic:
        kind = "parent topic" if is_mqtt else "topic"
        return f"another {kind}: the message has {topic!r}, the rule {candidate.topic!r}"
    return f"another instance: the message is of {message.instance_id!r}, the rule of {candidate.instance_id!r}"


def _leaves(candidate: _Candidate, record: Record, message: Any) -> tuple[patterns.Verdict, ...]:
    task = candidate.task
    if task is None or task.pattern is None:
        return ()
    event = task_event(
        message, instance_id=candidate.instance_id, body_data_type=task.body_data_type, received=record.event
    )
    return () if isinstance(event, Reject) else tuple(patterns.explain(task.pattern, event.value))


def _as_text(found: Sequence[tuple[Record, Sequence[Finding]]]) -> str:
    lines = []
    for record, findings in found:
        if len(found) > 1:
            lines.append(f"record {record.id}")
        for each in findings:
            lines.append(f"{each.state:<11}  {each.collection:<15}  {each.name}{': ' if each.why else ''}{each.why}")
            lines += [f"  {line}" for leaf in each.leaves for line in leaf.lines()]
    return "".join(f"{line}\n" for line in lines)


def _as_json(found: Sequence[tuple[Record, Sequence[Finding]]]) -> str:
    records = [{"record": record.id, "rules": [_document(each) for each in findings]} for record, findings in found]
    return json.dumps({"format_version": FORMAT_VERSION, "records": records}, indent=2, ensure_ascii=False) + "\n"


def _document(finding: Finding) -> dict[str, Any]:
    document: dict[str, Any] = {
        "collection": finding.collection,
        "rule": finding.name,
        "state": finding.state.replace(" ", "_"),
        "why": finding.why,
    }
    if finding.leaves:
        document["leaves"] = [
            {"path": leaf.path, "asked": leaf.asked, "seen": leaf.seen, "holds": leaf.holds, "near": leaf.near}
            for leaf in finding.leaves
        ]
    return document
