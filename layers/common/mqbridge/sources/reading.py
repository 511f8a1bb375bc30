"""Read rules from a place: what is there, or that it has not changed since the last look."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from mqbridge.patience import OutOfTime, within
from mqbridge.rules import InvalidRules, Rules, UnreadableRules

from .places import AppConfigProfile, Inline, LocalFile, Parameter, Place, S3Object

__all__ = ["CannotRead", "Reader", "open_reader"]

# AppConfig's own limit for a profile that it hosts is 2 MB. A bucket may hold anything.
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024

# What a look at a store may take, whatever the number of its addresses, boto3's import and a cold connection included.
ANSWER_S = 6.0

Fetch = Callable[[], bytes | None]
Load = Callable[[str], Rules]


class CannotRead(Exception):
    """The place could not be asked, or has nothing; the message is why, and holds no secret."""


class Reader(Protocol):
    """Reads one place, again and again."""

    def read(self) -> Rules | None:
        """Return the rules that are there, None if they are the ones that were read (or refused) last.

        Raises:
            CannotRead: the place does not give a document.
            RulesError: it gives one that is no rules document.
        """
        ...


def open_reader(place: Place, name: str, load: Load) -> Reader:
    """Return a reader that has not read yet; `name` is the place as faults are to call it, `load` takes a path or JSON text."""
    if isinstance(place, Inline):
        return _InlineReader(place.text, load)
    if isinstance(place, LocalFile):
        return _FileReader(place.path, load)
    return _RemoteReader(name, _fetch_of(place), load)


def _fetch_of(place: Parameter | AppConfigProfile | S3Object) -> Fetch:
    # Each imported where it is used: a function has one source, and most have a file.
    if isinstance(place, Parameter):
        from .parameters import fetch_of_parameter

        return fetch_of_parameter(place)
    if isinstance(place, AppConfigProfile):
        from .appconfig import AppConfig

        return AppConfig(place).fetch
    from .s3 import S3

    return S3(place).fetch


class _InlineReader:
    def __init__(self, text: str, load: Load) -> None:
        self._text = text
        self._load = load

    def read(self) -> Rules | None:
        return self._load(self._text)


class _FileReader:
    """A file is read again when its time, size or inode has changed; in any format that it may have."""

    def __init__(self, path: str, load: Load) -> None:
        self._path = path
        self._load = load
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> Rules | None:
        try:
            status = os.stat(self._path)
        except (OSError, ValueError) as error:
            self._seen = None
            raise CannotRead(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
        # Taken before it is read: what is written meanwhile is seen by the next look.
        signature = status.st_mtime_ns, status.st_size, status.st_ino
        if signature == self._seen:
            return None
        self._seen = signature
        try:
            return self._load(self._path)
        except UnreadableRules as error:
            if isinstance(error.__cause__, OSError):  # it may be let be read without a change of what is in it
                self._seen = None
                raise CannotRead(error.why) from None
            raise


class _RemoteReader:
    def __init__(self, name: str, fetch: Fetch, load: Load) -> None:
        self._name = name
        self._fetch = fetch
        self._load = load
        self._last: bytes | None = None
        self._late: bytes | None = None
        self._asking = threading.Lock()

    def read(self) -> Rules | None:
        content = self._answer()
        if content is None or content == self._last:
            return None
        self._last = content
        if len(content) > MAX_DOCUMENT_BYTES:
            raise UnreadableRules(self._name, f"expected at most {MAX_DOCUMENT_BYTES} bytes, got more")
        return _rules_in(content, self._name, self._load)

    def _answer(self) -> bytes | None:
        """Return what the store answers, or has answered late: stores tell of a change once."""
        try:
            content = within(ANSWER_S, self._ask, self._keep)
        except OutOfTime as error:
            raise CannotRead(str(error)) from None
        late, self._late = self._late, None
        return late if content is None else content

    def _ask(self) -> bytes | None:
        with self._asking:  # a question that was not waited for may still be under way
            return self._fetch()

    def _keep(self, content: bytes | None) -> None:
        self._late = content or self._late


def _rules_in(content: bytes, name: str, load: Load) -> Rules:
    """Load a document that is no file, and have its faults say where it came from."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableRules(name, "expected JSON in UTF-8, got other bytes") from None
    # Only files have endings; and functions have no YAML parser.
    if not text.lstrip().startswith("{"):
        raise UnreadableRules(name, "expected a JSON object, got something else")
    try:
        return replace(load(text), name=name)
    except InvalidRules as error:
        raise InvalidRules(name, error.faults) from None
    except UnreadableRules as error:
        raise UnreadableRules(name, error.why) from None
