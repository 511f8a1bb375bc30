"""What s.yaml says of its functions: as much of Serverless Devs as it takes to run them here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Declared", "StreamOptions", "read_services"]

_VARIABLE = re.compile(r"\$\{(?:vars\.(\w+)|env\('(\w+)'\))\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a trigger's event stream delivers."""

    count: int
    retry: str
    tolerates_errors: bool
    dead_letter_queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A function. `handler` is "" where a custom runtime has a `command` instead."""

    name: str
    runtime: str
    handler: str
    command: tuple[str, ...]
    port: int
    timeout_s: int
    memory_mb: int
    concurrency: int
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets
    async_retries: int
    async_destination: str
    streams: Mapping[str, StreamOptions]


def read_services(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Declared]:
    """Return the functions of a file of Serverless Devs, by the names of its resources.

    `environment` is for ${env('NAME')}, which is "" where it has none.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    variables = {name: str(value) for name, value in document["vars"].items()}
    given = dict(environment or {})

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: resolved(each) for key, each in value.items()}
        if isinstance(value, list):
            return [resolved(each) for each in value]
        if not isinstance(value, str):
            return value
        return _VARIABLE.sub(lambda found: variables[found[1]] if found[1] else given.get(found[2], ""), value)

    return {name: _declared(resolved(each["props"])) for name, each in document["resources"].items()}


def _declared(props: Mapping[str, Any]) -> Declared:
    custom = props.get("customRuntimeConfig", {})
    asynchronous = props.get("asyncInvokeConfig", {})
    return Declared(
        name=props["functionName"],
        runtime=props["runtime"],
        handler=props.get("handler", ""),
        command=(*custom.get("command", ()), *custom.get("args", ())),
        port=custom.get("port", 9000),
        timeout_s=props["timeout"],
        memory_mb=props["memorySize"],
        concurrency=props["instanceConcurrency"],
        environment=props.get("environmentVariables", {}),
        async_retries=asynchronous.get("maxAsyncRetryAttempts", 3),
        async_destination=asynchronous.get("destinationConfig", {}).get("onFailure", {}).get("destination", ""),
        streams={each["triggerName"]: _stream(each["triggerConfig"]["runOptions"]) for each in props["triggers"]},
    )


def _stream(options: Mapping[str, Any]) -> StreamOptions:
    return StreamOptions(
        count=options["batchWindow"]["CountBasedWindow"],
        retry=options["retryStrategy"]["PushRetryStrategy"],
        tolerates_errors=options.get("errorsTolerance", "NONE") == "ALL",
        dead_letter_queue=options.get("deadLetterQueue", {}).get("Arn", ""),
    )
