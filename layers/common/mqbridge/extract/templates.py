"""Templates: text with variables in it, each a path or fixed text. Pure.

${name} is the value's text, ${jsonEscape(name)} that text fit for the inside of a JSON string, ${htmlEscape(name)} fit for HTML. A path
without a result gives nothing; a name that is not declared stays as it is. In a JSON template, the pair
"EB_SYS_EMBED_OBJECT": "${name}" is replaced by the members of the object that the variable names.
"""

import html
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from mqbridge import json_text

from .paths import MISSING, InvalidPath, Path, compile_path

__all__ = ["InvalidTemplate", "Unextractable", "compile_template"]

EMBED = "EB_SYS_EMBED_OBJECT"
_VARIABLE = re.compile(r"\$\{(?:(\w+)\(([^(){}]+)\)|([^(){}]+))\}")
_EMBED = re.compile(rf'"{EMBED}"\s*:\s*("?)\$\{{([^(){{}}]+)\}}\1')
_ESCAPES: dict[str, Callable[[str], str]] = {
    "jsonEscape": lambda text: json_text.encode(text)[1:-1],
    "htmlEscape": html.escape,
}


class InvalidTemplate(ValueError):
    """A template that cannot be; `setting` is "Value" or "Template"."""

    def __init__(self, setting: str, expected: str, got: str) -> None:
        super().__init__(f"{setting}: expected {expected}, got {got}")
        self.setting = setting
        self.expected = expected
        self.got = got


class Unextractable(ValueError):
    """What the event holds does not go into the template: the record can never succeed."""


Variable = Path | str
Piece = str | tuple[Variable, Callable[[str], str] | None]


class Template:
    """A compiled template."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces

    def extract(self, event: Mapping[str, Any]) -> str:
        """Return the text with the event's values in it."""
        return "".join(
            [piece if isinstance(piece, str) else _text(piece[0], piece[1], event) for piece in self._pieces]
        )


class EmbeddingTemplate:
    """A JSON template in which objects of the event take the place of marked pairs.

    A mark holds a word that no event can know, so that what devices publish is never taken for one.
    """

    def __init__(self, template: Template, marks: Mapping[str, Variable]) -> None:
        self._template = template
        self._marks = marks

    def extract(self, event: Mapping[str, Any]) -> str:
        """Return the JSON text with the event's values in it and the marked objects embedded.

        Raises:
            Unextractable: the template is not JSON once the values stand in it, or what is to be embedded is no object.
        """
        objects = {mark: self._object(variable, event) for mark, variable in self._marks.items()}

        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            embedded: dict[str, Any] = {}
            for key, value in pairs:
                if key == EMBED and isinstance(value, str) and value in objects:
                    embedded |= objects[value]
            own = {key: value for key, value in pairs if not (key == EMBED and value in self._marks)}
            return embedded | own

        try:
            return json_text.encode(json.loads(self._template.extract(event), object_pairs_hook=members))
        except (ValueError, RecursionError):
            raise Unextractable(
                "Template: expected JSON once the values stand in it; ${jsonEscape(name)} makes text fit for a JSON string"
            ) from None

    @staticmethod
    def _object(variable: Variable, event: Mapping[str, Any]) -> Mapping[str, Any]:
        value = variable if isinstance(variable, str) else variable.find(event)
        if value is MISSING or value is None:
            return {}
        if not isinstance(value, Mapping):
            raise Unextractable(f"{EMBED}: expected an object to embed, got a {type(value).__name__}")
        return value


def compile_template(value: str, template: str) -> Template | EmbeddingTemplate:
    """Return a template, ready to extract.

    Args:
        value: the variables, JSON text of one object: name to path ("$...") or fixed text.
        template: the text.

    Raises:
        InvalidTemplate: names the setting that is wrong.
    """
    variables = _variables(value)
    marks: dict[str, Variable] = {}

    def mark(found: re.Match[str]) -> str:
        name = found[2].strip()
        if name not in variables:
            raise InvalidTemplate("Template", f"a variable that Value declares in {EMBED}", f"${{{name}}}")
        word = secrets.token_hex(16)
        marks[word] = variables[name]
        return f'"{EMBED}":"{word}"'

    compiled = Template(_pieces(_EMBED.sub(mark, template), variables))
    return EmbeddingTemplate(compiled, marks) if marks else compiled


def _variables(value: str) -> dict[str, Variable]:
    try:
        declared = json_text.decode(value)
    except json_text.InvalidJson as error:
        raise InvalidTemplate(
            "Value", 'the variables as JSON, such as {"t": "$.data.body.t"}', f"text that is none ({error})"
        ) from None
    if not isinstance(declared, dict):
        raise InvalidTemplate("Value", "a JSON object of variables", f"a {type(declared).__name__}")
    return {name: _variable(name, source) for name, source in declared.items()}


def _variable(name: str, source: Any) -> Variable:
    if not isinstance(source, str):
        raise InvalidTemplate(
            "Value", f"text for the variable {name}: a path or fixed text", f"a {type(source).__name__}"
        )
    if not source.startswith("$"):
        return source
    try:
        return compile_path(source)
    except InvalidPath as error:
        raise InvalidTemplate("Value", f"for the variable {name} {error.expected}", error.got) from None


def _pieces(template: str, variables: Mapping[str, Variable]) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for found in _VARIABLE.finditer(template):
        function, argument, plain = found.groups()
        name = (argument or plain).strip()
        if function is not None and function not in _ESCAPES:
            raise InvalidTemplate("Template", "${name}, ${jsonEscape(name)} or ${htmlEscape(name)}", found[0])
        if name not in variables:
            continue  # stays as it is
        pieces += [template[at : found.start()], (variables[name], _ESCAPES[function] if function else None)]
        at = found.end()
    pieces.append(template[at:])
    return [piece for piece in pieces if piece]


def _text(variable: Variable, escape: Callable[[str], str] | None, event: Mapping[str, Any]) -> str:
    value = variable if isinstance(variable, str) else variable.find(event)
    if value is MISSING:
        return ""
    text = value if isinstance(value, str) else json_text.encode(value)
    return text if escape is None else escape(text)
