"""Secrets by reference: a rules document says where a secret is, never what it is."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mqbridge.patience import OutOfTime, within

__all__ = ["UnresolvedSecret", "expire", "resolve", "resolve_if_reference"]

# What AWS keeps is asked for again after so long, so that a rotated secret is found and no connection attempt costs a request.
CACHE_S = 300.0
# And not sooner than this, whoever says that it has expired, and after AWS could not be asked: a broker that refuses everything must
# not make every batch a request.
ASK_AGAIN_S = 10.0
# For each of two attempts, to connect and to read. And for all of it, whatever the number of addresses, boto3's import included: less than
# a handler has for sending, so that a store that hangs fails its own instance only.
AWS_TIMEOUT_S = 2.0
ANSWER_S = 6.0


class UnresolvedSecret(Exception):
    """A reference to a secret leads nowhere; the message names the reference, never a secret."""


def resolve(reference: str, clock: Callable[[], float] = time.time) -> str:
    """Return the secret that `reference` names.

    env:NAME, file:PATH (without the last line break), secretsmanager:NAME or secretsmanager:NAME#KEY (a key of a JSON object), ssm:NAME.
    What AWS keeps is cached in this process for 300 s, and for longer while AWS does not give it; `clock` is Unix time, since a frozen
    function's other clock may stand still.

    Raises:
        UnresolvedSecret: there is no such secret, or its store cannot be asked and never could.
    """
    # Causes are left out ("from None"): what a decoder or AWS says may quote the secret, or a session token.
    scheme, _, name = reference.partition(":")
    reader = _READERS.get(scheme)
    if reader is None:
        raise UnresolvedSecret(f"{reference}: expected env:NAME, file:PATH, secretsmanager:NAME#KEY or ssm:NAME")
    try:
        secret = reader(name, clock)
    except _Unreadable as error:
        raise UnresolvedSecret(f"{reference}: {error}") from None
    if not secret:
        raise UnresolvedSecret(f"{reference}: there is no such secret, or it is empty")
    return secret


def resolve_if_reference(text: str) -> str:
    """Return what `text` names if it is a reference, else `text` itself: for settings that need not be secret."""
    return resolve(text) if text.partition(":")[0] in _READERS else text


def expire(references: Iterable[str | None], clock: Callable[[], float] = time.time) -> bool:
    """Have AWS asked again for what `references` name when they are resolved next; tell whether it will be, for any of them.

    For when a broker refused what they say. What was asked for less than 10 s ago stays as it is; nothing else is cached.
    """
    will_be = False
    now = clock()
    for reference in references:
        scheme, _, name = (reference or "").partition(":")
        known = (scheme, name.partition("#")[0] if scheme == "secretsmanager" else name)
        with _lock:
            found = _cached.get(known)
            if found is not None and now - found.asked_at >= ASK_AGAIN_S:
                found.good_until = min(found.good_until, now)
                will_be = True
    return will_be


class _Unreadable(Exception):
    """Why a secret cannot be had, without the reference."""


def _from_environment(name: str, clock: Callable[[], float]) -> str:
    del clock
    return os.environ.get(name, "")


def _from_file(name: str, clock: Callable[[], float]) -> str:
    del clock
    try:
        return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise _Unreadable(getattr(error, "strerror", None) or "not readable") from None


def _from_secrets_manager(name: str, clock: Callable[[], float]) -> str:
    secret_id, _, key = name.partition("#")
    secret = _from_aws("secretsmanager", secret_id, clock)
    if not key:
        return secret
    try:
        value = json.loads(secret)[key]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise _Unreadable(f"expected a JSON object with the key {key!r}, got something else, not shown here") from None
    if not isinstance(value, str):
        raise _Unreadable(f"expected text under the key {key!r}, got {type(value).__name__}")
    return value


def _from_parameter_store(name: str, clock: Callable[[], float]) -> str:
    return _from_aws("ssm", name, clock)


_READERS: dict[str, Callable[[str, Callable[[], float]], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "secretsmanager": _from_secrets_manager,
    "ssm": _from_parameter_store,
}


@dataclass(slots=True)
class _Cached:
    secret: str = field(repr=False)
    asked_at: float
    good_until: float
    is_overdue: bool = False


_cached: dict[tuple[str, str], _Cached] = {}
_lock = threading.Lock()  # boto3 makes its default session without one


def _from_aws(service: str, name: str, clock: Callable[[], float]) -> str:
    with _lock:
        known, now = _cached.get((service, name)), clock()
        if known is not None and now < known.good_until:
            return known.secret
        try:
            secret = _asked_in_time(service, name)
        except _Unreadable as error:
            if known is None:
                raise
            # What was good until now is the best guess, and the broker judges it.
            if not known.is_overdue:
                _say_overdue(f"{service}:{name}", str(error))
            known.asked_at, known.good_until, known.is_overdue = now, now + ASK_AGAIN_S, True
            return known.secret
        _cached[service, name] = _Cached(secret, now, now + CACHE_S)
        return secret


def _say_overdue(reference: str, why: str) -> None:
    from mqbridge.telemetry import logger  # here, because it imports the sinks, which import this

    logger().warning(
        "secret cannot be looked at again; it is used as it was", extra={"secret": reference, "detail": why}
    )


def _asked_in_time(service: str, name: str) -> str:
    try:
        return within(ANSWER_S, partial(_ask_aws, service, name))
    except OutOfTime as error:
        raise _Unreadable(str(error)) from None


def _ask_aws(service: str, name: str) -> str:
    try:
        # Here, because boto3 costs a cold start 300 ms, and most deployments name no such secret.
        from aws_lambda_powertools.utilities.parameters import GetParameterError, SecretsProvider, SSMProvider
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise _Unreadable("needs boto3 (extra mqbridge[aws])") from None
    config = Config(connect_timeout=AWS_TIMEOUT_S, read_timeout=AWS_TIMEOUT_S, retries={"total_max_attempts": 2})
    found: Any
    try:
        if service == "ssm":
            found = SSMProvider(boto_config=config).get(name, decrypt=True, force_fetch=True)
        else:
            found = SecretsProvider(boto_config=config).get(name, force_fetch=True)
    except (GetParameterError, BotoCoreError) as error:
        why = error.__context__ or error  # Powertools has the text alone of what boto3 raised
        if isinstance(why, ClientError):
            raise _Unreadable(f"AWS answered {why.response.get('Error', {}).get('Code', 'an error')}") from None
        raise _Unreadable(f"AWS cannot be asked: {type(why).__name__}") from None
    if not isinstance(found, str):
        raise _Unreadable("expected text, got a binary secret")
    return found
