"""The service around its instances: invocations, synchronous and asynchronous, and event streams."""

import json
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .declared import Declared, StreamOptions
from .instances import Answer, Instance, start

__all__ = ["EventStream", "FcService", "Lost"]

# Of EventBridge: how long before each try that follows the first.
RETRY_DELAYS_S: Mapping[str, Sequence[float]] = {
    "BACKOFF_RETRY": (15.0,) * 3,  # random, 10 to 20
    "EXPONENTIAL_DECAY_RETRY": tuple(min(512.0, 2.0**at) for at in range(176)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An event that was given up, and where it went; "" is nowhere."""

    event: Any
    destination: str
    error: str


class FcService:
    """Functions by their names in s.yaml; instances are started as they are needed.

    Args:
        functions: as declared.
        code: the folder that is /code there.
        environment: added to each function's own.
        sleep: waits before another try; tests do not.
    """

    def __init__(
        self,
        functions: Mapping[str, Declared],
        code: Path,
        *,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.functions = dict(functions)
        self.sleep = sleep
        self._code = code.absolute()
        self._environment = dict(environment or {})
        self._instances: dict[str, Instance] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="fc-service-")

    def __enter__(self) -> "FcService":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for instance in self._instances.values():
            instance.close()
        self._folder.cleanup()

    def invoke(self, name: str, event: bytes, request_id: str = "") -> Answer:
        """Invoke a function as InvokeFunction does, synchronously.

        Raises:
            LookupError: there is no such function.
            StartError: its custom runtime does not listen.
        """
        return self._instance(name).invoke(event, request_id or f"1-{uuid.uuid4()}")

    def invoke_async(self, name: str, event: bytes) -> Lost | None:
        """Invoke a function as InvokeFunction does, asynchronously, all its tries; return what came of it, None if it succeeded.

        Every try has the same request id.
        """
        function = self.functions[name]
        request_id = f"1-{uuid.uuid4()}"
        answer = self.invoke(name, event, request_id)
        for attempt in range(function.async_retries):
            if not answer.is_error:
                break
            self.sleep(2.0**attempt)
            answer = self.invoke(name, event, request_id)
        if not answer.is_error:
            return None
        return Lost(event=event, destination=function.async_destination, error=answer.body.decode("utf-8", "replace"))

    def stream(self, name: str, trigger: str) -> "EventStream":
        """Return the event stream of a function's trigger.

        Raises:
            LookupError: there is no such trigger.
        """
        return EventStream(self, name, self.functions[name].streams[trigger])

    def log(self, name: str) -> str:
        """Return what a function has logged."""
        return self._instance(name).log

    def _instance(self, name: str) -> Instance:
        if name not in self.functions:
            raise LookupError(f"expected one of the functions {', '.join(self.functions)}, got {name!r}")
        with self._lock:
            if name in self._instances and not self._instances[name].is_usable:
                self._instances.pop(name).close()
            if name not in self._instances:
                log_path = Path(self._folder.name) / f"{name}.log"
                self._instances[name] = start(self.functions[name], self._code, log_path, self._environment)
            return self._instances[name]


class EventStream:
    """An event stream that feeds a function: arrays, each tried again as a whole by the trigger's strategy."""

    def __init__(self, service: FcService, function: str, options: StreamOptions) -> None:
        self._service = service
        self._function = function
        self._options = options
        self.is_blocked = False

    def deliver(self, events: Sequence[Any]) -> list[Lost]:
        """Deliver events in batches, each until it succeeds or is given up; return those that were given up.

        With errorsTolerance NONE the stream is blocked by the first batch that is given up, and keeps it.
        """
        lost: list[Lost] = []
        for at in range(0, len(events), self._options.count):
            batch = events[at : at + self._options.count]
            error = self._push(json.dumps(batch).encode())
            if error and not self._options.tolerates_errors:
                self.is_blocked = True
                break
            if error:
                queue = self._options.dead_letter_queue
                lost += [Lost(event=each, destination=queue, error=error) for each in batch]
        return lost

    def _push(self, body: bytes) -> str:
        answer = self._service.invoke(self._function, body)
        for delay_s in RETRY_DELAYS_S[self._options.retry]:
            if not answer.is_error:
                break
            self._service.sleep(delay_s)
            answer = self._service.invoke(self._function, body)
        return answer.body.decode("utf-8", "replace") if answer.is_error else ""
