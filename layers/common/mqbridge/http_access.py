"""Who may send requests: nobody, unless MQBRIDGE_HTTP_AUTH says who.

It is a reference to a secret, the bearer token that senders have to present; or `platform`, where no request comes here that the
platform has not authenticated. A gateway that has authenticated a sender says so in its events, and there nothing need be set.
"""

import hmac
import os

from mqbridge.secrets import UnresolvedSecret, expire, resolve
from mqbridge.triggers import HttpRequest, UnreadableEvent, refused, unavailable

__all__ = ["NoAccess", "admit", "check_access"]

SETTING = "MQBRIDGE_HTTP_AUTH"
PLATFORM = "platform"
_EXPECTED = (
    f"{SETTING}: expected the reference to a bearer token (env:NAME, file:PATH, secretsmanager:NAME#KEY or ssm:NAME), "
    f"or {PLATFORM} where the platform authenticates all senders"
)


class NoAccess(Exception):
    """Nobody may send, for a reason that is the deployment's; the message says what to set."""


def check_access() -> None:
    """Return if MQBRIDGE_HTTP_AUTH says who may send. For servers, when they start: a deployment fails rather than its requests.

    Raises:
        NoAccess: it does not.
    """
    setting = os.environ.get(SETTING, "")
    if setting != PLATFORM:
        _tokens(setting)


def admit(request: HttpRequest) -> None:
    """Return if the sender of `request` may send.

    Raises:
        UnreadableEvent: it may not: 401; or nobody can tell: 503, so that senders keep what they have.
    """
    setting = os.environ.get(SETTING, "")
    if setting == PLATFORM or (not setting and request.is_vouched_for):
        return
    try:
        if _presents(request, _tokens(setting)):
            return
        # The sender may have had the new token of a rotation before us.
        if expire([setting]) and _presents(request, _tokens(setting)):
            return
    except NoAccess as error:
        raise UnreadableEvent(str(error), answer=unavailable(request)) from None
    raise refused(request, "expected a valid bearer token", 401, {"www-authenticate": "Bearer"})


def _presents(request: HttpRequest, tokens: list[bytes]) -> bool:
    scheme, _, presented = request.header("authorization").partition(" ")
    given = presented.strip().encode("utf-8", "surrogateescape")
    # All are compared, in constant time each, so that how long it takes tells nothing.
    matches = [hmac.compare_digest(given, token) for token in tokens]
    return scheme.lower() == "bearer" and any(matches)


def _tokens(setting: str) -> list[bytes]:
    """Return the tokens that are valid: during a rotation the secret holds two, with white space between them."""
    if not setting:
        raise NoAccess(f"{_EXPECTED}, got nothing")
    try:
        tokens = resolve(setting).encode().split()
    except UnresolvedSecret as error:
        # A token in clear text must not be shown: of what is no reference, nothing is.
        detail = str(error) if _is_reference(setting) else "got something else, not shown here"
        raise NoAccess(f"{_EXPECTED}: {detail}") from None
    if not tokens:
        raise NoAccess(f"{_EXPECTED}: {setting} is empty")
    return tokens


def _is_reference(setting: str) -> bool:
    return setting.startswith(("env:", "file:", "secretsmanager:", "ssm:"))
