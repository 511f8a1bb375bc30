"""Routes from name servers: fail-over, caching, and life without them."""

import time
from collections.abc import Iterator

import pytest

from rocketmq_remoting import BrokerBusy, ConnectFailed, ProtocolError, RouteNotFound
from rocketmq_remoting.connection import Connection
from rocketmq_remoting.name_servers import NameServers

from .scripted_broker import (
    GET_ROUTE,
    HANG_UP,
    TOPIC_NOT_EXIST,
    Action,
    Answer,
    ScriptedBroker,
    black_hole,
    nobody,
    route_document,
)

GOOD = Answer(body=route_document({"a": "10.0.0.1:10911"}, queues=2))
MOVED = Answer(body=route_document({"b": "10.0.0.2:10911"}, queues=2))
UNKNOWN = Answer(code=TOPIC_NOT_EXIST, remark="No topic route info in name server for the topic: t")


class Clock:
    """time.monotonic, which a test can set forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def servers() -> Iterator[list[ScriptedBroker]]:
    made = [ScriptedBroker(), ScriptedBroker()]
    yield made
    for server in made:
        server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(servers: list[ScriptedBroker], clock: Clock) -> Iterator[NameServers]:
    made = NameServers([server.address for server in servers], Connection, clock)
    yield made
    made.close()


def brokers(names: NameServers, *, timeout_s: float = 5.0, fresh: bool = False) -> dict[str, str]:
    return dict(names.route("t", time.monotonic() + timeout_s, fresh=fresh).addresses)


def test_route_is_asked_for_in_standard_json_and_cached(names: NameServers, servers: list[ScriptedBroker]) -> None:
    servers[0].on(GET_ROUTE, GOOD, MOVED)
    assert [brokers(names), brokers(names)] == [{"a": "10.0.0.1:10911"}] * 2
    (request,) = servers[0].requests
    assert request.fields == {"topic": "t", "acceptStandardJsonOnly": "true"}


def test_route_is_asked_for_again_when_fresh_or_old(
    names: NameServers, servers: list[ScriptedBroker], clock: Clock
) -> None:
    servers[0].on(GET_ROUTE, GOOD, MOVED, GOOD)
    assert "a" in brokers(names)
    assert "b" in brokers(names, fresh=True)
    clock.ahead_s = 31
    assert "a" in brokers(names)


@pytest.mark.parametrize("action", [HANG_UP, b"rubbish!", Answer(code=1, remark="x"), Answer(body=b"no route")])
def test_second_name_server_answers_for_the_first_and_is_asked_first_from_then_on(
    names: NameServers, servers: list[ScriptedBroker], action: Action
) -> None:
    servers[0].on(GET_ROUTE, action)
    servers[1].on(GET_ROUTE, GOOD)
    assert "a" in brokers(names)
    assert "a" in brokers(names, fresh=True)
    assert (len(servers[0].requests), len(servers[1].requests)) == (1, 2)


def test_second_name_server_answers_when_the_first_refuses_connections(servers: list[ScriptedBroker]) -> None:
    servers[1].on(GET_ROUTE, GOOD)
    with nobody() as address:
        names = NameServers([address, servers[1].address], Connection)
        assert "a" in brokers(names)
        names.close()


def test_silent_first_name_server_leaves_the_second_time_to_answer(
    names: NameServers, servers: list[ScriptedBroker]
) -> None:
    """A function has few seconds: the time there is has to be shared out, whatever there is of it."""
    servers[0].on(GET_ROUTE, None)
    servers[1].on(GET_ROUTE, GOOD)
    assert "a" in brokers(names, timeout_s=0.4)


def test_first_name_server_that_is_gone_leaves_the_second_time_to_answer(servers: list[ScriptedBroker]) -> None:
    servers[1].on(GET_ROUTE, GOOD)
    with black_hole() as address:
        names = NameServers([address, servers[1].address], Connection)
        assert "a" in brokers(names, timeout_s=0.4)
        names.close()


def test_no_answer_at_all_is_connect_failed_at_the_deadline_and_names_all(
    names: NameServers, servers: list[ScriptedBroker]
) -> None:
    for server in servers:
        server.on(GET_ROUTE, None)
    start = time.monotonic()
    with pytest.raises(ConnectFailed) as raised:
        brokers(names, timeout_s=0.2)
    assert 0.1 < time.monotonic() - start < 1.5
    assert all(server.address in str(raised.value) for server in servers)


def test_topic_that_all_name_servers_do_not_know_is_route_not_found(
    names: NameServers, servers: list[ScriptedBroker]
) -> None:
    for server in servers:
        server.on(GET_ROUTE, UNKNOWN)
    with pytest.raises(RouteNotFound, match="'t'"):
        brokers(names)


def test_topic_that_only_a_restarted_name_server_does_not_know_is_found_on_the_other(
    names: NameServers, servers: list[ScriptedBroker]
) -> None:
    """Brokers register every 30 s: until then a restarted name server says TOPIC_NOT_EXIST for every topic."""
    servers[0].on(GET_ROUTE, UNKNOWN)
    servers[1].on(GET_ROUTE, GOOD)
    assert "a" in brokers(names)


@pytest.mark.parametrize("action", [HANG_UP, b"rubbish!", Answer(code=2, remark="busy")])
def test_known_route_is_served_while_no_name_server_answers(
    names: NameServers, servers: list[ScriptedBroker], clock: Clock, action: Action
) -> None:
    servers[0].on(GET_ROUTE, GOOD, action)
    servers[1].on(GET_ROUTE, action)
    assert "a" in brokers(names)
    clock.ahead_s = 31
    assert "a" in brokers(names)
    assert "a" in brokers(names, fresh=True)


def test_known_route_is_served_while_restarted_name_servers_know_nothing(
    names: NameServers, servers: list[ScriptedBroker], clock: Clock
) -> None:
    """As Java's client does: brokers work on, and one that has lost the topic says so itself."""
    servers[0].on(GET_ROUTE, GOOD, UNKNOWN)
    servers[1].on(GET_ROUTE, UNKNOWN)
    assert "a" in brokers(names)
    clock.ahead_s = 31
    assert "a" in brokers(names)


