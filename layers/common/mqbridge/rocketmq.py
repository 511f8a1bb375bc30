"""A client for a configured RocketMQ instance: its secrets resolved, its TLS verified."""

import time
from collections.abc import Callable, Mapping

from mqbridge.rules import RocketMQInstance
from mqbridge.secrets import UnresolvedSecret, expire, resolve
from mqbridge.tls import tls_context
from rocketmq_remoting import Client, Credentials

__all__ = ["RenewedCredentials", "credentials_of", "expire_keys", "open_client"]

# Keys in a file or in a secret that is cached cost nothing to look at; what AWS keeps is asked for by `secrets`, every 300 s.
LOOK_AGAIN_S = 30.0


class RenewedCredentials(Credentials):
    """Credentials that follow the secrets they come from: looked at again every 30 s, and whenever a broker refuses them.

    A signature is made for each request, so new keys hold from the next one on, and no connection need be made anew.
    While a secret cannot be had, the keys stay as they are.

    Raises:
        UnresolvedSecret: a secret cannot be had when this is made.
    """

    __slots__ = ("_keys",)
    _keys: "_Keys"

    def __init__(self, look: Callable[[], Credentials], clock: Callable[[], float] = time.time) -> None:
        now = look()
        super().__init__(access_key=now.access_key, secret_key=now.secret_key, security_token=now.security_token)
        # The dataclass is frozen; what follows the secrets is in an object of its own.
        object.__setattr__(self, "_keys", _Keys(now, look, clock))

    @property
    def current(self) -> Credentials:
        """The keys that requests are signed with."""
        return self._keys.current

    def look(self) -> None:
        """Take what the secrets say now."""
        self._keys.look()

    def sign(self, fields: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return `fields` signed; see `Credentials.sign`."""
        self._keys.look_if_due()
        return self._keys.current.sign(fields, body)

    def conceal(self, text: str) -> str:
        """Return `text` without the keys; see `Credentials.conceal`. The answer may be to a request signed with those from before."""
        return self._keys.previous.conceal(self._keys.current.conceal(text))


class _Keys:
    def __init__(self, now: Credentials, look: Callable[[], Credentials], clock: Callable[[], float]) -> None:
        self.current = self.previous = now
        self._look = look
        self._clock = clock
        self._looked_at = clock()

    def look_if_due(self) -> None:
        if not 0 <= self._clock() - self._looked_at < LOOK_AGAIN_S:
            self.look()

    def look(self) -> None:
        self._looked_at = self._clock()
        try:
            now = self._look()
        except UnresolvedSecret:
            return  # those from before may still do; if not, the broker says so
        if now != self.current:
            self.previous, self.current = self.current, now


def open_client(instance: RocketMQInstance, credentials: Credentials | None = None) -> Client:
    """Return a client of the instance, with `credentials` or else its own; nothing is dialled yet.

    Raises:
        UnresolvedSecret: a secret that the instance refers to cannot be had.
        OSError: a file that its Tls names cannot be read.
    """
    tls = tls_context(instance.tls) if instance.tls is not None else None
    return Client(instance.addresses, credentials=credentials or credentials_of(instance), tls=tls)


def credentials_of(instance: RocketMQInstance) -> RenewedCredentials | None:
    """Return the instance's credentials, or None if it has no access control.

    Raises:
        UnresolvedSecret: a secret that the instance refers to cannot be had.
    """
    if instance.access_key is None or instance.secret_key is None:
        return None
    access_key, secret_key, security_token = instance.access_key, instance.secret_key, instance.security_token

    def look() -> Credentials:
        return Credentials(
            access_key=resolve(access_key),
            secret_key=resolve(secret_key),
            security_token=resolve(security_token) if security_token else "",
        )

    return RenewedCredentials(look)


def expire_keys(instance: RocketMQInstance) -> None:
    """Have the stores of the instance's keys asked again: a broker refused them."""
    expire((instance.access_key, instance.secret_key, instance.security_token))
