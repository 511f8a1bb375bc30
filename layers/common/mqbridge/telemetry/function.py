"""What a function says beside what its flow does: who is speaking in the log, the first event of an environment, and metrics as EMF.

MQBRIDGE_METRICS is emf or off. By default it is emf where the platform says that it runs functions.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mqbridge.contexts import Context, function_name, request_id

from .counters import Counters
from .lines import logger

__all__ = ["FunctionTelemetry", "writes_metrics"]

SETTING = "MQBRIDGE_METRICS"
# AWS Lambda's and Function Compute's own.
_PLATFORMS = ("AWS_LAMBDA_FUNCTION_NAME", "FC_FUNCTION_NAME")


class FunctionTelemetry:
    """Counters of one execution environment, and who writes them.

    Raises:
        ValueError: MQBRIDGE_METRICS is neither emf nor off.
    """

    def __init__(self) -> None:
        writes = writes_metrics()
        self.counters = Counters(keeps_samples=writes)
        self._is_cold = True
        self._emf = None
        if writes:
            from .emf import Emf

            self._emf = Emf(self.counters)

    @contextmanager
    def invocation(self, function: str, context: Context) -> Iterator[None]:
        """Have lines of the log tell which invocation they are of, and write the metrics at its end."""
        is_cold, self._is_cold = self._is_cold, False
        # Not append_keys: a server answers several requests at once, each in a thread of its own.
        logger().thread_safe_append_keys(cold_start=is_cold, **_keys_of(context))
        if is_cold:
            self.counters.add("mqbridge_cold_starts_total", function=function)
        try:
            yield
        finally:
            if self._emf is not None:
                with suppress(OSError, ValueError):  # nobody listens any more: what was done stays done
                    self._emf.write()


def writes_metrics() -> bool:
    """Tell whether MQBRIDGE_METRICS asks for metrics. Servers ask when they start: a deployment fails rather than its requests.

    Raises:
        ValueError: it is neither emf nor off.
    """
    chosen = os.environ.get(SETTING) or ("emf" if any(os.environ.get(each) for each in _PLATFORMS) else "off")
    if chosen not in ("emf", "off"):
        raise ValueError(f"{SETTING}: expected emf or off, got {chosen!r}")
    if chosen == "off":
        return False
    from aws_lambda_powertools.metrics.functions import is_metrics_disabled

    return not is_metrics_disabled()  # by Powertools' own settings


def _keys_of(context: Context) -> dict[str, str | None]:
    """Return what Powertools' inject_lambda_context adds, as far as the platform's context has it; of None the log says nothing."""
    invocation = request_id(context) or None
    return {
        "function_name": function_name(context) or None,
        "function_request_id": invocation,
        "correlation_id": invocation,
    }
