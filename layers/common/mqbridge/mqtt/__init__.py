"""MQTT: clients for configured instances, driven by their users' own threads."""

from .client import KEEP_ALIVE_S, address_of, expire_secrets, new_client
from .driven import DrivenClient
from .packets import Publish

__all__ = ["KEEP_ALIVE_S", "DrivenClient", "Publish", "address_of", "expire_secrets", "new_client"]
