"""Secrets by reference: a rules document says where a secret is, never what it is."""

import os
from pathlib import Path

__all__ = ["UnresolvedSecret", "resolve"]


class UnresolvedSecret(Exception):
    """A reference to a secret leads nowhere; the message names the reference, never a secret."""


def resolve(reference: str) -> str:
    """Return the secret that `reference` (env:NAME or file:PATH) names; a file's last line break is not part of it.

    Raises:
        UnresolvedSecret: there is no such secret.
    """
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        secret = os.environ.get(name, "")
    elif scheme == "file":
        try:
            secret = Path(name).read_text().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise UnresolvedSecret(f"{reference}: {getattr(error, 'strerror', None) or 'not readable'}") from error
    else:
        raise UnresolvedSecret(f"{reference}: expected env:NAME or file:PATH")
    if not secret:
        raise UnresolvedSecret(f"{reference}: there is no such secret, or it is empty")
    return secret
