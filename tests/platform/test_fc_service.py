"""The built functions, called as Function Compute calls them, in the built-in and in the custom runtime."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.errors import StartError
from devstack.fc_service import FcService, HostBuild, read_services
from devstack.mosquitto import Mosquitto
from tests.platform.accounted import AccountedFcService
from tests.platform.brokers import bodies, rules_for
from tests.platform.conftest import ROOT
from tests.unit.rocketmq_remoting.scripted_broker import ScriptedCluster
from tests.unit.rocketmq_remoting.scripted_group import ScriptedGroup

EVENTS = ROOT / "tests" / "events"
FILES = ["s.yaml", "s.custom.yaml"]
Make = Callable[..., FcService]


@contextmanager
def serving(build: HostBuild, name: str, rules: dict[str, Any], folder: Path, **options: Any) -> Iterator[FcService]:
    """Serve the functions by these rules; afterwards their accounts have to add up."""
    (folder / "rules.json").write_text(json.dumps(rules))
    environment = {"MQBRIDGE_RULES": str(folder / "rules.json"), **options.pop("environment", {})}
    with AccountedFcService(read_services(ROOT / name), build.code(), environment=environment, **options) as service:
        yield service


@pytest.fixture(params=FILES)
def service(
    request: pytest.FixtureRequest,
    fc_build: HostBuild,
    scripted_rocketmq: ScriptedCluster,
    mosquitto: Mosquitto,
    tmp_path: Path,
) -> Iterator[FcService]:
    with serving(fc_build, request.param, rules_for(scripted_rocketmq, mosquitto), tmp_path) as running:
        yield running


def event(name: str) -> bytes:
    return (EVENTS / f"{name}.json").read_bytes()


def test_what_the_mqtt_trigger_brings_is_stored(service: FcService, scripted_rocketmq: ScriptedCluster) -> None:
    answer = service.invoke("outbound", event("trigger-fc-mqtt"))
    assert not answer.is_error, answer.body
    assert json.loads(answer.body) == {"batchItemFailures": []}
    sent = [each["body"].encode() for each in json.loads(event("trigger-fc-mqtt"))]
    assert bodies(scripted_rocketmq)["telemetry"] == sent
    assert "FC Invoke Start RequestId: 1-" in service.log("outbound")
    assert "FC Invoke End RequestId: 1-" in service.log("outbound")


def test_a_task_filters_what_the_mqtt_trigger_brings(service: FcService, scripted_rocketmq: ScriptedCluster) -> None:
    messages = [{"props": {"firstTopic": "devices"}, "body": json.dumps({"temperature": each})} for each in (20, 81)]
    assert not service.invoke("outflow", json.dumps(messages).encode()).is_error
    assert bodies(scripted_rocketmq)["alarms"] == [b'{"temperature": 81}']


def test_apsaramq_s_notices_pass_from_one_topic_to_another(
    service: FcService, scripted_rocketmq: ScriptedCluster
) -> None:
    assert not service.invoke("status", event("status-fc-rocketmq")).is_error
    (notice,) = json.loads(event("status-fc-rocketmq"))
    assert bodies(scripted_rocketmq)["client_status"] == [notice["data"]["body"].encode()]


def test_a_time_trigger_has_inbound_read_rocketmq(service: FcService, scripted_rocketmq: ScriptedCluster) -> None:
    group = ScriptedGroup(scripted_rocketmq.brokers["broker"], "GID_mqbridge_commands")
    assert not service.invoke("inbound", event("schedule-fc-timer")).is_error
    group.add("reboot", topic="commands", properties={"mqttSecondTopic": "/d1/command"})
    answer = service.invoke("inbound", event("schedule-fc-timer"))
    assert not answer.is_error, answer.body
    assert json.loads(answer.body)["delivered"] == 1
    assert group.committed["commands", 0] == 1


def test_what_the_rocketmq_trigger_brings_is_published(
    service: FcService, arrived: queue.Queue[tuple[str, bytes]]
) -> None:
    answer = service.invoke("inbound", event("trigger-fc-rocketmq"))
    assert not answer.is_error, answer.body
    wanted = sorted(each["data"]["body"].encode() for each in json.loads(event("trigger-fc-rocketmq")))
    assert sorted(arrived.get(timeout=10)[1] for _ in wanted) == wanted


def test_an_event_that_no_trigger_sends_is_an_error(service: FcService) -> None:
    answer = service.invoke("outbound", b'{"what": "is this"}')
    assert (answer.status, answer.headers["X-Fc-Error-Type"]) == (200, "UnhandledInvocationError")
    assert "the event is none that is known" in json.loads(answer.body)["errorMessage"]


@pytest.mark.parametrize("name", FILES)
def test_a_stream_delivers_when_the_broker_is_back_and_with_the_same_ids(
    name: str, fc_build: HostBuild, scripted_rocketmq: ScriptedCluster, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """The first tries find no broker; meanwhile nothing is lost, and no time is billed for waiting."""
    rules = rules_for(scripted_rocketmq, mosquitto)
    path = tmp_path / "rules.json"
    away = {
        **rules,
        "Instances": {**rules["Instances"], "RocketMQ": [{"InstanceId": "rocketmq", "NameServers": ["127.0.0.1:1"]}]},
    }
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            replaced = path.with_suffix(".new")
            replaced.write_text(json.dumps(rules))
            replaced.replace(path)

    messages = json.loads(event("trigger-fc-mqtt"))
    with serving(fc_build, name, away, tmp_path, sleep=sleep, environment={"MQBRIDGE_RULES_TTL": "0"}) as service:
        assert service.stream("outbound", "devices").deliver(messages) == []
        first = message_ids(scripted_rocketmq)
        assert service.stream("outbound", "devices").deliver(messages) == []
    assert slept == [1.0, 2.0, 4.0]
    again = message_ids(scripted_rocketmq)
    assert again == first * 2, "an array that comes again has the ids that it had"


def message_ids(cluster: ScriptedCluster) -> list[str]:
    return [properties["UNIQ_KEY"] for request in cluster.sent() for _, properties in request.items]


@pytest.mark.parametrize("name", FILES)
def test_what_is_given_up_goes_to_its_queue(
    name: str, fc_build: HostBuild, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with ScriptedCluster("broker", topics={}) as gone:
        rules = rules_for(gone, mosquitto)
    tries: list[float] = []
    messages = json.loads(event("trigger-fc-mqtt"))
    with serving(fc_build, name, rules, tmp_path, sleep=tries.append) as service:
        lost = service.invoke_async("outbound", event("trigger-fc-mqtt"))
        assert lost is not None
        assert lost.destination == "acs:mns:cn-hangzhou:1234567890123456:/queues/mqbridge-dead-letters/messages"
        assert len(tries) == 3
        assert "connect_failed" in lost.error
        given_up = service.stream("outbound", "devices").deliver(messages)
    assert len(tries) == 3 + 176
    assert [each.event for each in given_up] == messages
    assert {each.destination for each in given_up} == {
        "acs:mns:cn-hangzhou:1234567890123456:/queues/mqbridge-dead-letters"
    }


def test_a_custom_runtime_takes_invocations_at_once(
    fc_build: HostBuild, scripted_rocketmq: ScriptedCluster, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    answers = []
    with serving(fc_build, "s.custom.yaml", rules_for(scripted_rocketmq, mosquitto), tmp_path) as service:

        def invoke(at: int) -> None:
            message = {"props": {"firstTopic": "devices"}, "body": f"{at}"}
            answers.append(service.invoke("outbound", json.dumps([message]).encode()))

        threads = [threading.Thread(target=invoke, args=(at,)) for at in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not [each for each in answers if each.is_error]
    assert sorted(bodies(scripted_rocketmq)["telemetry"]) == sorted(f"{at}".encode() for at in range(16))


def test_a_custom_runtime_that_does_not_start_says_why(fc_build: HostBuild, tmp_path: Path) -> None:
    functions = read_services(ROOT / "s.custom.yaml")
    nothing_but_packages = tmp_path / "packages"
    nothing_but_packages.mkdir()
    for name in ("mqbridge", "rocketmq_remoting"):
        (nothing_but_packages / name).symlink_to(fc_build.code() / name)
    with (
        pytest.raises(StartError, match="No module named 'outbound'"),
        AccountedFcService(functions, tmp_path, environment={"PYTHONPATH": str(nothing_but_packages)}) as service,
    ):
        service.invoke("outbound", b"[]")


@pytest.mark.parametrize("arguments", [[], ["--custom"]])
def test_the_command_runs_the_built_function_by_other_rules(arguments: list[str]) -> None:
    """What `make invoke-fc` runs. Nothing listens where the demo's brokers would."""
    command = [sys.executable, "-m", "devstack.fc_service", "invoke", "outbound", "tests/events/trigger-fc-mqtt.json"]
    done = subprocess.run(
        [*command, "--rules", "examples/demo/rules.yaml", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["errorType"] == "Undelivered"
    assert "FC Invoke End RequestId: " in done.stderr
