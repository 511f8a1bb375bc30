"""A client for a configured RocketMQ instance: its secrets resolved, its TLS verified."""

from typing import TYPE_CHECKING

from mqbridge.rules import RocketMQInstance, Tls
from mqbridge.secrets import resolve
from rocketmq_remoting import Client, Credentials

if TYPE_CHECKING:
    import ssl

__all__ = ["credentials_of", "open_client", "tls_context"]


def open_client(instance: RocketMQInstance) -> Client:
    """Return a client of the instance; nothing is dialled yet.

    Raises:
        UnresolvedSecret: a secret that the instance refers to cannot be had.
        OSError: a file that its Tls names cannot be read.
    """
    tls = tls_context(instance.tls) if instance.tls is not None else None
    return Client(instance.addresses, credentials=credentials_of(instance), tls=tls)


def credentials_of(instance: RocketMQInstance) -> Credentials | None:
    """Return the instance's credentials, or None if it has no access control.

    Raises:
        UnresolvedSecret: a secret that the instance refers to cannot be had.
    """
    if instance.access_key is None or instance.secret_key is None:
        return None
    return Credentials(
        access_key=resolve(instance.access_key),
        secret_key=resolve(instance.secret_key),
        security_token=resolve(instance.security_token) if instance.security_token else "",
    )


def tls_context(tls: Tls) -> "ssl.SSLContext":
    """Return a context that verifies certificate and host name, with the client's own certificate where there is one."""
    import ssl  # here, because it costs a cold start 10 ms

    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
