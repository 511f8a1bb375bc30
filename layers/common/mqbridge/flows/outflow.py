"""Message outflow tasks: what is published under an MQTT topic, filtered and transformed, lands in a RocketMQ topic. Pure, but for
what operators look up through their port.
"""

from collections.abc import Iterable, Sequence

from mqbridge.cleanse import Rejected, Unavailable
from mqbridge.events import TaskEvent, task_event
from mqbridge.mapping import is_echo, origin_of, parent_of
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Drop, Failed, Plan, Planned, Reject, Send, Stage
from mqbridge.rules import Rules, Task

from .instances import named_or_only
from .planning import only_message
from .sink import sink_messages

__all__ = ["plan"]

DECODING, FILTERING, TRANSFORMING, MAPPING = "decoding", "filtering", "transforming", "mapping"
_MQTT_5 = 5
_FILTERED = Drop("filtered", "the event does not match FilterPattern")
_EMPTIED = Drop("filtered", "the transforms left nothing")


def plan(
    records: Iterable[Record], rules: Rules, only_rule: str | None = None, *, is_traced: bool = False
) -> list[Planned]:
    """Return what each task of a record's topic makes of it; with `only_rule`, as if there were no other.

    With `is_traced`, every outcome tells the stages on its way.
    """
    return [planned for record in records for planned in _plan_record(record, rules, only_rule, is_traced)]


def _plan_record(record: Record, rules: Rules, only_rule: str | None, is_traced: bool) -> list[Planned]:
    message = only_message(record, MqttMessage)
    if isinstance(message, Reject):
        return [Planned(record, None, message)]
    instance_id = named_or_only(message.instance_id, rules.mqtt, "MQTT")
    if isinstance(instance_id, Reject):
        return [Planned(record, None, instance_id)]
    parent = parent_of(message.topic)
    tasks = rules.tasks_by_parent.get((instance_id, parent), ())
    if only_rule is not None:
        tasks = tuple(task for task in tasks if task.streaming.name == only_rule)
    if not tasks:
        return [Planned(record, None, Drop("no_rule", f"no task for topic {parent!r} of {instance_id}"))]
    passage = _Passage(record, message, instance_id, rules)
    return [passage.planned(task, is_traced) for task in tasks]


class _Passage:
    """One record on its way through the tasks of its topic, which share what is decoded once."""

    def __init__(self, record: Record, message: MqttMessage, instance_id: str, rules: Rules) -> None:
        self._record = record
        self._message = message
        self._instance_id = instance_id
        self._rules = rules
        self._events: dict[str, TaskEvent | Reject] = {}

    def planned(self, task: Task, is_traced: bool) -> Planned:
        stages: list[Stage] | None = [] if is_traced else None
        try:
            outcome = self._outcome(task, stages)
        except Exception as error:  # a defect of ours: the other tasks and records must not suffer for it
            outcome = Reject("unexpected_error", f"{type(error).__name__}: {error}")
        return Planned(self._record, task.streaming, outcome, tuple(stages or ()))

    def _outcome(self, task: Task, stages: list[Stage] | None) -> Plan:
        if task.streaming.status == "Paused":
            return Drop("task_paused")
        if is_echo(self._message):
            return Drop("loop", "the message came from RocketMQ by an inbound rule")
        event = self._event(task.body_data_type)
        if isinstance(event, Reject):
            return event
        _note(stages, DECODING, f"data.body read as {task.body_data_type}")
        if task.pattern is not None:
            if not task.pattern.matches(event.value):
                _note(stages, FILTERING, "does not match")
                return _FILTERED
            _note(stages, FILTERING, "matches")
        events = _transformed(task, event, stages) if task.operators else (event,)
        if not isinstance(events, Sequence):
            return events
        return self._messages(task, events, stages) if events else _EMPTIED

    def _event(self, body_data_type: str) -> TaskEvent | Reject:
        event = self._events.get(body_data_type)
        if event is None:
            event = task_event(
                self._message,
                instance_id=self._instance_id,
                body_data_type=body_data_type,
                received=self._record.event,
            )
            if isinstance(event, Reject):
                event = Reject(event.reason, event.detail, DECODING)
            self._events[body_data_type] = event
        return event

    def _messages(self, task: Task, events: Sequence[TaskEvent], stages: list[Stage] | None) -> Plan:
        instance = self._rules.rocketmq[task.sink.instance_id]
        # MQTT 5 carries the bridge's own mark back; for 3.1.1, where it would be lost, an inbound rule looks at this one.
        is_marked = self._rules.mqtt[self._instance_id].protocol_level != _MQTT_5
        origin = origin_of(self._instance_id, parent_of(self._message.topic)) if is_marked else ""
        messages: list[RocketMQMessage] = []
        for event in events:
            made = sink_messages(task, event, self._message, allowed_topics=instance.topics, origin=origin)
            if isinstance(made, Reject):
                return Reject(made.reason, made.detail, MAPPING)
            messages += made
        _note(stages, MAPPING, f"{len(messages)} message{'s' if len(messages) != 1 else ''}")
        return Send(tuple(messages))


def _transformed(task: Task, event: TaskEvent, stages: list[Stage] | None) -> Sequence[TaskEvent] | Reject | Failed:
    """Carry the event, and what it is split into, through all operators; one that cannot go on takes the record with it, whole."""
    events: Sequence[TaskEvent] = (event,)
    for at, operator in enumerate(task.operators):
        place = f"Transforms[{at}] {operator.name}"
        try:
            events = [after for before in events for after in operator.apply(before)]
        except Rejected as error:
            return Reject(error.reason, f"{place}: {error.detail}", TRANSFORMING)
        except Unavailable as error:
            return Failed(error.reason, f"{place}: {error.detail}", stage=TRANSFORMING)
        _note(stages, TRANSFORMING, f"{place}: {len(events)} event{'s' if len(events) != 1 else ''}")
        if not events:
            break
    return events


def _note(stages: list[Stage] | None, name: str, verdict: str) -> None:
    if stages is not None:
        stages.append(Stage(name, verdict))
