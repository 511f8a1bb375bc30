"""Message outflow tasks as they run: pattern, operators and sink forms compiled. What loads is what runs."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from mqbridge.patterns import PatternSet, compile_set
from mqbridge.values import Value

from .streamings import EventStreaming

if TYPE_CHECKING:
    from mqbridge.cleanse import Operator
    from mqbridge.extract import Form
    from mqbridge.patterns import Pattern

__all__ = ["Sink", "Task", "TopicTasks"]


class Sink(Value):
    """What a task sends, each part a compiled form, and the instance that it sends to."""

    instance_id: str
    topic: "Form"
    body: "Form"
    properties: "Form | None"
    keys: "Form | None"
    tags: "Form | None"
    sharding_key: "Form | None"


class Task(Value):
    """A task, ready to run. `pattern` is None where everything is forwarded; `body_data_type` says what data.body is."""

    streaming: EventStreaming
    name: str = field(init=False)
    body_data_type: str = field(init=False)
    pattern: "Pattern | None"
    operators: "tuple[Operator, ...]"
    sink: Sink

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.streaming.name)
        object.__setattr__(self, "body_data_type", self.streaming.source.mqtt.body_data_type)


class TopicTasks(Value):
    """The tasks of one topic. Their patterns are matched at once, those of one BodyDataType together, for they see the same event."""

    tasks: tuple[Task, ...]
    _sets: Mapping[str, tuple[PatternSet, tuple[str, ...]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sets = {}
        for kind in {task.body_data_type for task in self.tasks}:
            of_kind = [
                task for task in self.tasks if task.body_data_type == kind and task.streaming.status == "Enabled"
            ]
            names = tuple(task.name for task in of_kind if task.pattern is not None)
            sets[kind] = (compile_set([task.pattern for task in of_kind if task.pattern is not None]), names)
        object.__setattr__(self, "_sets", sets)

    @property
    def body_data_types(self) -> Iterable[str]:
        """The kinds of body that the tasks see."""
        return self._sets

    def missing(self, body_data_type: str, event: Mapping[str, Any]) -> set[str]:
        """Return the names of the tasks with that BodyDataType whose patterns an event does not match."""
        patterns, names = self._sets[body_data_type]
        return set(names).difference([names[at] for at in patterns.matching(event)])
