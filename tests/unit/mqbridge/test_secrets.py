"""Secrets by reference: found where the reference says, and never quoted where they cannot be used."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from mqbridge import secrets
from mqbridge.secrets import UnresolvedSecret, expire, resolve, resolve_if_reference
from tests.unit.mqbridge.support import forget_boto3

PLANTED = "planted-s3cr3t"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account of this test's own, in memory, and nothing remembered from another test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    secrets._cached.clear()
    with mock_aws():
        yield
    secrets._cached.clear()


def refused(reference: str) -> str:
    """Resolve what cannot be resolved; return what is said of it, which must show no secret."""
    with pytest.raises(UnresolvedSecret) as raised:
        resolve(reference)
    # The lines of this module are in the traceback too; the planted text stands in none of those that are shown.
    assert PLANTED not in "".join(traceback.format_exception(raised.value))
    assert str(raised.value).startswith(f"{reference}: ")
    return str(raised.value).removeprefix(f"{reference}: ")


# --- the process and its files ---


def test_environment_and_files_hold_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLANTED", PLANTED)
    (tmp_path / "secret").write_text(f"{PLANTED}ü \r\n", encoding="utf-8")
    assert resolve("env:PLANTED") == PLANTED
    assert resolve(f"file:{tmp_path / 'secret'}") == f"{PLANTED}ü "


def test_references_that_lead_nowhere_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff" + PLANTED.encode())
    assert refused("env:NO_SUCH_NAME") == "there is no such secret, or it is empty"
    assert refused(f"file:{tmp_path / 'empty'}") == "there is no such secret, or it is empty"
    assert refused(f"file:{tmp_path / 'missing'}") == "No such file or directory"
    assert refused(f"file:{tmp_path / 'binary'}") == "not readable"
    assert refused("vault:x").startswith("expected env:NAME")


def test_setting_that_need_not_be_secret_may_be_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER_NAME", "bridge")
    assert resolve_if_reference("env:USER_NAME") == "bridge"
    assert resolve_if_reference("bridge") == "bridge"
    assert resolve_if_reference("domain:bridge") == "domain:bridge"


# --- AWS ---


@pytest.mark.usefixtures("aws")
def test_secrets_manager_holds_secrets_and_objects_of_them() -> None:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="plain/one", SecretString=PLANTED)
    arn = client.create_secret(Name="keys", SecretString=json.dumps({"AccessKey": "a", "SecretKey": PLANTED}))["ARN"]
    assert resolve("secretsmanager:plain/one") == PLANTED
    assert resolve("secretsmanager:keys#AccessKey") == "a"
    assert resolve(f"secretsmanager:{arn}#SecretKey") == PLANTED


@pytest.mark.usefixtures("aws")
def test_parameter_store_holds_secrets_also_encrypted_ones() -> None:
    client = boto3.client("ssm")
    client.put_parameter(Name="/mqbridge/secret", Value=PLANTED, Type="SecureString")
    client.put_parameter(Name="plain", Value="p", Type="String")
    assert resolve("ssm:/mqbridge/secret") == PLANTED
    assert resolve("ssm:plain") == "p"


@pytest.mark.usefixtures("aws")
def test_what_aws_does_not_have_is_said_without_quoting_what_it_has() -> None:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="object", SecretString=json.dumps({"k": PLANTED, "n": 7, "e": ""}))
    client.create_secret(Name="text", SecretString=PLANTED)
    client.create_secret(Name="list", SecretString=json.dumps([PLANTED]))
    client.create_secret(Name="bytes", SecretBinary=PLANTED.encode())
    assert refused("secretsmanager:missing#k") == "AWS answered ResourceNotFoundException"
    assert refused("ssm:/missing") == "AWS answered ParameterNotFound"
    for name in ("object#other", "text#k", "list#k"):
        assert refused(f"secretsmanager:{name}").startswith("expected a JSON object with the key")
    assert refused("secretsmanager:object#n") == "expected text under the key 'n', got int"
    assert refused("secretsmanager:object#e") == "there is no such secret, or it is empty"
    assert refused("secretsmanager:bytes") == "expected text, got a binary secret"


@pytest.mark.usefixtures("aws")
def test_aws_is_asked_once_in_300_seconds() -> None:
    """So a rotated secret is found, and a pair of keys in one secret costs one request."""
    client = boto3.client("secretsmanager")
    client.create_secret(Name="keys", SecretString=json.dumps({"a": "1", "b": "2"}))
    now = 1_767_225_600.0
    assert resolve("secretsmanager:keys#a", lambda: now) == "1"
    client.put_secret_value(SecretId="keys", SecretString=json.dumps({"a": "3", "b": "4"}))
    assert resolve("secretsmanager:keys#b", lambda: now + 299) == "2"
    assert resolve("secretsmanager:keys#b", lambda: now + 300) == "4"


@pytest.mark.usefixtures("aws")
def test_failures_are_not_remembered() -> None:
    assert refused("ssm:late") == "AWS answered ParameterNotFound"
    boto3.client("ssm").put_parameter(Name="late", Value="here", Type="String")
    assert resolve("ssm:late") == "here"


@pytest.mark.usefixtures("aws")
def test_what_a_broker_refused_is_asked_for_again_but_not_for_every_refusal() -> None:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="keys", SecretString=json.dumps({"a": "1", "b": "2"}))
    now = 1_767_225_600.0
    references = [None, "env:X", "secretsmanager:keys#b"]
    assert not expire(references, lambda: now)  # nothing was resolved yet
    assert resolve("secretsmanager:keys#a", lambda: now) == "1"
    client.put_secret_value(SecretId="keys", SecretString=json.dumps({"a": "3", "b": "4"}))
    assert not expire(references, lambda: now + 9.9)
    assert resolve("secretsmanager:keys#a", lambda: now + 9.9) == "1"
    assert expire(references, lambda: now + 10)
    assert resolve("secretsmanager:keys#a", lambda: now + 10) == "3"
    assert not expire(references, lambda: now + 19)


@pytest.mark.usefixtures("aws")
def test_while_aws_does_not_give_a_secret_it_is_used_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """Asked again every 10 s, and said once."""
    client = boto3.client("ssm")
    client.put_parameter(Name="name", Value="before", Type="String")
    now = 1_767_225_600.0
    assert resolve("ssm:name", lambda: now) == "before"
    client.delete_parameter(Name="name")
    assert resolve("ssm:name", lambda: now + 300) == "before"
    client.put_parameter(Name="name", Value="after", Type="String")
    assert resolve("ssm:name", lambda: now + 309) == "before"
    client.delete_parameter(Name="name")
    assert resolve("ssm:name", lambda: now + 310) == "before"
    client.put_parameter(Name="name", Value="after", Type="String")
    assert resolve("ssm:name", lambda: now + 320) == "after"
    (said,) = [vars(record) for record in caplog.records if record.name == "mqbridge"]
    assert said["message"] == "secret cannot be looked at again; it is used as it was"
    assert (said["secret"], said["detail"]) == ("ssm:name", "AWS answered ParameterNotFound")


@pytest.mark.usefixtures("aws")
def test_missing_region_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert refused("ssm:name") == "AWS cannot be asked: NoRegionError"


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_boto3(monkeypatch)
    assert refused("ssm:name") == "needs boto3 (extra mqbridge[aws])"
    assert refused("secretsmanager:name#key") == "needs boto3 (extra mqbridge[aws])"