def test_known_route_is_served_in_time_to_use_it_while_name_servers_are_silent(
    names: NameServers, servers: list[ScriptedBroker], clock: Clock
) -> None:
    servers[0].on(GET_ROUTE, GOOD, None)
    servers[1].on(GET_ROUTE, None)
    brokers(names)
    clock.ahead_s = 31
    deadline = time.monotonic() + 0.3
    assert names.route("t", deadline).addresses == {"a": "10.0.0.1:10911"}
    assert deadline - time.monotonic() > 0.05


def test_silent_name_servers_are_not_waited_for_at_every_call(
    names: NameServers, servers: list[ScriptedBroker], clock: Clock
) -> None:
    servers[0].on(GET_ROUTE, GOOD, None)
    servers[1].on(GET_ROUTE, None)
    brokers(names)
    clock.ahead_s = 31
    brokers(names, timeout_s=0.2)
    start = time.monotonic()
    brokers(names, timeout_s=0.5)
    assert time.monotonic() - start < 0.1


def test_failure_names_what_each_name_server_did(names: NameServers, servers: list[ScriptedBroker]) -> None:
    servers[0].on(GET_ROUTE, HANG_UP)
    servers[1].on(GET_ROUTE, Answer(body=b"{"))
    with pytest.raises(ConnectFailed, match=r"closed the connection.*not readable"):
        brokers(names)


def test_at_least_one_address_is_needed() -> None:
    with pytest.raises(ValueError, match="at least one host:port"):
        NameServers([], Connection)


def test_errors_of_the_answer_itself_are_not_confused() -> None:
    assert not issubclass(RouteNotFound, ConnectFailed | BrokerBusy | ProtocolError)
