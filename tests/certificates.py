"""A certificate authority of a test's own."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Identity"]

_DAY = timedelta(days=1)


class Identity:
    """A certificate and its key, as PEM files (the key as PKCS #8, which Java wants)."""

    def __init__(
        self, directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate_path = directory / f"{name}.pem"
        self.key_path = directory / f"{name}.key"
        self.certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class Authority:
    """Signs certificates for hosts and clients; `path` is the file that says whom to trust."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mqbridge test {name}")])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public_key = self._key.public_key()
        certificate = (
            self._builder(self._name, self._public_key, datetime.now(UTC) - _DAY, datetime.now(UTC) + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = Identity(directory, name, certificate, self._key).certificate_path

    def issue(self, name: str, *, expired: bool = False) -> Identity:
        """Return a certificate for a host name, an address or a client, valid today unless `expired`."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = datetime.now(UTC) + (-_DAY if expired else _DAY)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(subject, key.public_key(), end - 2 * _DAY, end)
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Identity(self._directory, f"{name}{'-expired' if expired else ''}", certificate, key)

    def context(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority only."""
        return ssl.create_default_context(cafile=str(self.path))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
