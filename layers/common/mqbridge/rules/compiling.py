"""Compile message outflow tasks. Imported only for a document that has one: JSON, expressions and paths cost a cold start 20 ms."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mqbridge import json_text, patterns
from mqbridge.extract import Constant, Form, InvalidForm, compile_form
from rocketmq_remoting import IllegalMessage, Message, check_message

from .faults import Path
from .names import ROCKETMQ_TOPIC
from .run_options import RetryStrategy, RunOptions
from .streamings import EventStreaming, SinkField
from .tasks import Sink, Task

if TYPE_CHECKING:
    from mqbridge.cleanse import Operator, Outside

__all__ = ["compile_task", "resolve_task"]

# EventBridge's table of what each parameter of its RocketMQ target may be; a topic may also come from the event here.
_FORMS = {
    "InstanceId": ("CONSTANT",),
    "Topic": ("CONSTANT", "JSONPATH", "TEMPLATE"),
    "Body": ("ORIGINAL", "JSONPATH", "CONSTANT", "TEMPLATE"),
    "Properties": ("JSONPATH", "TEMPLATE"),
    "Keys": ("JSONPATH", "CONSTANT", "TEMPLATE"),
    "Tags": ("JSONPATH", "CONSTANT", "TEMPLATE"),
    "ShardingKey": ("JSONPATH", "CONSTANT", "TEMPLATE"),
}

# A legal message, but for what is replaced in it.
_PLAIN = Message(topic="t", body=b"", message_id="0" * 32)

Report = Callable[[str, Path, str, str], None]  # code, path within the task, expected, got


def compile_task(streaming: EventStreaming, outside: "Outside", report: Report) -> Task | None:
    """Return the task, ready to run, or None after reporting everything that is wrong with it."""
    compiler = _Compiler(report)
    pattern = compiler.pattern(streaming)
    operators = compiler.operators(streaming, outside)
    sink = compiler.sink(streaming)
    if compiler.has_faults:
        return None
    return Task(streaming=streaming, pattern=pattern, operators=operators, sink=sink)


def resolve_task(task: Task, *, only_mqtt: str, only_rocketmq: str, run_options: RunOptions) -> Task:
    """Return the task with what it left out: the only instance of a kind, the document's run options, the API's own retry policy."""
    declared = task.streaming
    source, sink = declared.source.mqtt, declared.sink.rocketmq
    instance = sink.instance_id or SinkField(form="CONSTANT", value=only_rocketmq)
    streaming = replace(
        declared,
        source=replace(declared.source, mqtt=replace(source, instance_id=source.instance_id or only_mqtt)),
        sink=replace(declared.sink, rocketmq=replace(sink, instance_id=instance)),
        run_options=replace(run_options, retry_strategy=run_options.retry_strategy or RetryStrategy()),
    )
    return replace(task, streaming=streaming, sink=replace(task.sink, instance_id=str(instance.value)))


class _Compiler:
    def __init__(self, report: Report) -> None:
        self._report = report
        self.has_faults = False

    def _fault(self, code: str, path: Path, expected: str, got: str) -> None:
        self.has_faults = True
        self._report(code, path, expected, got)

    def pattern(self, streaming: EventStreaming) -> patterns.Pattern | None:
        # The API's own way to say "everything" is an empty text.
        if streaming.filter_pattern is None or streaming.filter_pattern == "":
            return None
        repeated = (
            json_text.repeated_key(streaming.filter_pattern) if isinstance(streaming.filter_pattern, str) else None
        )
        if repeated is not None:
            self._fault("MB215", ("FilterPattern",), "every key once", f"{repeated!r} twice")
            return None
        try:
            return patterns.compile(streaming.filter_pattern)
        except patterns.InvalidPattern as error:
            self._fault("MB215", ("FilterPattern", *error.path), error.expected, error.got)
            return None

    def operators(self, streaming: EventStreaming, outside: "Outside") -> "tuple[Operator, ...]":
        if not streaming.transforms:
            return ()
        from .transforms import compile_transforms  # here, because most tasks have none

        def report(path: Path, expected: str, got: str) -> None:
            self._fault("MB216", ("Transforms", *path), expected, got)

        return compile_transforms(streaming.transforms, outside, report)

    def sink(self, streaming: EventStreaming) -> Sink:
        declared = streaming.sink.rocketmq
        instance_id = declared.instance_id
        nothing = Constant("")
        return Sink(
            instance_id=str(instance_id.value) if instance_id is not None else "",
            topic=self._topic(declared.topic) or nothing,
            body=self._form("Body", declared.body) or nothing,
            properties=self._form("Properties", declared.properties),
            keys=self._text("Keys", declared.keys),
            tags=self._text("Tags", declared.tags),
            sharding_key=self._form("ShardingKey", declared.sharding_key),
        )

    def _topic(self, declared: SinkField) -> Form | None:
        form = self._form("Topic", declared)
        if isinstance(form, Constant) and not re.fullmatch(ROCKETMQ_TOPIC.pattern, form.text):
            self._fault("MB104", _place("Topic", "Value"), ROCKETMQ_TOPIC.what, repr(form.text[:150]))
        return form

    def _text(self, key: str, declared: SinkField | None) -> Form | None:
        form = self._form(key, declared)
        if isinstance(form, Constant):
            text = form.text
            try:
                check_message(replace(_PLAIN, tags=text) if key == "Tags" else replace(_PLAIN, keys=text))
            except IllegalMessage as error:  # as every message would be
                self._fault("MB104", _place(key, "Value"), error.expected, error.got)
        return form

    def _form(self, key: str, declared: SinkField | None) -> Form | None:
        if declared is None:
            return None
        allowed = _FORMS[key]
        if declared.form not in allowed:
            self._fault("MB217", _place(key, "Form"), _one_of(allowed), declared.form)
            return None
        try:
            return compile_form(declared.form, declared.value, declared.template)
        except InvalidForm as error:
            self._fault("MB217", _place(key, error.setting), error.expected, error.got)
            return None


def _place(key: str, setting: str) -> Path:
    return ("Sink", "SinkRocketMQParameters", key, setting)


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
