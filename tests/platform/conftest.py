"""What is built once for all tests of the platform: by sam for Lambda, and by the same Makefiles for this machine."""

import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from devstack.fc_service import HostBuild as FcHostBuild
from devstack.fc_service.__main__ import DIRECTORY as FC_DIRECTORY
from devstack.lambda_service import HostBuild
from devstack.lambda_service.__main__ import DIRECTORY
from devstack.mosquitto import Mosquitto
from devstack.rocketmq import PATIENT_BROKER, RocketMQ
from devstack.setup import ensure
from tests.unit.rocketmq_remoting.scripted_broker import ScriptedCluster

ROOT = Path(__file__).resolve().parents[2]
SAM_BIN = ROOT / ".venv-sam" / "bin"
TOPICS = ("telemetry", "alarms", "client_status", "mqbridge_dlq", "commands")


@dataclass(frozen=True)
class SamBuild:
    """What `sam build` made, and said."""

    directory: Path
    output: str


def run_sam(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of .venv-sam in the project's folder; python is ours, as `make build` has it."""
    assert SAM_BIN.is_dir(), "no .venv-sam here: make test makes it"
    # make's own variables would reach the Makefiles of the layers.
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "ARCH", "RUNTIME"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return subprocess.run(
        [str(SAM_BIN / arguments[0]), *arguments[1:]],
        cwd=ROOT,
        env={**kept, "PATH": path, "SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def sam_build(tmp_path_factory: pytest.TempPathFactory) -> SamBuild:
    """`sam build` as `make build` runs it: for the template's runtime and architecture."""
    directory = tmp_path_factory.mktemp("sam") / "build"
    done = run_sam("sam", "build", "--build-dir", str(directory))
    assert done.returncode == 0, done.stderr
    return SamBuild(directory, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def host_build() -> HostBuild:
    """The functions for this machine, where `make invoke` has them too."""
    return HostBuild(DIRECTORY)


@pytest.fixture(scope="session")
def fc_build() -> FcHostBuild:
    """The functions for this machine, as Function Compute would have them, where `make invoke-fc` has them too."""
    return FcHostBuild(FC_DIRECTORY)


@pytest.fixture(scope="session")
def rocketmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketMQ]:
    """A real one, which tests share; who stops it starts it again."""
    ensure()
    with RocketMQ(tmp_path_factory.mktemp("rocketmq"), broker_config=PATIENT_BROKER) as cluster:
        yield cluster


@pytest.fixture
def scripted_rocketmq() -> Iterator[ScriptedCluster]:
    """One that answers in this process, with the topics of the project's rules."""
    with ScriptedCluster("broker", topics=dict.fromkeys(TOPICS, 1)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def arrived(mosquitto: Mosquitto) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    """What devices receive."""
    received: queue.Queue[tuple[str, bytes]] = queue.Queue()
    subscribed: queue.Queue[bool] = queue.Queue()
    subscriber = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    subscriber.on_message = lambda _client, _data, message: received.put((message.topic, bytes(message.payload)))
    subscriber.on_subscribe = lambda *_arguments: subscribed.put(True)
    subscriber.connect("127.0.0.1", mosquitto.port)
    subscriber.subscribe("devices/#", qos=1)
    subscriber.loop_start()
    subscribed.get(timeout=10)
    yield received
    subscriber.loop_stop()
    subscriber.disconnect()
