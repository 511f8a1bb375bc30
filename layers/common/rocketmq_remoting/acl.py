"""The signature of RocketMQ's access control (acl/.../common/AclUtils.java, AclClientRPCHook.java)."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Credentials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access key pair; `security_token` accompanies temporary ones. A repr shows none of it."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str = field(default="", repr=False)

    def sign(self, fields: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return `fields` with AccessKey, SecurityToken and Signature added.

        The signature covers the values of all fields in the order of their names, then the body.
        """
        signed = {**fields, "AccessKey": self.access_key}
        if self.security_token:
            signed["SecurityToken"] = self.security_token
        content = "".join(signed[name] for name in sorted(signed)).encode() + body
        # SHA-1 is the broker's choice (AclSigner.DEFAULT_ALGORITHM), not ours.
        digest = hmac.digest(self.secret_key.encode(), content, "sha1")
        signed["Signature"] = base64.b64encode(digest).decode()
        return signed

    def conceal(self, text: str) -> str:
        """Return what a broker said without the keys that it may quote ("Check signature failed for accessKey=...")."""
        for secret in (self.access_key, self.secret_key, self.security_token):
            text = text.replace(secret, "***") if secret else text
        return text
