"""The built functions, run as Lambda runs them, on the events of tests/events: into brokers, and where there are none."""

import json
import os
import queue
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from devstack.lambda_service import HostBuild, LambdaService
from devstack.mosquitto import Mosquitto
from devstack.processes import wait_until
from tests.identity import faults_of, written_values
from tests.integration.aws_server import pretended
from tests.platform.brokers import bodies, rules_for
from tests.platform.conftest import ROOT
from tests.unit.rocketmq_remoting.scripted_broker import ScriptedCluster
from tests.unit.rocketmq_remoting.scripted_group import ScriptedGroup

EVENTS = ROOT / "tests" / "events"


@pytest.fixture
def service(
    host_build: HostBuild, scripted_rocketmq: ScriptedCluster, mosquitto: Mosquitto, tmp_path: Path
) -> Iterator[LambdaService]:
    (tmp_path / "rules.json").write_text(json.dumps(rules_for(scripted_rocketmq, mosquitto)))
    names = list(host_build.template.functions)
    with LambdaService([host_build.function(name, rules_layer=tmp_path) for name in names]) as running:
        yield running


def invoked(service: LambdaService, name: str, event: str) -> Any:
    answer = service.invoke(name, (EVENTS / event).read_bytes())
    assert not answer.is_error, answer.payload
    assert "Traceback" not in answer.log
    written = written_values(answer.log)
    assert sum(value for (metric, _), value in written.items() if metric == "mqbridge_events_received_total") > 0
    assert faults_of(written) == []
    return json.loads(answer.payload)


def test_outbound_stores_what_is_readable_and_dead_letters_the_rest(
    service: LambdaService, scripted_rocketmq: ScriptedCluster
) -> None:
    assert invoked(service, "Outbound", "outbound-sqs.json") == {"batchItemFailures": []}
    stored = bodies(scripted_rocketmq)
    assert stored["telemetry"] == [b'{"t": 21.5}']
    (letter,) = stored["mqbridge_dlq"]
    assert json.loads(letter)["messageId"] == "2e1424d4-f796-459a-8184-9c92662be6da"


def test_outflow_filters_and_stores(service: LambdaService, scripted_rocketmq: ScriptedCluster) -> None:
    assert invoked(service, "Outflow", "outflow-sqs.json") == {"batchItemFailures": []}
    assert sorted(bodies(scripted_rocketmq)["alarms"]) == [b'{"temperature": 81}', b'{"temperature": 93.50}']


def test_status_stores_notices(service: LambdaService, scripted_rocketmq: ScriptedCluster) -> None:
    assert invoked(service, "Status", "status-sqs.json")["batchItemFailures"] == []
    told = [json.loads(body) for body in bodies(scripted_rocketmq)["client_status"]]
    assert {each["clientId"] for each in told} == {"GID_sensor@@@d1"}


def test_inbound_publishes(service: LambdaService, arrived: queue.Queue[tuple[str, bytes]]) -> None:
    assert invoked(service, "Inbound", "inbound-sqs.json") == {"batchItemFailures": []}
    assert arrived.get(timeout=10) == ("devices/p2p/GID_a@@@d1", b"reboot")


def test_inbound_pulls_when_a_schedule_asks(
    service: LambdaService, scripted_rocketmq: ScriptedCluster, arrived: queue.Queue[tuple[str, bytes]]
) -> None:
    """The first pull of a group finds where the topic ends, so that old commands reach nobody; the next what came since."""
    group = ScriptedGroup(scripted_rocketmq.brokers["broker"], "GID_mqbridge_commands")
    group.add("old", topic="commands")
    first = service.invoke("Inbound", (EVENTS / "schedule-eventbridge.json").read_bytes())
    assert not first.is_error, first.payload
    assert json.loads(first.payload)["pulled"] == 0
    group.add("reboot", topic="commands", properties={"mqttSecondTopic": "/d1/command"})
    answer = service.invoke("Inbound", (EVENTS / "schedule-pull.json").read_bytes())
    summary = json.loads(answer.payload)
    assert (summary["pulled"], summary["delivered"], summary["left"]) == (1, 1, 0)
    assert arrived.get(timeout=10) == ("devices/d1/command", b"reboot")
    assert group.committed["commands", 0] == 2
    assert faults_of(written_values(answer.log)) == []


URL_EVENT = json.loads((EVENTS / "trigger-function-url-emqx.json").read_text())
SIGNED = {"authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/emqx"}}}
HAS_TOKEN = {"MQBRIDGE_HTTP_AUTH": "env:HTTP_TOKEN", "HTTP_TOKEN": "change-me"}


