"""Load a rules document: from a file or from its text, whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeVar

from mqbridge.values import Value

from .check import check
from .data_rules import InboundRule, OutboundRule, StatusRule
from .document import RulesDocument
from .documents import Document, read_document
from .faults import Fault, InvalidRules, Path, UnreadableRules
from .instances import Instances
from .kinds import INVALID, Section, settings_of, wrong
from .rules import Rules
from .run_options import RunOptions

if TYPE_CHECKING:
    from mqbridge.cleanse import Outside

    from .tasks import Task

__all__ = ["load"]

# Of each flow, what is none of its business: data rules share ids, limits and circles, and a task has to do with no other rule.
_DATA_RULES, _TASKS = ("OutboundRules", "InboundRules", "StatusRules"), ("EventStreamings",)
_LEFT_OUT = {"outbound": _TASKS, "inbound": _TASKS, "status": _TASKS, "outflow": _DATA_RULES}


def load(
    source: str | FilePath | Mapping[str, Any], *, flow: str | None = None, outside: "Outside | None" = None
) -> Rules:
    """Load rules and return them, resolved and ready for use.

    Args:
        source: a path (.yaml, .yml, .json, .toml), the document's JSON text, or the document as a mapping.
        flow: the only flow that the rules are for. What it has nothing to do with is left out, unread: data rules for outflow, tasks
            for the others. By default everything is loaded, and checked.
        outside: what tasks look things up through; the real thing unless a test gives another.

    Raises:
        UnreadableRules: there is no such file, or it is not in the format that its name says.
        InvalidRules: carries every fault of what is read, each with its place.
    """
    document = _document(source)
    parsed, faults = _parse(document, _LEFT_OUT.get(flow or "", ()))
    tasks, faults_of_tasks = _compiled(parsed, document, outside)
    faults += faults_of_tasks
    grave = [document.placed(fault) for fault in faults if not fault.is_notice]
    if grave:
        raise InvalidRules(document.name, sorted(grave, key=lambda fault: (fault.line, fault.column)))
    return _resolved(parsed, tasks, document, tuple(document.placed(fault) for fault in faults))


def _document(source: str | FilePath | Mapping[str, Any]) -> Document:
    if isinstance(source, Mapping):
        return Document(name="(rules)", data=source, positions=dict)
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return read_document(source, "(rules).json")
    try:
        text = FilePath(source).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableRules(str(source), f"cannot be read: {reason}") from error
    return replace(read_document(text, str(source)), folder=FilePath(source).parent)


def _parse(document: Document, left_out: tuple[str, ...]) -> tuple[RulesDocument, list[Fault]]:
    faults = [
        Fault(code="MB103", path=path, expected="each key once", got="it twice")
        for path in document.duplicate_keys
        if path[0] not in left_out
    ]
    if not isinstance(document.data, Mapping):
        fault = wrong((), "a mapping with Instances and rules", document.data)
        raise InvalidRules(document.name, [document.placed(fault)])
    data = {key: value for key, value in document.data.items() if key not in left_out}
    parsed = Section(RulesDocument).read(data, (), faults)
    if parsed is INVALID:
        parsed = _what_is_valid(data)
    return parsed, faults + check(parsed, data)


def _compiled(parsed: RulesDocument, document: Document, outside: "Outside | None") -> "tuple[list[Task], list[Fault]]":
    """Return the document's tasks, compiled, and what is wrong with them."""
    tasks: list[Task] = []
    faults: list[Fault] = []
    if not parsed.streamings:
        return tasks, faults
    from mqbridge.cleanse import RealOutside

    from .compiling import compile_task

    reached = outside or RealOutside(document.folder)
    for at, streaming in enumerate(parsed.streamings):
        if streaming is INVALID:
            continue

        def report(code: str, path: Path, expected: str, got: str, at: int = at) -> None:
            faults.append(Fault(code=code, path=("EventStreamings", at, *path), expected=expected, got=got))

        task = compile_task(streaming, reached, report)
        if task is not None:
            tasks.append(task)
    return tasks, faults


def _what_is_valid(data: Mapping[str, Any]) -> RulesDocument:
    """Return the parts of a faulty document that could be read, for the checks between parts."""
    unused: list[Fault] = []
    parts = {}
    for name, declared in settings_of(RulesDocument).items():
        part = declared.kind.read(data[declared.key], (), unused) if declared.key in data else INVALID
        if part is not INVALID:
            parts[name] = part
    return RulesDocument(**{"instances": Instances(), **parts})


def _resolved(document: RulesDocument, tasks: "list[Task]", source: Document, notices: tuple[Fault, ...]) -> Rules:
    mqtt = {each.instance_id: each for each in document.instances.mqtt}
    rocketmq = {each.instance_id: each for each in document.instances.rocketmq}
    resolver = _Resolver(
        only_mqtt=next(iter(mqtt), ""), only_rocketmq=next(iter(rocketmq), ""), defaults=document.defaults.run_options
    )
    tasks = resolver.tasks(tasks) if tasks else []
    canonical = json.dumps(source.data, sort_keys=True, separators=(",", ":"), default=str)
    return Rules(
        name=source.name,
        digest=sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        limits=document.limits,
        run_options=document.defaults.run_options,
        mqtt=mqtt,
        rocketmq=rocketmq,
        outbound=tuple(resolver.from_mqtt(rule) for rule in document.outbound),
        inbound=tuple(resolver.inbound(rule) for rule in document.inbound),
        status=tuple(resolver.from_mqtt(rule) for rule in document.status),
        streamings=tuple(task.streaming for task in tasks),
        tasks=tuple(tasks),
        notices=notices,
    )


FromMqtt = TypeVar("FromMqtt", OutboundRule, StatusRule)


class _Resolver(Value):
    """Write into each rule what it left out: the only instance of a kind, and the document's default run options."""

    only_mqtt: str
    only_rocketmq: str
    defaults: RunOptions

    def from_mqtt(self, rule: FromMqtt) -> FromMqtt:
        source, destination = rule.source, rule.destination
        return replace(
            rule,
            source=replace(source, instance_id=source.instance_id or self.only_mqtt),
            destination=replace(destination, instance_id=destination.instance_id or self.only_rocketmq),
            run_options=self._options(rule.run_options),
        )

    def inbound(self, rule: InboundRule) -> InboundRule:
        return replace(
            rule,
            source=replace(rule.source, instance_id=rule.source.instance_id or self.only_rocketmq),
            destination=replace(rule.destination, instance_id=rule.destination.instance_id or self.only_mqtt),
            run_options=self._options(rule.run_options),
        )

    def tasks(self, tasks: "list[Task]") -> "list[Task]":
        from .compiling import resolve_task

        return [
            resolve_task(
                task,
                only_mqtt=self.only_mqtt,
                only_rocketmq=self.only_rocketmq,
                run_options=self._options(task.streaming.run_options),
            )
            for task in tasks
        ]

    def _options(self, own: RunOptions) -> RunOptions:
        return replace(
            own,
            **{each.name: getattr(self.defaults, each.name) for each in fields(own) if getattr(own, each.name) is None},
        )
