"""Message outflow tasks as they run: pattern, operators and sink forms compiled. What loads is what runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .streamings import EventStreaming

if TYPE_CHECKING:
    from mqbridge.cleanse import Operator
    from mqbridge.extract import Form
    from mqbridge.patterns import Pattern

__all__ = ["Sink", "Task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """What a task sends, each part a compiled form, and the instance that it sends to."""

    instance_id: str
    topic: "Form"
    body: "Form"
    properties: "Form | None"
    keys: "Form | None"
    tags: "Form | None"
    sharding_key: "Form | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, ready to run. `pattern` is None where everything is forwarded."""

    streaming: EventStreaming
    pattern: "Pattern | None"
    operators: "tuple[Operator, ...]"
    sink: Sink

    @property
    def body_data_type(self) -> str:
        """What data.body is: JSON, Text or Binary."""
        return self.streaming.source.mqtt.body_data_type
