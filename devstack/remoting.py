"""The few calls of RocketMQ's remoting protocol that the devstack makes itself: an admin tool takes a second each.

Written apart from the client of this project on purpose: tests of the client must not depend on it twice.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import RefusedError

# org.apache.rocketmq.common.protocol.RequestCode
UPDATE_AND_CREATE_TOPIC = 17
UPDATE_BROKER_CONFIG = 25
GET_ROUTEINFO_BY_TOPIC = 105
GET_BROKER_CLUSTER_INFO = 106

SUCCESS = 0
TOPIC_NOT_EXIST = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account of plain_acl.yml that is an admin."""

    access_key: str
    secret_key: str = field(repr=False)


def call(
    address: str,
    request_code: int,
    fields: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    credentials: Credentials | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
) -> bytes:
    """Make one request over a connection of its own and return the body of the answer.

    Raises:
        RefusedError: the answer's code is not SUCCESS.
        OSError: there was no answer.
    """
    ext_fields = dict(fields or {})
    if credentials is not None:
        ext_fields |= _signed(ext_fields, body, credentials)
    header = json.dumps(
        {
            "code": request_code,
            "language": "OTHER",
            "version": 0,
            "opaque": 1,
            "flag": 0,
            "extFields": ext_fields,
            "serializeTypeCurrentRPC": "JSON",
        }
    ).encode()
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=timeout_s))
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=host))
        connection.sendall(struct.pack(">ii", 4 + len(header) + len(body), len(header)) + header + body)
        with connection.makefile("rb") as stream:
            length, header_length = struct.unpack(">iI", _exactly(stream.read(8), 8))
            payload = _exactly(stream.read(length - 4), length - 4)
    header_length &= 0xFFFFFF  # the top byte tells the serialisation: 0, JSON, as in the request
    answer = json.loads(payload[:header_length])
    if answer["code"] != SUCCESS:
        raise RefusedError(request_code, answer["code"], answer.get("remark") or "no remark")
    return payload[header_length:]


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ConnectionError(f"the connection was closed after {len(data)} of {length} bytes")
    return data


def _signed(fields: Mapping[str, str], body: bytes, credentials: Credentials) -> dict[str, str]:
    """Return the fields that ACL asks for (AclUtils.combineRequestContent: values in the order of their names)."""
    with_key = {**fields, "AccessKey": credentials.access_key}
    content = "".join(with_key[name] for name in sorted(with_key)).encode() + body
    digest = hmac.digest(credentials.secret_key.encode(), content, hashlib.sha1)
    return {"AccessKey": credentials.access_key, "Signature": base64.b64encode(digest).decode()}
