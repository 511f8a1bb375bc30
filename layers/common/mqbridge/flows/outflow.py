"""Message outflow tasks: what is published under an MQTT topic, filtered and transformed, lands in a RocketMQ topic. Pure, but for
what operators look up through their port.
"""

from collections.abc import Iterable, Iterator, Sequence

from mqbridge.cleanse import MAX_PARTS, Operator, Rejected, Unavailable
from mqbridge.events import TaskEvent, task_event
from mqbridge.extract import TooManySteps
from mqbridge.mapping import is_echo, origin_of, parent_of
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import Drop, Failed, Plan, Planned, Reject, Send, Stage
from mqbridge.rules import Rules, Task, TopicTasks
from rocketmq_remoting import check_message

from .instances import named_or_only
from .planning import defect, only_message
from .sink import sink_messages

__all__ = ["plan"]

DECODING, FILTERING, TRANSFORMING, MAPPING = "decoding", "filtering", "transforming", "mapping"
# The largest message sixteen times: what one event is split into is in memory at once until it is sent.
MAX_SIZE = 64 * 1024 * 1024
_MQTT_5 = 5
_NO_TASKS = TopicTasks(())
_PAUSED = Drop("task_paused")
_ECHO = Drop("loop", "the message came from RocketMQ by an inbound rule")
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
    topic = rules.tasks_by_parent.get((instance_id, parent), _NO_TASKS)
    tasks = topic.tasks if only_rule is None else [task for task in topic.tasks if task.name == only_rule]
    if not tasks:
        return [Planned(record, None, Drop("no_rule", f"no task for topic {parent!r} of {instance_id}"))]
    passage = _Passage(record, message, instance_id, rules)
    # The patterns of several tasks are matched at once; of most tasks that is all there is to do.
    missing = _missing(passage, topic) if len(tasks) > 1 and not is_traced else ()
    return [
        Planned(record, task.streaming, _FILTERED) if task.name in missing else passage.planned(task, is_traced)
        for task in tasks
    ]


def _missing(passage: "_Passage", topic: TopicTasks) -> set[str]:
    try:
        return passage.missing(topic)
    except Exception:  # a defect of ours, which each task comes upon again, and answers for
        return set()


class _Passage:
    """One record on its way through the tasks of its topic, which share what is decoded."""

    __slots__ = ("_events", "_instance_id", "_is_echo", "_message", "_record", "_rules")

    def __init__(self, record: Record, message: MqttMessage, instance_id: str, rules: Rules) -> None:
        self._record = record
        self._message = message
        self._instance_id = instance_id
        self._rules = rules
        self._is_echo = is_echo(message)
        self._events: dict[str, TaskEvent | Reject] = {}

    def missing(self, topic: TopicTasks) -> set[str]:
        """Return the names of the tasks whose patterns the event does not match; none for an event that has its end elsewhere."""
        if self._is_echo:
            return set()
        events = ((kind, self._event(kind)) for kind in topic.body_data_types)
        return {
            name for kind, event in events if not isinstance(event, Reject) for name in topic.missing(kind, event.value)
        }

    def planned(self, task: Task, is_traced: bool) -> Planned:
        stages: list[Stage] | None = [] if is_traced else None
        try:
            outcome = self._outcome(task, stages)
        except Exception as error:  # a defect of ours: the other tasks and records must not suffer for it
            outcome = defect(error)
        return Planned(self._record, task.streaming, outcome, tuple(stages) if stages else ())

    def _outcome(self, task: Task, stages: list[Stage] | None) -> Plan:
        if task.streaming.status == "Paused":
            return _PAUSED
        if self._is_echo:
            return _ECHO
        event = self._event(task.body_data_type)
        if isinstance(event, Reject):
            return event
        if stages is not None:
            stages.append(Stage(DECODING, f"data.body read as {task.body_data_type}"))
        if task.pattern is not None:
            is_match = task.pattern.matches(event.value)
            if stages is not None:
                stages.append(Stage(FILTERING, "matches" if is_match else "does not match"))
            if not is_match:
                return _FILTERED
        try:
            return self._messages(task, _transformed(task.operators, event, stages), stages)
        except _Ended as ended:
            return ended.outcome

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

    def _messages(self, task: Task, events: Iterable[TaskEvent], stages: list[Stage] | None) -> Plan:
        instance = self._rules.rocketmq[task.sink.instance_id]
        # MQTT 5 carries the bridge's own mark back; for 3.1.1, where it would be lost, an inbound rule looks at this one.
        is_marked = self._rules.mqtt[self._instance_id].protocol_level != _MQTT_5
        origin = origin_of(self._instance_id, parent_of(self._message.topic)) if is_marked else ""
        messages: list[RocketMQMessage] = []
        size = 0
        for event in events:
            made = sink_messages(task, event, self._message, allowed_topics=instance.topics, origin=origin)
            if isinstance(made, Reject):
                return Reject(made.reason, made.detail, MAPPING)
            messages += made
            if not task.operators:  # it is one message
                break
            # Copies for several topics share their body.
            size += len(made[0].body) + sum([len(check_message(each)) for each in made])
            if size > MAX_SIZE and len(messages) > len(made):
                return Reject(
                    "body_too_large",
                    f"expected at most {MAX_SIZE} bytes in all that one event is split into, got more",
                    MAPPING,
                )
        if not messages:
            return _EMPTIED
        if stages is not None:
            stages.append(Stage(MAPPING, _counted(len(messages), "message")))
        return Send(tuple(messages))


class _Ended(Exception):
    """An operator ended the way of a record, which it takes with it whole."""

    def __init__(self, outcome: Reject | Failed) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def _transformed(operators: Sequence[Operator], event: TaskEvent, stages: list[Stage] | None) -> Iterable[TaskEvent]:
    """Yield what the operators leave of an event, one after the other: the parts that it is split into are never all there at once.

    Raises:
        _Ended: an operator cannot go on.
    """
    events: Iterable[TaskEvent] = (event,)
    for at, operator in enumerate(operators):
        place = f"Transforms[{at}] {operator.name}"
        events = _applied(operator, place, events)
        if stages is not None:
            listed = list(events)
            stages.append(Stage(TRANSFORMING, f"{place}: {_counted(len(listed), 'event')}"))
            events = listed
            if not listed:
                break
    return events


def _applied(operator: Operator, place: str, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
    count = 0
    for before in events:
        try:
            for after in operator.apply(before):
                count += 1
                if count > MAX_PARTS:
                    raise Rejected("too_many_parts", f"expected at most {MAX_PARTS} parts of one event, got more")
                yield after
        except Rejected as error:
            raise _Ended(Reject(error.reason, f"{place}: {error.detail}", TRANSFORMING)) from None
        except TooManySteps as error:
            raise _Ended(Reject("too_many_steps", f"{place}: {error}", TRANSFORMING)) from None
        except Unavailable as error:
            raise _Ended(Failed(error.reason, f"{place}: {error.detail}", stage=TRANSFORMING)) from None


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
