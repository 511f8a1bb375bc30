"""TLS contexts from files and from references; what is wrong is named by its reference, and never shown."""

import json
import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mqbridge import secrets
from mqbridge.rules import Tls
from mqbridge.secrets import UnresolvedSecret
from mqbridge.tls import references, tls_context
from tests.certificates import Authority, Identity


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Identity:
    return authority.issue("client")


@pytest.fixture(autouse=True)
def _secrets(authority: Authority, client: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CA", authority.path.read_text())
    monkeypatch.setenv("CERTIFICATE", client.certificate_path.read_text())
    monkeypatch.setenv("KEY", client.key_path.read_text())
    monkeypatch.setenv("NO_PEM", "planted")


def test_files_and_references_say_the_same(authority: Authority, client: Identity) -> None:
    files = Tls(ca_file=str(authority.path), cert_file=str(client.certificate_path), key_file=str(client.key_path))
    referred = Tls(ca="env:CA", cert="env:CERTIFICATE", key="env:KEY")
    for tls in (files, referred, Tls(ca="env:CA", cert_file=str(client.certificate_path), key="env:KEY")):
        context = tls_context(tls)
        assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "mqbridge test ca"),),)]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    assert references(referred) == ("env:CA", "env:CERTIFICATE", "env:KEY")
    assert references(None) == ()


def test_without_an_authority_the_system_s_are_trusted() -> None:
    assert len(tls_context(Tls()).get_ca_certs()) == len(ssl.create_default_context().get_ca_certs())


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_a_key_by_reference_leaves_no_file(
    has_memory_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_files = len(os.listdir("/proc/self/fd"))
    tls_context(Tls(cert="env:CERTIFICATE", key="env:KEY"))
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        (Tls(ca="env:NO_PEM"), "env:NO_PEM: expected certificates as PEM text"),
        (Tls(ca="env:NOTHING"), "env:NOTHING: there is no such secret"),
        (Tls(cert="env:NO_PEM", key="env:KEY"), "env:NO_PEM and env:KEY: expected a PEM certificate and its key"),
        (Tls(cert="env:CERTIFICATE", key="env:NO_PEM"), "env:CERTIFICATE and env:NO_PEM: expected a PEM certificate"),
    ],
)
def test_what_is_no_certificate_is_named_and_not_shown(tls: Tls, named: str) -> None:
    with pytest.raises(UnresolvedSecret, match=named) as caught:
        tls_context(tls)
    assert "planted" not in str(caught.value)


def test_the_key_of_another_certificate_and_an_encrypted_one_are_refused(
    authority: Authority, client: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL would ask the terminal for a password, and a function would hang."""
    key = load_pem_private_key(client.key_path.read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    for text in (authority.issue("another").key_path.read_text(), encrypted.decode()):
        monkeypatch.setenv("KEY", text)
        with pytest.raises(UnresolvedSecret, match="not encrypted") as caught:
            tls_context(Tls(cert="env:CERTIFICATE", key="env:KEY"))
        assert "None" not in str(caught.value)


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        (Tls(ca_file="no.pem"), "Tls.CaFile: No such file or directory: 'no.pem'"),
        (Tls(cert_file="no.pem", key="env:KEY"), "Tls.CertFile: No such file or directory: 'no.pem'"),
        (Tls(cert="env:CERTIFICATE", key_file="no.pem"), "Tls.KeyFile: No such file or directory: 'no.pem'"),
    ],
)
def test_a_missing_file_is_named(tls: Tls, named: str) -> None:
    with pytest.raises(FileNotFoundError, match=named):
        tls_context(tls)


def test_a_file_that_is_no_certificate_is_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("planted")
    with pytest.raises(UnresolvedSecret, match=f"{path}: expected certificates as PEM text") as caught:
        tls_context(Tls(ca_file=str(path)))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("has_memory_files", [True, False])
@pytest.mark.parametrize("sign", ["ä", "\ud800"])
def test_what_stands_between_certificates_may_be_any_text(
    sign: str, has_memory_files: bool, client: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create")
    secret = json.dumps({"cert": f"{sign}\n{client.certificate_path.read_text()}", "none": sign})
    monkeypatch.setattr(secrets, "_ask_aws", lambda _service, _name: secret)
    monkeypatch.setattr(secrets, "_cached", {})
    tls_context(Tls(cert="secretsmanager:mqtt#cert", key="env:KEY"))
    with pytest.raises(UnresolvedSecret, match="secretsmanager:mqtt#none and env:KEY: expected a PEM certificate"):
        tls_context(Tls(cert="secretsmanager:mqtt#none", key="env:KEY"))
