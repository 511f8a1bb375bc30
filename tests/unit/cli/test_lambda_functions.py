"""mqbridge run --invoke lambda: its options, what Lambda's API says and what that means, and what the runner then knows."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions

from mqbridge.rules import load
from mqbridge.telemetry import Counters
from mqbridge_cli import invoke_arguments
from mqbridge_cli.main import _parser, main
from mqbridge_cli.runner.fleet import Fleet
from mqbridge_cli.runner.function_handler import FunctionHandler, NoAnswer, TooLarge, Unanswered, Unavailable
from mqbridge_cli.runner.holds import StateDirectory
from mqbridge_cli.runner.lambda_functions import InvokeSettings, LambdaFunction, LambdaFunctions
from mqbridge_cli.runner.rules_file import CannotRun
from mqbridge_cli.runner.task_report import task_entry
from mqbridge_cli.task_tables import list_text, show_text
from tests.unit.mqbridge.support import document, outbound_rule, streaming

# Options.


def settings(*options: str) -> InvokeSettings | None:
    return invoke_arguments.settings_of(_parser().parse_args(["run", "--rules", "r.yaml", *options]))


def test_without_invoke_everything_is_carried_out_here() -> None:
    assert settings() is None


def test_the_names_of_the_template_are_the_default() -> None:
    found = settings("--invoke", "lambda")
    assert found is not None
    assert found.names == {"inbound": "Inbound", "outbound": "Outbound", "outflow": "Outflow", "status": "Status"}
    assert (found.endpoint_url, found.timeout_s) == (None, 60.0)


def test_a_worker_is_told_what_its_supervisor_was() -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:a"
    options = ("--endpoint-url", "http://127.0.0.1:1", "--function-name", f"outbound={arn}", "--invoke-timeout", "90")
    found = settings("--invoke", "lambda", *options)
    assert found is not None
    assert found.names["outbound"] == arn
    assert settings(*found.arguments()) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--function-name", "outbound"], "expected FLOW=NAME with a flow of inbound, outbound, outflow, status"),
        (["--function-name", "other=f"], "expected FLOW=NAME"),
        (["--endpoint-url", "127.0.0.1:3001"], "expected http://... or https://..."),
        (["--invoke-timeout", "0"], "expected 1 to 1000 seconds, got '0'"),
        (["--invoke", "azure"], "invalid choice"),
    ],
)
def test_bad_usage(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--rules", "rules.yaml", "--invoke", "lambda", *options])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_an_option_that_goes_with_invoke_is_refused_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--rules", "rules.yaml", "--endpoint-url", "http://127.0.0.1:1"]) == 2
    assert "go with --invoke only" in capsys.readouterr().err


@pytest.fixture
def _no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("_no_aws")
def test_what_aws_needs_is_looked_for_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotRun, match="needs AWS_REGION"):
        LambdaFunctions(InvokeSettings())
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(CannotRun, match="needs AWS credentials"):
        LambdaFunctions(InvokeSettings())


def test_a_runner_without_functions_does_without_boto3() -> None:
    script = "import sys, mqbridge_cli.runner.command; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


# What Lambda's API says.


class _Client:
    """Answers as boto3's client does."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer

    def invoke(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def refusal(status: int, code: str) -> exceptions.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "the session token"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return exceptions.ClientError(response, "Invoke")


def invoked(answer: dict[str, Any] | Exception) -> bytes:
    client: Any = _Client(answer)
    try:
        return LambdaFunction(client, "Outbound")(b"[]")
    finally:
        assert client.asked == [{"FunctionName": "Outbound", "InvocationType": "RequestResponse", "Payload": b"[]"}]


def test_the_answer_is_what_the_function_returned() -> None:
    assert invoked({"StatusCode": 200, "Payload": io.BytesIO(b"null")}) == b"null"


ENDPOINT = {"endpoint_url": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (refusal(429, "TooManyRequestsException"), Unavailable, "throttled"),
        (refusal(413, "RequestTooLargeException"), TooLarge, "too_large"),
        (refusal(404, "ResourceNotFoundException"), Unavailable, "refused"),
        (refusal(403, "AccessDeniedException"), Unavailable, "refused"),
        (refusal(500, "ServiceException"), Unavailable, "service_error"),
        (exceptions.NoCredentialsError(), Unavailable, "refused"),
        (exceptions.EndpointConnectionError(**ENDPOINT), Unavailable, "unreachable"),
        (exceptions.ConnectTimeoutError(**ENDPOINT), Unavailable, "unreachable"),
        (exceptions.ReadTimeoutError(**ENDPOINT), NoAnswer, "no_answer"),
        (exceptions.ConnectionClosedError(**ENDPOINT), NoAnswer, "no_answer"),
    ],
)
def test_what_is_no_answer(error: Exception, kind: type[Unanswered], reason: str) -> None:
    with pytest.raises(Unanswered) as raised:
        invoked(error)
    assert type(raised.value) is kind
    assert raised.value.reason == reason
    assert str(raised.value).startswith("Outbound: ")
    assert "token" not in str(raised.value)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}, "Sandbox.Timedout: Task timed out"),
        ({"errorType": "ValueError", "errorMessage": "x" * 1000}, "ValueError: xxx"),
        ("text", "an error that does not say what it is"),
    ],
)
def test_what_the_function_raises_is_no_answer(payload: Any, said: str) -> None:
    answer = {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(payload).encode())}
    with pytest.raises(Unanswered, match=f"^Outbound: {said}") as raised:
        invoked(answer)
    assert (type(raised.value), raised.value.reason) == (Unanswered, "function_error")
    assert len(str(raised.value)) < 400


# What the runner knows of a rule that a function carries out.


class _Functions:
    def handler(self, flow: str, rule: str, counters: Counters) -> FunctionHandler:
        return FunctionHandler(flow, rule, lambda _request: b'{"batchItemFailures": []}', counters)


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[Fleet, Counters]:
    """A task and a data rule whose RocketMQ keys are nowhere here: only the function needs them."""
    sections = document(OutboundRules=[outbound_rule("out")], EventStreamings=[streaming(name="hot")])
    sections["Instances"]["RocketMQ"][0] |= {"AccessKey": "env:NOT_HERE", "SecretKey": "env:NOT_HERE"}
    counters = Counters()
    holds = StateDirectory(tmp_path / "state", "rules.yaml")
    return Fleet(load(sections), counters, holds, functions=_Functions()), counters


def test_series_are_of_what_the_runner_knows(fleet: tuple[Fleet, Counters]) -> None:
    outcomes = {dict(labels)["outcome"] for (name, labels) in fleet[1].snapshot() if name == "mqbridge_records_total"}
    assert outcomes == {"settled", "failed"}


def test_a_task_does_not_tell_what_only_its_function_knows(fleet: tuple[Fleet, Counters]) -> None:
    lives, counters = fleet
    life = lives.task("hot")
    assert life is not None
    counters.add("mqbridge_records_total", 3, flow="outflow", rule="hot", outcome="settled")
    entry = task_entry(life, counters, "hash")
    assert entry["counters"] == {
        "received": 0,
        "settled": 3,
        "delivered": None,
        "dropped": None,
        "dead_lettered": None,
        "discarded": None,
        "failed": 0,
    }
    assert "records:    0 received, 3 settled, 0 failed\n" in show_text(entry)
    assert list_text([entry]).splitlines()[1].split()[2:8] == ["0", "-", "-", "-", "-", "0"]
