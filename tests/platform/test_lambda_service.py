"""The stand-in for the Lambda service answers as the service does: to boto3, with functions that misbehave."""

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from devstack.lambda_service import Function, HostBuild, LambdaService
from devstack.processes import wait_until

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

MB = 1024 * 1024

MODULE = """
import os, sys, time, pathlib

loads = 0

def echo(event, context):
    global loads
    loads += 1
    print("a line of its own")
    return {
        "event": event, "calls": loads, "pid": os.getpid(), "left_ms": context.get_remaining_time_in_millis(),
        "name": context.function_name, "arn": context.invoked_function_arn, "id": context.aws_request_id,
        "memory": context.memory_limit_in_mb,
    }

def raises(event, context):
    raise ValueError("as told")

def exits(event, context):
    os._exit(3)

def hangs(event, context):
    time.sleep(60)

def waits(event, context):
    pathlib.Path(event["until"] + ".begun-" + context.aws_request_id).touch()
    until = time.monotonic() + 20
    while not pathlib.Path(event["until"]).exists() and time.monotonic() < until:
        time.sleep(0.01)

def large(event, context):
    return "x" * event["bytes"]

def third_time(event, context):
    with open(event["path"], "a") as noted:
        noted.write(context.aws_request_id + chr(10))
    if len(pathlib.Path(event["path"]).read_text().splitlines()) < 3:
        raise RuntimeError("not yet")

def surroundings(event, context):
    return {"environment": dict(os.environ), "path": sys.path, "cwd": os.getcwd()}

def imports(event, context):
    return [each for each in event if __import__("importlib.util").util.find_spec(each)]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, host_build: HostBuild) -> Iterator[LambdaService]:
    task = tmp_path_factory.mktemp("task")
    (task / "app.py").write_text(MODULE)
    (task / "broken.py").write_text("import a_module_that_nobody_ships")
    (task / "ends.py").write_text("raise SystemExit(4)")
    layer = tmp_path_factory.mktemp("layer")
    (layer / "settings.json").write_text("{}")

    def function(name: str, handler: str = "", **more: Any) -> Function:
        options = {"timeout_s": 10.0, "runtime": host_build.runtime(), "layers": (layer,), **more}
        return Function(name=name, handler=handler or f"app.{name}", task=task, **options)

    functions = [
        *(function(name) for name in ("echo", "raises", "exits", "large", "third_time", "imports")),
        function("hangs", timeout_s=0.3),
        function("waits", concurrency=2),
        function("broken", "broken.handler"),
        function("ends", "ends.handler"),
        function("missing", "app.nobody"),
        function("surroundings", environment={"OWN": "value", "RULES": "/opt/settings.json"}, memory_mb=256),
    ]
    with LambdaService(functions, retry_delays_s=(0.01, 0.01)) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: LambdaService) -> "LambdaClient":
    return boto3.session.Session().client(
        "lambda",
        endpoint_url=service.url,
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )


def called(client: "LambdaClient", name: str, event: Any = None, **more: Any) -> tuple[Any, str | None]:
    """Return the result of a function, and its FunctionError."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **more)
    assert answer["StatusCode"] == 200
    return json.loads(answer["Payload"].read()), answer.get("FunctionError")


def test_a_function_gets_event_and_context_and_its_result_comes_back(client: "LambdaClient") -> None:
    result, error = called(client, "echo", {"a": ["ä", 1.5]})
    assert error is None
    assert result["event"] == {"a": ["ä", 1.5]}
    assert result["name"] == "echo"
    assert result["arn"] == "arn:aws:lambda:eu-central-1:123456789012:function:echo"
    assert 5_000 < result["left_ms"] <= 10_000
    assert result["memory"] == "128"


def test_an_environment_is_used_again(client: "LambdaClient") -> None:
    first, _ = called(client, "echo")
    second, _ = called(client, "echo")
    assert second["pid"] == first["pid"]
    assert second["calls"] == first["calls"] + 1
    assert second["id"] != first["id"]


@pytest.mark.parametrize(
    "name", ["echo:$LATEST", "arn:aws:lambda:eu-central-1:123456789012:function:echo", "123456789012:function:echo"]
)
def test_a_function_has_several_names(client: "LambdaClient", name: str) -> None:
    assert called(client, name)[0]["name"] == "echo"


def test_nothing_as_the_event_is_an_empty_object(client: "LambdaClient") -> None:
    assert json.loads(client.invoke(FunctionName="echo")["Payload"].read())["event"] == {}


def test_the_tail_of_the_log_comes_along_if_asked_for(client: "LambdaClient") -> None:
    answer = client.invoke(FunctionName="echo", LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert log.startswith(f"START RequestId: {request_id}")
    assert "\na line of its own\n" in log
    assert f"REPORT RequestId: {request_id}\tDuration: " in log
    assert "LogResult" not in client.invoke(FunctionName="echo")


def test_what_a_function_raises_is_an_error_of_the_function(client: "LambdaClient") -> None:
    result, error = called(client, "raises")
    assert error == "Unhandled"
    assert (result["errorType"], result["errorMessage"]) == ("ValueError", "as told")
    assert result["stackTrace"]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("broken", "Runtime.ImportModuleError", "a_module_that_nobody_ships"),
        ("missing", "Runtime.HandlerNotFound", "nobody"),
        ("exits", "Runtime.ExitError", "exit status 3"),
        ("ends", "Runtime.ExitError", "exit status 4"),
        ("hangs", "Sandbox.Timedout", "Task timed out after 0.30 seconds"),
    ],
)
def test_a_process_that_fails_is_an_error_and_the_next_call_gets_a_new_one(
    client: "LambdaClient", name: str, kind: str, message: str
) -> None:
    for _ in range(2):
        result, error = called(client, name)
        assert error == "Unhandled"
        assert result["errorType"] == kind
        assert message in result["errorMessage"]


