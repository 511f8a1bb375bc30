"""What template.yaml says of its functions: as much of SAM as it takes to run them here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Declared", "Layer", "Template", "read_template"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer and the folder, with a Makefile, that it is built from."""

    name: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A function as the template declares it."""

    name: str
    folder: Path
    handler: str
    layers: tuple[str, ...]
    environment: Mapping[str, str]
    timeout_s: float
    memory_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The functions and layers of a template, by name."""

    functions: Mapping[str, Declared]
    layers: Mapping[str, Layer]

    def function(self, name: str) -> Declared:
        """Return a function by its name, in any case.

        Raises:
            LookupError: there is none; it says which there are.
        """
        for each in self.functions.values():
            if each.name.lower() == name.lower():
                return each
        raise LookupError(f"expected one of the functions {', '.join(self.functions).lower()}, got {name!r}")


class _Loader(yaml.SafeLoader):
    """YAML in which !Ref X is {"Ref": "X"}, and !Anything x is {"Fn::Anything": x}."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 - there is no other kind
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return a template with its intrinsic functions in their long form."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    return document


def read_template(path: Path) -> Template:
    """Return what the template says, with its parameters' defaults."""
    document = load_yaml(path)
    parameters = {name: str(each.get("Default", "")) for name, each in document["Parameters"].items()}
    shared = document["Globals"]["Function"]
    functions, layers = {}, {}
    for name, resource in document["Resources"].items():
        own = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            layers[name] = Layer(name=name, folder=path.parent / own["ContentUri"])
        if resource["Type"] == "AWS::Serverless::Function":
            merged = {**shared, **own}
            variables = {
                **shared.get("Environment", {}).get("Variables", {}),
                **own.get("Environment", {}).get("Variables", {}),
            }
            functions[name] = Declared(
                name=name,
                folder=path.parent / merged["CodeUri"],
                handler=merged["Handler"],
                layers=tuple(each["Ref"] for each in merged["Layers"]),
                environment={each: _text(value, parameters) for each, value in variables.items()},
                timeout_s=float(merged["Timeout"]),
                memory_mb=int(merged["MemorySize"]),
            )
    return Template(functions=functions, layers=layers)


def _text(value: Any, parameters: Mapping[str, str]) -> str:
    """Return a value as text; of what only AWS knows (an ARN) its name."""
    if not isinstance(value, dict):
        return str(value)
    (kind, argument), *_ = value.items()
    if kind == "Ref":
        return parameters.get(argument, argument)
    if kind == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda found: parameters.get(found[1], found[1]), str(argument))
    return str(argument)
