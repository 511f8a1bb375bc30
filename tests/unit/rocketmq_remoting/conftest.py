"""A cluster of one scripted broker, and a consumer of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rocketmq_remoting import Client, Consumer

from .consuming import GROUP, RETRY, MakeConsumer
from .scripted_broker import ScriptedBroker, ScriptedCluster
from .scripted_group import Clock, ScriptedGroup


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("consumer", "connection", "exchange", "name_servers"):
        monkeypatch.setattr(f"rocketmq_remoting.{module}.time", made)
    return made


@pytest.fixture
def cluster() -> Iterator[ScriptedCluster]:
    """One broker, "a", with topic t of two queues and the group's retry topic of one."""
    with ScriptedCluster("a", topics={"t": 2, RETRY: 1}) as scripted:
        yield scripted


@pytest.fixture
def broker(cluster: ScriptedCluster) -> ScriptedBroker:
    return cluster.brokers["a"]


@pytest.fixture
def group(broker: ScriptedBroker) -> ScriptedGroup:
    return ScriptedGroup(broker, GROUP)


@pytest.fixture
def make_consumer(cluster: ScriptedCluster) -> Iterator[MakeConsumer]:
    with ExitStack() as stack:

        def make(**options: Any) -> Consumer:
            client = Client([cluster.name_server.address])
            stack.callback(client.close)
            return Consumer(client, **{"group": GROUP, "topic": "t"} | options)

        yield make
