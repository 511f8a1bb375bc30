"""Services whose functions' accounts have to add up, by the metrics that all their environments wrote into their logs."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType

from devstack import fc_service
from devstack.fc_service import Declared, FcService
from devstack.lambda_service import Answer, Function, LambdaService
from tests.identity import Values, faults_of, written_values

__all__ = ["AccountedFcService", "AccountedService", "is_whole"]

# An environment that was ended amid an invocation may have written some of its metrics, and not the rest.
_ENDED = ("Sandbox.Timedout", "Runtime.ExitError")
_ENDED_FC = ("FunctionTimeout", "ProcessExited")


class AccountedService(LambdaService):
    """Asserts, when it ends, that whatever was received was planned or unmatched, and all that was planned settled."""

    def __init__(self, functions: Iterable[Function], *, port: int = 0) -> None:
        super().__init__(functions, port=port)
        self._whole: list[str] = []

    def invoke(self, name: str, payload: bytes, *, request_id: str | None = None) -> Answer:
        """See `LambdaService.invoke`; what comes by HTTP and from queues comes through here."""
        answer = super().invoke(name, payload, request_id=request_id)
        if is_whole(answer):
            self._whole.append(answer.log)
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None:
            _check(self.written())

    def written(self) -> Values:
        """Return the sums of what all environments wrote."""
        return written_values("".join(self._whole))


class AccountedFcService(FcService):
    """The same of Function Compute, where a log is of a function: that of one whose instance was ended amid an invocation is left out."""

    def __init__(
        self,
        functions: Mapping[str, Declared],
        code: Path,
        *,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(functions, code, environment=environment, sleep=sleep)
        self._invoked: set[str] = set()
        self._ended: set[str] = set()

    def invoke(self, name: str, event: bytes, request_id: str = "") -> fc_service.Answer:
        """See `FcService.invoke`; the tries of asynchronous invocations and of streams come through here."""
        answer = super().invoke(name, event, request_id)
        self._invoked.add(name)
        if answer.is_error and json.loads(answer.body).get("errorType") in _ENDED_FC:
            self._ended.add(name)
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Before the logs are gone. What has answered has written.
        logs = [self.log(name) for name in sorted(self._invoked - self._ended)]
        super().__exit__(kind, error, trace)
        if kind is None and (logs or not self._ended):
            _check(written_values("".join(logs)))


def _check(values: Values) -> None:
    assert values, "no function wrote metrics"
    assert not faults_of(values), faults_of(values)


def is_whole(answer: Answer) -> bool:
    """Tell whether all metrics of an invocation are in its log: a function writes them before it answers or raises."""
    return not answer.is_error or json.loads(answer.payload)["errorType"] not in _ENDED
