"""The four forms in which a task says what it takes out of an event (EventBridge's Form, Value, Template)."""

from .kinds import Choice, Section, Text, setting
from .sections import Declaration

__all__ = ["FIELD", "SinkField"]


class SinkField(Declaration):
    """One of the four forms: the whole event, a path in it, fixed text, or a template."""

    form: str = setting(
        "Form", Choice("ORIGINAL", "JSONPATH", "CONSTANT", "TEMPLATE"), doc="The form.", example="JSONPATH"
    )
    value: str | None = setting(
        "Value",
        Text("text of at most 10240 characters", r".*"),
        default=None,
        doc="The path, the text, or the template's variables as JSON.",
    )
    template: str | None = setting(
        "Template", Text("text of at most 10240 characters", r".*"), default=None, doc="Text with ${name} in it."
    )


FIELD = Section(SinkField, "a form: {Form, Value, Template}")
