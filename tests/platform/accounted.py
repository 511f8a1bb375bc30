"""A service whose functions' accounts have to add up, by the metrics that all their environments wrote into their logs."""

import json
from collections.abc import Iterable
from types import TracebackType

from devstack.lambda_service import Answer, Function, LambdaService
from tests.identity import Values, faults_of, written_values

__all__ = ["AccountedService", "is_whole"]

# An environment that was ended amid an invocation may have written some of its metrics, and not the rest.
_ENDED = ("Sandbox.Timedout", "Runtime.ExitError")


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
            values = self.written()
            assert values, "no function wrote metrics"
            assert not faults_of(values), faults_of(values)

    def written(self) -> Values:
        """Return the sums of what all environments wrote."""
        return written_values("".join(self._whole))


def is_whole(answer: Answer) -> bool:
    """Tell whether all metrics of an invocation are in its log: a function writes them before it answers or raises."""
    return not answer.is_error or json.loads(answer.payload)["errorType"] not in _ENDED
