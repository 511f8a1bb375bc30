"""The signature of access control."""

import base64
import hashlib
import hmac

from rocketmq_remoting import Credentials

SECRET = "planted-secret"


def signature(content: bytes) -> str:
    return base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha1).digest()).decode()


def test_signature_covers_values_in_the_order_of_names_then_the_body() -> None:
    signed = Credentials(access_key="key", secret_key=SECRET).sign({"b": "2", "a": "ü", "Z": "0"}, b"\x00body")
    assert signed == {
        "a": "ü",
        "b": "2",
        "Z": "0",
        "AccessKey": "key",
        "Signature": signature("key0ü2".encode() + b"\x00body"),  # AccessKey, Z, a, b
    }


def test_security_token_is_sent_and_signed() -> None:
    signed = Credentials(access_key="key", secret_key=SECRET, security_token="token").sign({"a": "1"}, b"")
    assert signed["SecurityToken"] == "token"
    assert signed["Signature"] == signature(b"keytoken1")


def test_fields_of_the_caller_stay_as_they_were() -> None:
    fields = {"a": "1"}
    Credentials(access_key="key", secret_key=SECRET).sign(fields, b"")
    assert fields == {"a": "1"}


def test_repr_shows_nothing_secret() -> None:
    shown = repr(Credentials(access_key="planted-key", secret_key=SECRET, security_token="planted-token"))
    assert "planted" not in shown


def test_keys_that_a_broker_quotes_are_concealed() -> None:
    credentials = Credentials(access_key="planted-key", secret_key=SECRET, security_token="planted-token")
    said = f"Check signature failed for accessKey=planted-key, {SECRET} planted-token, PlainPermissionManager"
    assert credentials.conceal(said) == "Check signature failed for accessKey=***, *** ***, PlainPermissionManager"
    assert Credentials(access_key="key", secret_key=SECRET).conceal("no remark") == "no remark"
