"""Routes from name servers: several for fail-over, each answer cached."""

import time
from collections.abc import Callable, Sequence

from .codes import RequestCode, ResponseCode
from .connection import Connection
from .errors import ConnectFailed, RocketMQError, RouteNotFound
from .exchange import exchange, require
from .frames import Frame
from .route import TopicRoute, parse_route

__all__ = ["NameServers"]

# As often as Java's client polls (ClientConfig.pollNameServerInterval).
ROUTE_TTL_S = 30.0
# While no name server has an answer, the known route is served this long before they are asked again.
ASK_AGAIN_S = 5.0
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
        self._routes: dict[str, tuple[float, TopicRoute]] = {}  # with the time until which it is good
        self._clock = clock

    def route(self, topic: str, deadline: float, *, fresh: bool = False) -> TopicRoute:
        """Return the topic's route, asked for anew if `fresh` or older than 30 s.

        While no name server has an answer, the last known route is served, as Java's client does: brokers work on without name
        servers, and a name server that was restarted knows nothing until the brokers have registered again.

        Raises:
            RouteNotFound: the name servers know no broker for the topic, and none was ever known.
            ConnectFailed: none of them answered, and the topic's route was never known.
        """
        known = self._routes.get(topic)
        if known is not None and not fresh and self._clock() < known[0]:
            return known[1]
        try:
            # With a route in hand, half of the time is kept for using it.
            now = time.monotonic()
            route = self._ask(topic, deadline if known is None else now + (deadline - now) / 2)
        except (ConnectFailed, RouteNotFound):
            if known is None:
                raise
            self._routes[topic] = (self._clock() + ASK_AGAIN_S, known[1])
            return known[1]
        self._routes[topic] = (self._clock() + ROUTE_TTL_S, route)
        return route

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.close()

    def _ask(self, topic: str, deadline: float) -> TopicRoute:
        silent: list[str] = []
        unknown: RouteNotFound | None = None
        for left, server in zip(range(len(self._servers), 0, -1), list(self._servers), strict=True):
            now = time.monotonic()
            # A silent one must leave the others time to answer.
            until = now + min(ANSWER_TIMEOUT_S, max(0.0, deadline - now) / left)
            fields = {"topic": topic, "acceptStandardJsonOnly": "true"}
            try:
                return self._read(
                    topic, exchange([(server, RequestCode.GET_ROUTEINFO_BY_TOPIC, fields, b"")], until)[0]
                )
            except RouteNotFound as error:
                unknown = error
            except RocketMQError as error:
                silent.append(f"{server.address} ({error})")
                self._servers.append(self._servers.pop(0))
        if unknown is not None:
            raise unknown
        raise ConnectFailed(f"no name server answered: {', '.join(silent)}")

    @staticmethod
    def _read(topic: str, answer: Frame | RocketMQError) -> TopicRoute:
        frame = require(answer, ResponseCode.TOPIC_NOT_EXIST)
        if frame.code == ResponseCode.TOPIC_NOT_EXIST:
            raise RouteNotFound(f"topic {topic!r} does not exist: the name server knows no broker for it")
        return parse_route(topic, frame.body)
