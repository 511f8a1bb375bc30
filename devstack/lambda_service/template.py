"""What template.yaml says of its functions: as much of SAM as it takes to run them here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .functions import ACCOUNT, REGION

__all__ = ["Declared", "DeclaredQueue", "Layer", "QueueSource", "Template", "read_template"]

# Of what only a deployment knows. The stack is named as samconfig.toml names it.
_PSEUDO_PARAMETERS = {"AWS::StackName": "mqbridge", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer and the folder, with a Makefile, that it is built from."""

    name: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSource:
    """An SQS event of a function: from which of the template's queues, and how batches are made of it."""

    queue: str
    batch_size: int = 10
    window_s: float = 0.0
    reports_item_failures: bool = False
    maximum_concurrency: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredQueue:
    """An SQS queue as the template declares it; `dead_letters` is the queue where SQS puts what was received too often."""

    name: str
    queue_name: str
    visibility_timeout_s: int = 30
    dead_letters: str | None = None
    max_receive_count: int = 0


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
    sources: tuple[QueueSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The functions, layers and queues of a template, by name."""

    functions: Mapping[str, Declared]
    layers: Mapping[str, Layer]
    queues: Mapping[str, DeclaredQueue]

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
    parameters |= _PSEUDO_PARAMETERS
    shared = document["Globals"]["Function"]
    functions, layers, queues = {}, {}, {}
    for name, resource in document["Resources"].items():
        own = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            layers[name] = Layer(name=name, folder=path.parent / own["ContentUri"])
        if resource["Type"] == "AWS::SQS::Queue":
            queues[name] = _queue(name, own, parameters)
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
                # Variables that depend on a condition are for other parameters than the defaults.
                environment={
                    each: _text(value, parameters)
                    for each, value in variables.items()
                    if not (isinstance(value, dict) and "Fn::If" in value)
                },
                timeout_s=float(merged["Timeout"]),
                memory_mb=int(merged["MemorySize"]),
                sources=tuple(
                    _source(each["Properties"], parameters)
                    for each in own.get("Events", {}).values()
                    if each["Type"] == "SQS"
                ),
            )
    return Template(functions=functions, layers=layers, queues=queues)


def _queue(name: str, own: Mapping[str, Any], parameters: Mapping[str, str]) -> DeclaredQueue:
    redrive = own.get("RedrivePolicy", {})
    return DeclaredQueue(
        name=name,
        queue_name=_text(own["QueueName"], parameters),
        visibility_timeout_s=int(own.get("VisibilityTimeout", 30)),
        dead_letters=_resource(redrive["deadLetterTargetArn"]) if redrive else None,
        max_receive_count=int(redrive.get("maxReceiveCount", 0)),
    )


def _source(event: Mapping[str, Any], parameters: Mapping[str, str]) -> QueueSource:
    scaling = event.get("ScalingConfig", {})
    return QueueSource(
        queue=_resource(event["Queue"]),
        batch_size=int(event.get("BatchSize", 10)),
        window_s=float(event.get("MaximumBatchingWindowInSeconds", 0)),
        reports_item_failures="ReportBatchItemFailures" in event.get("FunctionResponseTypes", ()),
        maximum_concurrency=int(_text(scaling["MaximumConcurrency"], parameters)) if scaling else 10,
    )


def _resource(reference: Mapping[str, str]) -> str:
    """Return the resource whose ARN a Fn::GetAtt asks for."""
    return reference["Fn::GetAtt"].partition(".")[0]


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
