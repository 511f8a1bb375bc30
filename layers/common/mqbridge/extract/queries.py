"""Paths that may hit several values, by jsonpath-rfc9535. Imported only when a task has one."""

from typing import Any

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction

from mqbridge import regexes

from .paths import MISSING, InvalidPath

__all__ = ["compile_query"]


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


class Query:
    """A path that may hit several values."""

    def __init__(self, text: str, query: Any) -> None:
        self.text = text
        self._query = query

    def find(self, root: Any) -> Any:
        """Return the value, the list of values where it hits several, or MISSING."""
        try:
            values = self._query.find(root).values()
        except (JSONPathError, RecursionError):  # a value that is nested too deeply for the path to be followed
            return MISSING
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
