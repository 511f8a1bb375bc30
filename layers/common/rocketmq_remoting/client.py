"""What a producer and a consumer share: name servers, and one connection per broker."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .acl import Credentials
from .connection import Connection
from .frames import Frame
from .name_servers import NameServers
from .route import TopicRoute

if TYPE_CHECKING:
    import ssl

__all__ = ["Client"]


class Client:
    """Connections to one RocketMQ cluster. Not for several threads at once; nothing is dialled before it is needed.

    Args:
        name_servers: "host:port" each; any that answers will do.
        credentials: for brokers with access control.
        tls: a context to speak TLS with; certificates are verified as it says.
    """

    def __init__(
        self,
        name_servers: Sequence[str],
        *,
        credentials: Credentials | None = None,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._credentials = credentials
        self._tls = tls
        self._brokers: dict[str, Connection] = {}
        self._name_servers = NameServers(name_servers, self._connect)
        self._on_request: Callable[[Frame], None] | None = None

    def on_request(self, callback: Callable[[Frame], None]) -> None:
        """Have `callback` called with what brokers ask on their own."""
        self._on_request = callback

    def route(self, topic: str, deadline: float, *, fresh: bool = False) -> TopicRoute:
        """Return the topic's route; see `NameServers.route`."""
        return self._name_servers.route(topic, deadline, fresh=fresh)

    def connection(self, address: str) -> Connection:
        """Return the connection to the broker at `address`, made if there is none yet."""
        connection = self._brokers.get(address)
        if connection is None:
            connection = self._brokers[address] = self._connect(address)
        return connection

    def connections(self) -> list[Connection]:
        """Return the connections to all brokers met so far."""
        return list(self._brokers.values())

    def close(self) -> None:
        """Close all connections; the client can be used again."""
        self._name_servers.close()
        for connection in self._brokers.values():
            connection.close()

    def _connect(self, address: str) -> Connection:
        return Connection(address, credentials=self._credentials, tls=self._tls, on_request=self._requested)

    def _requested(self, frame: Frame) -> None:
        if self._on_request is not None:
            self._on_request(frame)
