"""Routes from name servers: several for fail-over, each answer cached."""

import time
from collections.abc import Callable, Sequence

from .codes import RequestCode, ResponseCode
from .connection import Connection, exchange, require
from .errors import ConnectFailed, RocketMQError, RouteNotFound
from .frames import Frame
from .route import TopicRoute, parse_route

__all__ = ["NameServers"]

# As often as Java's client polls (ClientConfig.pollNameServerInterval).
ROUTE_TTL_S = 30.0
# One silent name server must not use up the time that the others could answer in.
ANSWER_TIMEOUT_S = 3.0


class NameServers:
    """Answer where a topic lives, asking whichever name server answers, the last good one first."""

    def __init__(
        self,
        addresses: Sequence[str],
        connect: Callable[[str], Connection],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not addresses:
            raise ValueError("name servers: expected at least one host:port, got none")
        self._servers = [connect(address) for address in addresses]
        self._routes: dict[str, tuple[float, TopicRoute]] = {}
        self._clock = clock

    def route(self, topic: str, deadline: float, *, fresh: bool = False) -> TopicRoute:
        """Return the topic's route, asked for anew if `fresh` or older than 30 s.

        While no name server answers, the last known route is served: brokers work on without name servers.

        Raises:
            RouteNotFound: the name servers know no broker for the topic.
            ConnectFailed: none of them answered, and the topic's route was never known.
        """
        known = self._routes.get(topic)
        if known is not None and not fresh and self._clock() - known[0] < ROUTE_TTL_S:
            return known[1]
        try:
            route = self._ask(topic, deadline)
        except ConnectFailed:
            if known is None:
                raise
            return known[1]
        self._routes[topic] = (self._clock(), route)
        return route

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.close()

    def _ask(self, topic: str, deadline: float) -> TopicRoute:
        silent = []
        for server in list(self._servers):
            until = min(deadline, self._clock() + ANSWER_TIMEOUT_S)
            fields = {"topic": topic, "acceptStandardJsonOnly": "true"}
            try:
                return self._read(
                    topic, exchange([(server, RequestCode.GET_ROUTEINFO_BY_TOPIC, fields, b"")], until)[0]
                )
            except RouteNotFound:
                raise
            except RocketMQError as error:
                silent.append(f"{server.address} ({error})")
                self._servers.append(self._servers.pop(0))
        raise ConnectFailed(f"no name server answered: {', '.join(silent)}")

    @staticmethod
    def _read(topic: str, answer: Frame | RocketMQError) -> TopicRoute:
        frame = require(answer, ResponseCode.TOPIC_NOT_EXIST)
        if frame.code == ResponseCode.TOPIC_NOT_EXIST:
            raise RouteNotFound(f"topic {topic!r} does not exist: the name server knows no broker for it")
        return parse_route(topic, frame.body)
