"""Secrets by reference: a rules document says where a secret is, never what it is."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["UnresolvedSecret", "resolve", "resolve_if_reference"]

# What AWS keeps is asked for again after so long, so that a rotated secret is found and no connection attempt costs a request.
CACHE_S = 300.0
# With two attempts, each to connect and to read, less than a handler has for sending: a store that hangs fails its own instance only.
AWS_TIMEOUT_S = 2.0


class UnresolvedSecret(Exception):
    """A reference to a secret leads nowhere; the message names the reference, never a secret."""


def resolve(reference: str, clock: Callable[[], float] = time.time) -> str:
    """Return the secret that `reference` names.

    env:NAME, file:PATH (without the last line break), secretsmanager:NAME or secretsmanager:NAME#KEY (a key of a JSON object), ssm:NAME.
    What AWS keeps is cached in this process for 300 s; `clock` is Unix time, since a frozen function's other clock may stand still.

    Raises:
        UnresolvedSecret: there is no such secret, or its store cannot be asked.
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

_cached: dict[tuple[str, str], tuple[float, str]] = {}  # with the time until which it is good
_lock = threading.Lock()  # boto3 makes its default session without one


def _from_aws(service: str, name: str, clock: Callable[[], float]) -> str:
    with _lock:
        good_until, secret = _cached.get((service, name), (0.0, ""))
        now = clock()
        if now >= good_until:
            secret = _ask_aws(service, name)
            _cached[service, name] = (now + CACHE_S, secret)
        return secret


def _ask_aws(service: str, name: str) -> str:
    try:
        import boto3  # here, because it costs a cold start 300 ms, and most deployments name no such secret
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise _Unreadable("needs boto3 (extra mqbridge[aws])") from None
    config = Config(connect_timeout=AWS_TIMEOUT_S, read_timeout=AWS_TIMEOUT_S, retries={"total_max_attempts": 2})
    try:
        if service == "ssm":
            answer = boto3.client("ssm", config=config).get_parameter(Name=name, WithDecryption=True)
            return answer["Parameter"].get("Value", "")
        stored = boto3.client("secretsmanager", config=config).get_secret_value(SecretId=name)
    except ClientError as error:
        raise _Unreadable(f"AWS answered {error.response.get('Error', {}).get('Code', 'an error')}") from None
    except BotoCoreError as error:
        raise _Unreadable(f"AWS cannot be asked: {type(error).__name__}") from None
    if "SecretString" not in stored:
        raise _Unreadable("expected text, got a binary secret")
    return stored["SecretString"]