@pytest.mark.parametrize(
    ("variables", "who", "status"),
    [
        ({}, {}, 503),
        ({}, SIGNED, 200),
        (HAS_TOKEN, {}, 200),
        ({**HAS_TOKEN, "HTTP_TOKEN": "another"}, {}, 401),
        ({**HAS_TOKEN, "HTTP_TOKEN": "another"}, SIGNED, 401),
        ({"MQBRIDGE_HTTP_AUTH": "secretsmanager:mqbridge/http-token"}, {}, 503),  # there is no such secret here
    ],
    ids=["nothing set", "IAM", "token", "another token", "another token and IAM", "token out of reach"],
)
def test_a_url_lets_in_who_has_the_token_or_whom_iam_knows(
    host_build: HostBuild,
    scripted_rocketmq: ScriptedCluster,
    mosquitto: Mosquitto,
    tmp_path: Path,
    variables: dict[str, str],
    who: dict[str, Any],
    status: int,
) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(rules_for(scripted_rocketmq, mosquitto)))
    event = {**URL_EVENT, "requestContext": {**URL_EVENT["requestContext"], **who}}
    function = host_build.function("outbound", environment=variables, rules_layer=tmp_path)
    with LambdaService([function]) as service:
        answer = service.invoke("Outbound", json.dumps(event).encode())
    assert not answer.is_error, answer.payload
    assert json.loads(answer.payload)["statusCode"] == status
    assert bodies(scripted_rocketmq).get("telemetry", []) == ([b'{"t": 21.5}'] if status == 200 else [])


def test_a_broker_that_is_not_there_fails_every_record_and_no_invocation(
    host_build: HostBuild, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with ScriptedCluster("broker", topics={}) as gone:
        rules = rules_for(gone, mosquitto)
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    with LambdaService([host_build.function("outbound", rules_layer=tmp_path)]) as service:
        result = invoked(service, "Outbound", "outbound-sqs.json")
    assert len(result["batchItemFailures"]) == 2


def test_an_event_that_no_trigger_sends_is_an_error(service: LambdaService) -> None:
    answer = service.invoke("Outbound", b'{"what": "is this"}')
    assert answer.is_error
    assert json.loads(answer.payload)["errorType"] == "UnreadableEvent"


def test_faulty_rules_are_an_error_that_names_the_fault(host_build: HostBuild, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text('{"OutboundRules": [{"RuleId": 7}]}')
    with LambdaService([host_build.function("outbound", rules_layer=tmp_path)]) as service:
        answer = service.invoke("Outbound", (EVENTS / "outbound-sqs.json").read_bytes())
    assert answer.is_error
    assert json.loads(answer.payload)["errorType"] == "InvalidRules"


def test_the_command_runs_the_built_function_by_other_rules() -> None:
    """What `make invoke` runs. Nothing listens where the demo's brokers would."""
    command = [sys.executable, "-m", "devstack.lambda_service", "invoke", "outbound", "tests/events/outbound-sqs.json"]
    done = subprocess.run(
        [*command, "--rules", "examples/demo/rules.yaml"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["batchItemFailures"]) == 2
    assert "\nREPORT RequestId: " in done.stderr


def test_serving_ends_when_told_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "devstack.lambda_service", "serve", "--env", "HELLO=there"]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        assert line.startswith("stand-in for the Lambda service: http://127.0.0.1:")
        url = line.split()[-1]
        request = urllib.request.Request(
            f"{url}/2015-03-31/functions/Outbound/invocations", data=b'{"what": "is this"}'
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.headers["X-Amz-Function-Error"] == "Unhandled"
        serving.terminate()
        assert serving.wait(timeout=20) == 130
    assert list(tmp_path.iterdir()) == []


def test_serving_with_queues_invokes_the_functions_for_what_is_sent_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is published below `other`, so what is sent is dropped, and so deleted."""
    with pretended(monkeypatch) as aws:
        command = [sys.executable, "-m", "devstack.lambda_service", "serve", "--sqs", aws.url]
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout is not None
            lines = [serving.stdout.readline() for _ in range(6)]
            (url,) = [line.split()[0] for line in lines if line.endswith("/mqbridge-outbound -> Outbound\n")]
            sqs = boto3.session.Session().client("sqs", region_name="eu-central-1")
            names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"topic": "other/d1", "payload_b64": "AA=="}))

            def left() -> int:
                said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
                return sum(map(int, said.values()))

            assert left() == 1
            assert wait_until(lambda: left() == 0, timeout_s=30)
            serving.terminate()
            assert serving.wait(timeout=20) == 130


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nobody", "-"], "expected one of the functions outbound"), (["outbound", "no-such-file"], "no-such-file")],
)
def test_the_command_says_what_is_wrong(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devstack.lambda_service", "invoke", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert said in done.stderr
