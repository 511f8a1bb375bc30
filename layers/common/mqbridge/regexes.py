"""Regular expressions that a rule's author writes and that devices' text is matched with.

They are RE2's: the time of a search grows linearly with the text, whatever expression and text are, because it never backtracks
(https://github.com/google/re2/wiki/WhyRE2); to find all matches is a search behind each, at most the square.
What only a backtracking engine can do, look-around and back-references, is refused.
"""

from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["InvalidRegex", "Regex", "compile"]


class InvalidRegex(ValueError):
    """Text that is no regular expression, or asks for look-around or back-references."""


class Match(Protocol):
    """Where an expression matched, and what its groups found."""

    def start(self) -> int: ...
    def end(self) -> int: ...
    def group(self, number: int) -> str | None: ...


class Regex(Protocol):
    """A compiled expression; positions count characters.

    There is no `sub`: google-re2 1.1 garbles what is not ASCII in a replacement.
    """

    @property
    def groups(self) -> int: ...
    def search(self, text: str) -> Match | None: ...
    def fullmatch(self, text: str) -> Match | None: ...
    def finditer(self, text: str) -> Iterator[Match]: ...


def compile(text: str) -> Regex:
    """Return the expression, ready to match.

    Raises:
        InvalidRegex: says what is wrong with it.
    """
    import re2  # type: ignore[import-untyped]  # here, because few tasks have one

    options = re2.Options()
    options.log_errors = False
    try:
        compiled: Any = re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        raise InvalidRegex(_why(error)) from None
    return compiled  # type: ignore[no-any-return]  # the package is not typed; these are its methods


def _why(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)
    if "perl operator" in text:
        return f"{text}: look-around is not supported, so that matching takes linear time"
    return text
