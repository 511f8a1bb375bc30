"""Paths that may hit several values, by jsonpath-rfc9535. Imported only when a task has one."""

from collections.abc import Iterator
from typing import Any

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathQuery
from jsonpath_rfc9535.filter_expressions import Expression
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction
from jsonpath_rfc9535.selectors import FilterSelector

from mqbridge import regexes

from .paths import MISSING, InvalidPath, TooManySteps

__all__ = ["compile_query"]

# Values looked at for one result, again and again counted each time: $..*..* takes as many as the square of what a device publishes, a
# query within a filter too. These take some seconds; half a million elements of an array stay below.
MAX_STEPS = 1_000_000


class _Matching(FilterFunction):
    """match() and search() of RFC 9535, 2.4.6 and 2.4.7, by RE2: what a device publishes may stand as the expression."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012  # the library declares it so
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole

    def __call__(self, text: object, expression: object) -> bool:
        """Tell whether the text matches; what is no text or no expression matches nothing."""
        if not isinstance(text, str) or not isinstance(expression, str):
            return False
        try:
            regex = regexes.compile(expression)
            return (regex.fullmatch(text) if self._is_whole else regex.search(text)) is not None
        except (regexes.InvalidRegex, UnicodeError):
            return False


class _Environment(JSONPathEnvironment):
    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _Matching(is_whole=True)
        self.function_extensions["search"] = _Matching(is_whole=False)


_environment = _Environment()


class _Steps:
    """How many steps a query has taken."""

    def __init__(self) -> None:
        self.taken = 0


class _Counting:
    """A selector whose steps are counted."""

    def __init__(self, selector: Any, steps: _Steps) -> None:
        self._selector = selector
        self._steps = steps

    def resolve(self, node: Any) -> Iterator[Any]:
        """Select from a node, which is a step, and so is each value selected."""
        self._take()
        for found in self._selector.resolve(node):
            self._take()
            yield found

    def _take(self) -> None:
        self._steps.taken += 1
        if self._steps.taken > MAX_STEPS:
            raise TooManySteps


def _count(part: Any, steps: _Steps) -> None:
    """Have the steps of a query counted, and those of the queries in its filters."""
    if isinstance(part, JSONPathQuery):
        for segment in part.segments:
            for selector in segment.selectors:
                if isinstance(selector, FilterSelector):
                    _count(selector.expression, steps)
            counting: Any = tuple(_Counting(selector, steps) for selector in segment.selectors)
            segment.selectors = counting
    elif isinstance(part, Expression):
        inner = [getattr(part, name, None) for name in ("expression", "left", "right", "query")]
        for each in (*inner, *getattr(part, "args", ())):
            _count(each, steps)


class Query:
    """A path that may hit several values. For one thread at a time."""

    def __init__(self, text: str, query: JSONPathQuery) -> None:
        self.text = text
        self._query = query
        self._steps = _Steps()
        _count(query, self._steps)

    def find(self, root: Any) -> Any:
        """Return the value, the list of values where it hits several, or MISSING.

        Raises:
            TooManySteps: it would take too long to find out, or go too deep.
        """
        self._steps.taken = 0
        try:
            values = self._query.find(root).values()
        except TooManySteps:
            raise TooManySteps(f"{self.text}: expected a result within {MAX_STEPS} steps, got none") from None
        except (JSONPathError, RecursionError):
            raise TooManySteps(
                f"{self.text}: expected a value that the path can follow, got one nested too deeply"
            ) from None
        return MISSING if not values else values[0] if len(values) == 1 else values


def compile_query(text: str, standard: str) -> Query:
    """Return a query; `standard` is what `text` is in the standard's spelling.

    Raises:
        InvalidPath: it is no JSONPath.
    """
    try:
        return Query(text, _environment.compile(standard))
    except (JSONPathError, RecursionError) as error:
        said = str(error).partition(", line")[0] or "nested too deeply"
        raise InvalidPath("a JSONPath (RFC 9535)", f"{text!r}: {said}") from None
