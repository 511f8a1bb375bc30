"""The context that a platform passes to a handler beside the event, and what is asked of it: an id, a name, and how much time is left.

Lambda's is Powertools' LambdaContext, Function Compute's has other names for the same, a server's is made for each request. Nothing is
asked that a context may lack: whoever calls a handler by hand passes None.
"""

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["Context", "FcContext", "TimedContext", "function_name", "request_id", "time_left_s"]


class FcFunction(Protocol):
    """The part of Function Compute's context that says what is called."""

    @property
    def timeout(self) -> int:
        """How long an invocation may take, in seconds."""
        ...


class FcContext(Protocol):
    """Function Compute's context, as far as it is asked; `function.name` too, where it is there."""

    @property
    def request_id(self) -> str: ...

    @property
    def function(self) -> FcFunction: ...


class TimedContext(Protocol):
    """What a server makes for a request: it says how much time is left, and `request_id` where it has one."""

    def get_remaining_time_in_millis(self) -> float: ...


Context: TypeAlias = "LambdaContext | FcContext | TimedContext | None"


def time_left_s(context: Context) -> float | None:
    """Return the seconds until the platform ends the invocation, None if it does not say."""
    remaining_ms = getattr(context, "get_remaining_time_in_millis", None)
    if remaining_ms is not None:
        return float(remaining_ms()) / 1000
    # Function Compute says how long a function may take, and calls it at the beginning of that.
    timeout_s = getattr(getattr(context, "function", None), "timeout", None)
    return float(timeout_s) if isinstance(timeout_s, int | float) and timeout_s > 0 else None


def request_id(context: Context) -> str:
    """Return the invocation's id, which Lambda and Function Compute keep when they try one again by themselves; "" if unknown."""
    return _text(getattr(context, "aws_request_id", None) or getattr(context, "request_id", None))


def function_name(context: Context) -> str:
    """Return what the platform calls the function, "" if it does not say."""
    return _text(getattr(context, "function_name", None) or getattr(getattr(context, "function", None), "name", None))


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""