def test_more_calls_at_once_than_the_function_s_concurrency_are_throttled(
    client: "LambdaClient", tmp_path: Path
) -> None:
    until = tmp_path / "go-on"
    event = {"until": str(until)}
    results: list[Any] = []
    running = [threading.Thread(target=lambda: results.append(called(client, "waits", event))) for _ in range(2)]
    for each in running:
        each.start()
    assert wait_until(lambda: len(list(tmp_path.glob("go-on.begun-*"))) == 2, timeout_s=20)
    with pytest.raises(ClientError) as refused:
        called(client, "waits", event)
    until.touch()
    for each in running:
        each.join(20)
    assert results == [(None, None)] * 2
    assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert called(client, "waits", event) == (None, None)


def test_an_event_of_six_megabytes_is_taken_and_a_byte_more_is_not(client: "LambdaClient") -> None:
    most = b'"' + b"x" * (6 * MB - 2) + b'"'
    answer = client.invoke(FunctionName="raises", Payload=most)
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName="raises", Payload=most + b" ")
    assert refused.value.response["Error"]["Code"] == "RequestTooLargeException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_result_of_more_than_six_megabytes_is_an_error_of_the_function(client: "LambdaClient") -> None:
    assert called(client, "large", {"bytes": 6 * MB})[1] is None
    result, error = called(client, "large", {"bytes": 6 * MB + 200})
    assert error == "Unhandled"
    assert result["errorType"] == "Function.ResponseSizeTooLarge"
    assert called(client, "large", {"bytes": 10})[0] == "x" * 10


@pytest.mark.parametrize(
    ("name", "payload", "kind", "status"),
    [
        ("nobody", b"{}", "ResourceNotFoundException", 404),
        ("echo", b"{not JSON", "InvalidRequestContentException", 400),
    ],
)
def test_what_cannot_be_invoked_is_refused(
    client: "LambdaClient", name: str, payload: bytes, kind: str, status: int
) -> None:
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=name, Payload=payload)
    assert refused.value.response["Error"]["Code"] == kind
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_dry_run_invokes_nothing(client: "LambdaClient") -> None:
    assert client.invoke(FunctionName="exits", InvocationType="DryRun")["StatusCode"] == 204


def test_an_asynchronous_event_is_tried_three_times_with_the_same_id(client: "LambdaClient", tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    answer = client.invoke(FunctionName="third_time", InvocationType="Event", Payload=json.dumps({"path": str(path)}))
    assert answer["StatusCode"] == 202
    assert wait_until(lambda: path.exists() and path.read_text().count("\n") == 3, timeout_s=20)
    assert set(path.read_text().split()) == {answer["ResponseMetadata"]["RequestId"]}


def test_an_asynchronous_event_that_never_works_ends_in_the_destination_of_failures(
    client: "LambdaClient", service: LambdaService
) -> None:
    assert client.invoke(FunctionName="raises", InvocationType="Event", Payload=b'{"n":1}')["StatusCode"] == 202
    assert wait_until(lambda: len(service.dead) == 1, timeout_s=20)
    assert service.dead[0].payload == b'{"n":1}'
    assert [json.loads(each.payload)["errorMessage"] for each in service.dead[0].answers] == ["as told"] * 3


def test_an_asynchronous_event_of_more_than_a_megabyte_is_refused(client: "LambdaClient") -> None:
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName="raises", InvocationType="Event", Payload=b'"' + b"x" * MB + b'"')
    assert refused.value.response["Error"]["Code"] == "RequestTooLargeException"


def test_a_function_sees_lambda_s_environment_and_its_own_and_nothing_of_ours(
    client: "LambdaClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    result, _ = called(client, "surroundings")
    environment = result["environment"]
    assert "HOME" not in environment
    assert "SECRET_OF_OURS" not in environment
    assert environment["OWN"] == "value"
    assert environment["RULES"].endswith("/settings.json")
    assert Path(environment["RULES"]).exists()  # what would be in /opt
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_REGION"] == "eu-central-1"
    assert result["cwd"] == environment["LAMBDA_TASK_ROOT"]
    assert not [place for place in result["path"] if "site-packages" in place]


def test_a_function_can_import_what_the_managed_runtime_has_and_no_development_package(
    client: "LambdaClient",
) -> None:
    there, _ = called(client, "imports", ["boto3", "awslambdaric", "pytest", "yaml", "moto", "msgspec", "mqbridge"])
    assert there == ["boto3", "awslambdaric"]


def test_a_service_that_is_stopped_hangs_up(tmp_path: Path, host_build: HostBuild) -> None:
    (tmp_path / "app.py").write_text(MODULE)
    function = Function(name="echo", handler="app.echo", task=tmp_path, runtime=host_build.runtime())
    with LambdaService([function]) as service:
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=5)
        connection.request("POST", "/2015-03-31/functions/echo/invocations", b"{}")
        assert connection.getresponse().read()
    assert connection.sock.recv(1) == b"", "the connection is at its end"
    connection.close()


def test_the_service_ends_the_processes_that_it_started(tmp_path: Path, host_build: HostBuild) -> None:
    (tmp_path / "app.py").write_text(MODULE)
    function = Function(name="echo", handler="app.echo", task=tmp_path, runtime=host_build.runtime())
    with LambdaService([function]) as service:
        pid = json.loads(service.invoke("echo", b"{}").payload)["pid"]
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
