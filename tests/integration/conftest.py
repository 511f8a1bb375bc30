"""Real brokers for the whole session; a test that stops or breaks one starts its own."""

import os
from collections.abc import Iterator

import pytest

from devstack.mosquitto import Mosquitto
from devstack.rocketmq import PATIENT_BROKER, RocketMQ
from devstack.setup import ensure


@pytest.fixture(scope="session")
def rocketmq_version() -> str | None:
    """The version of RocketMQ to test against, if not the usual one; the Java client is of the usual one always."""
    return os.environ.get("MQBRIDGE_TEST_ROCKETMQ")


@pytest.fixture(scope="session", autouse=True)
def _servers_are_installed(rocketmq_version: str | None) -> None:
    ensure()
    if rocketmq_version is not None:
        ensure(rocketmq_version)


@pytest.fixture(scope="session")
def rocketmq(tmp_path_factory: pytest.TempPathFactory, rocketmq_version: str | None) -> Iterator[RocketMQ]:
    """A RocketMQ cluster that all tests share; each takes topics of its own."""
    directory = tmp_path_factory.mktemp("rocketmq")
    with RocketMQ(directory, broker_config=PATIENT_BROKER, version=rocketmq_version) as cluster:
        yield cluster


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A mosquitto of this test's own: it starts in 50 ms, and knows no sessions of other tests."""
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


_names = iter(range(1_000_000))


@pytest.fixture
def fresh_topic() -> str:
    """A topic name that no other test uses; the topic is not created."""
    return f"t{next(_names)}"
