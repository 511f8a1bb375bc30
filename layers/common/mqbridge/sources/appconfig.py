"""Rules in AppConfig: through the Lambda extension where there is one, else by AppConfig's own sessions.

The extension polls in the background and answers from its memory, so a look costs a millisecond and no request to AWS.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from .aws import cannot_ask, client_of, content_of, error_code
from .places import AppConfigProfile
from .reading import MAX_DOCUMENT_BYTES, CannotRead

__all__ = ["AppConfig"]

DEFAULT_EXTENSION_PORT = 2772
# The extension answers at once, but for the first time, when it asks AppConfig itself.
EXTENSION_TIMEOUT_S = 3.0


class AppConfig:
    """Fetches one profile.

    Raises:
        CannotRead: the extension's port is no number.
    """

    def __init__(
        self,
        place: AppConfigProfile,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._clock = clock
        self._extension_port = _extension_port(environment)
        self._has_extension = False
        self._session: _Session | None = None

    def fetch(self) -> bytes | None:
        """Return the profile's document, None if it has not changed.

        Raises:
            CannotRead: it cannot be had.
        """
        if self._extension_port is not None:
            try:
                content = _ask_extension(self._extension_port, self._place)
            except ConnectionRefusedError:
                if self._has_extension:
                    raise CannotRead("the AppConfig extension does not answer any more") from None
                self._extension_port = None  # there is none, and there will be none
            else:
                self._has_extension = True
                return content
        if self._session is None:
            self._session = _Session(self._place, self._clock)
        return self._session.fetch()


def _extension_port(environment: Mapping[str, str]) -> int | None:
    """Return where the extension listens if there is one; extensions are Lambda's."""
    if "AWS_LAMBDA_FUNCTION_NAME" not in environment:
        return None
    port = environment.get("AWS_APPCONFIG_EXTENSION_HTTP_PORT") or str(DEFAULT_EXTENSION_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise CannotRead(f"AWS_APPCONFIG_EXTENSION_HTTP_PORT: expected a port, got {port!r}")
    return int(port)


def _ask_extension(port: int, place: AppConfigProfile) -> bytes:
    # Not urllib's openers: those would ask a proxy.
    from http.client import HTTPConnection, HTTPException

    application, environment, profile = (
        quote(each, safe="") for each in (place.application, place.environment, place.profile)
    )
    connection = HTTPConnection("localhost", port, timeout=EXTENSION_TIMEOUT_S)
    try:
        connection.request("GET", f"/applications/{application}/environments/{environment}/configurations/{profile}")
        answer = connection.getresponse()
        content = answer.read(MAX_DOCUMENT_BYTES + 1)
    except ConnectionRefusedError:
        raise
    except (OSError, HTTPException) as error:
        raise CannotRead(f"the AppConfig extension cannot be asked: {type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise CannotRead(f"the AppConfig extension answered {answer.status}")
    return content


class _Session:
    """A session of AppConfig's data API. Each answer carries the token of the next question, and when that may be asked."""

    def __init__(self, place: AppConfigProfile, clock: Callable[[], float]) -> None:
        self._place = place
        self._clock = clock
        self._client = client_of("appconfigdata")
        self._token = ""
        self._asked_at = 0.0
        self._pause_s = 0.0

    def fetch(self) -> bytes | None:
        if self._token and 0 <= self._clock() - self._asked_at < self._pause_s:
            return None
        try:
            return self._latest()
        except Exception as error:
            # The token may be used up, though its answer is lost: the next look begins a new session.
            self._token = ""
            raise cannot_ask(error) from None

    def _latest(self) -> bytes | None:
        is_new = not self._token
        try:
            content = self._ask()
        except Exception as error:
            if is_new or error_code(error) != "BadRequestException":
                raise
            # A token lasts 24 h, and a function may have been frozen for longer.
            is_new, self._token = True, ""
            content = self._ask()
        if content:
            return content
        if is_new:
            raise CannotRead("AppConfig has no configuration here")
        return None  # an empty answer means: as before

    def _ask(self) -> bytes:
        if not self._token:
            place = self._place
            begun = self._client.start_configuration_session(
                ApplicationIdentifier=place.application,
                EnvironmentIdentifier=place.environment,
                ConfigurationProfileIdentifier=place.profile,
            )
            self._token = begun["InitialConfigurationToken"]
        answer: Any = self._client.get_latest_configuration(ConfigurationToken=self._token)
        content = content_of(answer, "Configuration")
        self._token = answer["NextPollConfigurationToken"]
        self._asked_at, self._pause_s = self._clock(), float(answer.get("NextPollIntervalInSeconds", 0))
        return content
