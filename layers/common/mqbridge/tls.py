"""TLS of connections to brokers: whom to trust, who we are, and the protocol asked for; from files, or from secrets by reference."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mqbridge.secrets import UnresolvedSecret, resolve

if TYPE_CHECKING:
    import ssl

    from mqbridge.rules import Tls

__all__ = ["references", "tls_context"]


def references(tls: "Tls | None") -> "tuple[str | None, ...]":
    """Return the references to secrets in `tls`."""
    return () if tls is None else (tls.ca, tls.cert, tls.key)


def tls_context(tls: "Tls") -> "ssl.SSLContext":
    """Return a context that verifies certificate and host name, with the client's own certificate where there is one.

    Raises:
        UnresolvedSecret: a reference leads nowhere; or it, or a file, holds something else than PEM text.
        OSError: a file cannot be read.
    """
    import ssl  # here, because it costs a cold start 10 ms

    _check_files(tls)
    ca = None if tls.ca is None else _pem(tls.ca).decode()
    try:
        context = ssl.create_default_context(cafile=tls.ca_file, cadata=ca)
    except (ssl.SSLError, ValueError):
        named = tls.ca or tls.ca_file
        raise UnresolvedSecret(f"{named}: expected certificates as PEM text, got something else") from None
    if tls.cert or tls.cert_file:
        _load_certificate(context, tls)
    if tls.alpn is not None:
        context.set_alpn_protocols([tls.alpn])
    return context


def _check_files(tls: "Tls") -> None:
    """Have a file that cannot be read be named, which OpenSSL's binding does not do."""
    for key, path in (("CaFile", tls.ca_file), ("CertFile", tls.cert_file), ("KeyFile", tls.key_file)):
        try:
            if path is not None:
                open(path, "rb").close()
        except OSError as error:
            raise OSError(error.errno, f"Tls.{key}: {error.strerror}", path) from None


def _pem(reference: str) -> bytes:
    """Return PEM text, which is ASCII; what people write between certificates need not be."""
    return resolve(reference).encode("ascii", "ignore")


def _load_certificate(context: "ssl.SSLContext", tls: "Tls") -> None:
    import ssl

    with contextlib.ExitStack() as stack:
        certificate = tls.cert_file if tls.cert is None else stack.enter_context(_as_file(_pem(tls.cert)))
        key = tls.key_file if tls.key is None else stack.enter_context(_as_file(_pem(tls.key)))
        try:
            # A password, since OpenSSL would ask the terminal for the one of an encrypted key.
            context.load_cert_chain(str(certificate), key, password="")
        except ssl.SSLError as error:
            # OpenSSL's texts quote nothing, and do not say of which of the two they are.
            named = " and ".join(str(each) for each in (tls.cert or tls.cert_file, tls.key or tls.key_file))
            what = "expected a PEM certificate and its key, not encrypted"
            raise UnresolvedSecret(f"{named}: {what}{f' ({error.reason})' if error.reason else ''}") from None


@contextlib.contextmanager
def _as_file(pem: bytes) -> Iterator[str]:
    """Give the name of a file that holds `pem`, since OpenSSL's binding reads no key from memory. The file is in memory, on Linux."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mqbridge-tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(prefix="mqbridge-tls") as file:  # only its owner may read it
        file.write(pem)
        file.flush()
        yield file.name
