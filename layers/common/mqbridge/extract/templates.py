"""Templates: text with variables in it, each a path or fixed text. Pure.

${name} is the value's text, ${jsonEscape(name)} that text fit for the inside of a JSON string, ${htmlEscape(name)} fit for HTML. A path
without a result gives nothing; a name that is not declared stays as it is. In a JSON template, the pair
"EB_SYS_EMBED_OBJECT": "${name}" is replaced by the members of the object that the variable names.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mqbridge import json_text

from .forms import InvalidForm, Unextractable
from .paths import MISSING, InvalidPath, Path, compile_path

__all__ = ["compile_template"]

EMBED = "EB_SYS_EMBED_OBJECT"
_VARIABLE = re.compile(r"\$\{(?:(\w+)\(([^(){}]+)\)|([^(){}]+))\}")
_EMBED = re.compile(rf'"{EMBED}"\s*:\s*("?)\$\{{([^(){{}}]+)\}}\1')
_ESCAPES: dict[str, Callable[[str], str]] = {
    "jsonEscape": lambda text: json_text.encode(text)[1:-1],
    "htmlEscape": html.escape,
}


Variable = Path | str


@dataclass(frozen=True, slots=True)
class _Embedded:
    """The place of an object's members."""

    variable: Variable


Piece = str | tuple[Variable, Callable[[str], str] | None]


class Template:
    """A compiled template without embedded objects."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces

    def extract(self, event: Mapping[str, Any]) -> str:
        """Return the text with the event's values in it."""
        return "".join([_text(piece, event) for piece in self._pieces])


class EmbeddingTemplate:
    """A JSON template in which objects of the event take the place of marked pairs."""

    def __init__(self, pieces: list[Piece | _Embedded]) -> None:
        self._pieces = pieces

    def extract(self, event: Mapping[str, Any]) -> str:
        """Return the JSON text with the event's values in it and the marked objects embedded; what the template itself says wins.

        Raises:
            Unextractable: the template is not JSON once the values stand in it, or what is to be embedded is no object.
        """
        texts = [None if isinstance(piece, _Embedded) else _text(piece, event) for piece in self._pieces]
        # No text holds its own digest, so no value is taken for a mark.
        values = "".join([text for text in texts if text is not None])
        word = f"{EMBED}-{sha256(values.encode('utf-8', 'surrogatepass')).hexdigest()}-"
        objects = {
            f"{word}{at}": _object(piece.variable, event)
            for at, piece in enumerate(self._pieces)
            if isinstance(piece, _Embedded)
        }

        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            embedded: dict[str, Any] = {}
            own: dict[str, Any] = {}
            for key, value in pairs:
                if isinstance(value, str) and key == EMBED and value in objects:
                    embedded |= objects[value]
                else:
                    own[key] = value
            return embedded | own

        text = "".join([f'"{EMBED}":"{word}{at}"' if text is None else text for at, text in enumerate(texts)])
        try:
            return json_text.encode(json.loads(text, object_pairs_hook=members, parse_constant=_refused))
        except (ValueError, RecursionError):
            raise Unextractable(
                "Template: expected JSON once the values stand in it; ${jsonEscape(name)} makes text fit for a JSON string"
            ) from None


def _refused(constant: str) -> None:
    """Refuse NaN and Infinity, which only Python reads as JSON."""
    raise ValueError(constant)


def compile_template(value: str, template: str) -> Template | EmbeddingTemplate:
    """Return a template, ready to extract.

    Args:
        value: the variables, JSON text of one object: name to path ("$...") or fixed text.
        template: the text.

    Raises:
        InvalidForm: names the setting that is wrong.
    """
    variables = _variables(value)
    pieces: list[Piece | _Embedded] = []
    at = 0
    for found in _EMBED.finditer(template):
        name = found[2].strip()
        if name not in variables:
            raise InvalidForm("Template", f"a variable that Value declares in {EMBED}", f"${{{name}}}")
        pieces += [*_pieces(template[at : found.start()], variables), _Embedded(variables[name])]
        at = found.end()
    if not pieces:
        return Template(_pieces(template, variables))
    return EmbeddingTemplate([*pieces, *_pieces(template[at:], variables)])


def _variables(value: str) -> dict[str, Variable]:
    try:
        declared = json_text.decode(value)
    except json_text.InvalidJson as error:
        raise InvalidForm(
            "Value", 'the variables as JSON, such as {"t": "$.data.body.t"}', f"text that is none ({error})"
        ) from None
    repeated = json_text.repeated_key(value)
    if repeated is not None:
        raise InvalidForm("Value", "every key once", f"{repeated!r} twice")
    if not isinstance(declared, dict):
        raise InvalidForm("Value", "a JSON object of variables", f"a {type(declared).__name__}")
    return {name: _variable(name, source) for name, source in declared.items()}


def _variable(name: str, source: Any) -> Variable:
    if not isinstance(source, str):
        raise InvalidForm("Value", f"text for the variable {name}: a path or fixed text", f"a {type(source).__name__}")
    if not source.startswith("$"):
        return source
    try:
        return compile_path(source)
    except InvalidPath as error:
        raise InvalidForm("Value", f"for the variable {name} {error.expected}", error.got) from None


def _pieces(template: str, variables: Mapping[str, Variable]) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for found in _VARIABLE.finditer(template):
        function, argument, plain = found.groups()
        name = (argument or plain).strip()
        if function is not None and function not in _ESCAPES:
            raise InvalidForm("Template", "${name}, ${jsonEscape(name)} or ${htmlEscape(name)}", found[0])
        if name not in variables:
            continue  # stays as it is
        pieces += [template[at : found.start()], (variables[name], _ESCAPES[function] if function else None)]
        at = found.end()
    pieces.append(template[at:])
    return [piece for piece in pieces if piece]


def _text(piece: Piece, event: Mapping[str, Any]) -> str:
    if isinstance(piece, str):
        return piece
    variable, escape = piece
    value = _value(variable, event)
    if value is MISSING:
        return ""
    text = value if isinstance(value, str) else json_text.encode(value)
    return text if escape is None else escape(text)


def _object(variable: Variable, event: Mapping[str, Any]) -> Mapping[str, Any]:
    value = _value(variable, event)
    if value is MISSING or value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Unextractable(f"{EMBED}: expected an object to embed, got a {type(value).__name__}")
    return value


def _value(variable: Variable, event: Mapping[str, Any]) -> Any:
    return variable if isinstance(variable, str) else variable.find(event)
