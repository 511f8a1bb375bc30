"""The four forms in which a task says what it takes out of an event (EventBridge's Form, Value, Template). Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from mqbridge import json_text

from .paths import InvalidPath, Path, compile_path

__all__ = ["Form", "InvalidForm", "Unextractable", "compile_form", "text_of"]


class InvalidForm(ValueError):
    """A form that cannot be; `setting` is which of its settings is wrong: "Value" or "Template"."""

    def __init__(self, setting: str, expected: str, got: str) -> None:
        super().__init__(f"{setting}: expected {expected}, got {got}")
        self.setting = setting
        self.expected = expected
        self.got = got


class Unextractable(ValueError):
    """What the event holds does not go into the template: the record can never succeed."""


class Form(Protocol):
    """A compiled form."""

    def extract(self, event: Mapping[str, Any]) -> Any:
        """Return what the form makes of an event: text, a JSON value, or MISSING.

        Raises:
            Unextractable: what the event holds does not go into the template.
        """
        ...


class Original:
    """The whole event, as JSON text."""

    def extract(self, event: Mapping[str, Any]) -> str:
        return json_text.encode(event)


class Constant:
    """Fixed text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def extract(self, event: Mapping[str, Any]) -> str:
        del event
        return self.text


class Partial:
    """The value at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.extract = path.find


def compile_form(form: str, value: str | None, template: str | None) -> Form:
    """Return a form, ready to extract.

    Args:
        form: ORIGINAL, JSONPATH, CONSTANT or TEMPLATE.
        value: the path, the text, or the template's variables as JSON text of one object.
        template: text with ${name}, ${jsonEscape(name)} and ${htmlEscape(name)} in it.

    Raises:
        InvalidForm: names the setting that is wrong or missing.
    """
    if form == "ORIGINAL":
        return Original()
    if form == "CONSTANT":
        return Constant(_required("Value", "text", value))
    if form == "JSONPATH":
        try:
            return Partial(compile_path(_required("Value", "a JSONPath, such as $.data.body", value)))
        except InvalidPath as error:
            raise InvalidForm("Value", error.expected, error.got) from None
    from .templates import compile_template  # here, because few tasks have one

    variables = 'the variables as JSON, such as {"t": "$.data.body.t"}'
    return compile_template(_required("Value", variables, value), _required("Template", "text", template))


def text_of(value: Any) -> str:
    """Return an extracted value as text: text as it is, anything else as JSON.

    Raises:
        InvalidJson: it is nested too deeply.
    """
    return value if isinstance(value, str) else json_text.encode(value)


def _required(setting: str, expected: str, text: str | None) -> str:
    if text is None:
        raise InvalidForm(setting, expected, "nothing")
    return text
