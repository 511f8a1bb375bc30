"""Function: what a function of the deployment may return and raise, in Python and on Lambda, and which functions can be called at all."""

import datetime
import io
import json
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given

from mqbridge.cleanse import (
    InvalidOperator,
    LambdaAnswer,
    Operator,
    PythonFunction,
    RealOutside,
    Rejected,
    Unavailable,
    outside,
)
from mqbridge.cleanse.json_values import NotJson, copied
from mqbridge.events import TaskEvent
from tests.unit.mqbridge.support import quick
from tests.unit.mqbridge.test_cleanse import FakeOutside, Json, bodies, event_of, faults_of, operator
from tests.unit.mqbridge.test_cleanse_laws import values

PYTHON = "python:transforms.readings:clean"
LAMBDA = "arn:aws:lambda:eu-central-1:123456789012:function:clean:live"


def calling(function: Callable[[Any], Any]) -> Operator:
    """Return the operator that calls this function, in Python."""
    return operator(FakeOutside(functions={"transforms.readings:clean": function}), Function={"Arn": PYTHON})


def invoking(function: Callable[[Any], Any]) -> Operator:
    """Return the operator that calls this function, as if it were on Lambda."""

    def answer(payload: bytes) -> LambdaAnswer:
        return LambdaAnswer(payload=json.dumps(function(json.loads(payload))).encode())

    return operator(FakeOutside(lambdas={LAMBDA: answer}), Function={"Arn": LAMBDA})


EITHER = pytest.mark.parametrize("made", [calling, invoking])
Made = Callable[[Callable[[Any], Any]], Operator]


def with_body(event: Json, body: Json) -> Json:
    return {**event, "data": {**event["data"], "body": body}}


def rejected(made: Operator, event: TaskEvent | None = None) -> Rejected:
    with pytest.raises(Rejected) as raised:
        made.apply(event or event_of({"t": 1}))
    return raised.value


# What it may return.


@EITHER
def test_nothing_drops_an_object_replaces_and_a_list_splits(made: Made) -> None:
    event = event_of({"t": 1}, part="3", topics=("x",))
    assert list(made(lambda _: None).apply(event)) == []
    (after,) = made(lambda event: with_body(event, "new")).apply(event)
    assert (bodies([after]), after.part, after.topics, after.payload) == (["new"], "3", ("x",), None)
    several = made(lambda event: [with_body(event, "a"), with_body(event, "b")]).apply(event)
    assert bodies(several) == ["a", "b"]
    assert [each.part for each in several] == ["3.0", "3.1"]
    assert list(made(lambda _: []).apply(event)) == []


@EITHER
def test_it_is_given_the_whole_event(made: Made) -> None:
    (after,) = made(lambda event: {"data": {"seen": event}}).apply(event_of({"t": 1}))
    assert after.value["data"]["seen"] == event_of({"t": 1}).value


@EITHER
@pytest.mark.parametrize(
    ("body", "after", "is_kept"),
    [({"t": 1}, {"t": 1}, True), ({"t": 1}, {"t": 1.0}, False), ({"t": 1}, {"t": True}, False), ("a", "b", False)],
    ids=str,
)
def test_the_payload_as_published_counts_if_the_body_is_the_same(
    made: Made, body: Json, after: Json, is_kept: bool
) -> None:
    (changed,) = made(lambda event: {**with_body(event, after), "subject": "new"}).apply(event_of(body))
    assert changed.payload == (b"as published" if is_kept else None)


def test_an_event_without_a_body_has_no_payload_of_its_own() -> None:
    (after,) = calling(lambda _: {"data": 7}).apply(event_of({"t": 1}))
    assert (after.value, after.payload) == ({"data": 7}, None)


class Level(IntEnum):
    HIGH = 3


class Name(StrEnum):
    HALL = "hall"


def test_values_that_are_as_good_as_json_are_made_json() -> None:
    (after,) = calling(lambda event: with_body(event, {Name.HALL: (Level.HIGH, Name.HALL)})).apply(event_of(0))
    assert json.dumps(after.value["data"]["body"]) == '{"hall": [3, "hall"]}'
    assert type(after.value["data"]["body"]["hall"][0]) is int


JUNK: list[tuple[Json, str]] = [
    ("text", "expected an event, which is an object, got text"),
    (7, "expected an event, which is an object, got a number"),
    (True, "expected an event, which is an object, got true or false"),
    ({}, "expected an event, which has data, got an object without"),
    ({"body": 1}, "expected an event, which has data, got an object without"),
    ([None], "expected an event, which is an object, got null"),
    ([[]], "expected an event, which is an object, got an array"),
    ([{"data": 1}, {}], "expected an event, which has data, got an object without"),
    ([{"data": 1}] * 10_001, "expected at most 10000 events, got 10001"),
]


@EITHER
@pytest.mark.parametrize(("answer", "words"), JUNK, ids=[words for _, words in JUNK])
def test_what_is_no_event_is_junk(made: Made, answer: Json, words: str) -> None:
    error = rejected(made(lambda _: answer))
    assert error.reason == "function_returned_junk"
    assert error.detail.endswith(words)
    assert error.detail.startswith((PYTHON, LAMBDA))


DAY = datetime.date(2026, 1, 1)
NOT_JSON: list[tuple[Any, str]] = [
    ({"when": DAY}, "$.data.body.when: expected a JSON value, got a date"),
    ([1, {"x": {1, 2}}], "$.data.body[1].x: expected a JSON value, got a set"),
    (b"bytes", "$.data.body: expected a JSON value, got a bytes"),
    ({7: 1}, "$.data.body: expected a JSON value, got an object with a int as a name"),
    (float("nan"), "$.data.body: expected a JSON value, got a number that is infinite, or none"),
    (float("-inf"), "$.data.body: expected a JSON value, got a number that is infinite, or none"),
    ("\ud800", "$.data.body: expected a JSON value, got text with a lone surrogate"),
    ({"what was published": DAY}, "$.data.body[...]: expected a JSON value, got a date"),
]


@pytest.mark.parametrize(("body", "words"), NOT_JSON, ids=[words for _, words in NOT_JSON])
def test_what_is_no_json_is_junk_and_its_place_is_told(body: Any, words: str) -> None:
    error = rejected(calling(lambda event: with_body(event, body)))
    assert (error.reason, error.detail) == ("function_returned_junk", f"{PYTHON}: {words}")


def test_an_answer_within_itself_is_junk() -> None:
    def circle(event: Json) -> Json:
        event["data"]["body"] = event
        return event

    assert rejected(calling(circle)).reason == "function_returned_junk"


def test_a_generator_is_junk() -> None:
    assert rejected(calling(lambda event: (each for each in [event]))).detail.endswith("got an object")


# What it cannot do to the bridge.


def test_what_it_does_to_its_event_and_to_what_it_returned_changes_nothing_here() -> None:
    kept: list[Json] = []

    def careless(event: Json) -> Json:
        kept.append(event)
        answer = with_body(event, event["data"]["body"])
        event["data"]["props"]["clientId"] = "spoilt"
        kept.append(answer)
        return answer

    event = event_of({"t": [1]})
    (after,) = calling(careless).apply(event)
    for each in kept:
        each["data"]["body"]["t"].append("spoilt")
        each.clear()
    assert event.value["data"]["props"]["clientId"] == "d1"
    assert (event.value["data"]["body"], after.value["data"]["body"]) == ({"t": [1]}, {"t": [1]})


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    "error", [OwnError("quotes 13812345678"), KeyError("13812345678"), RecursionError(), MemoryError(), SystemExit(3)]
)
def test_what_it_raises_is_the_event_s_fault_and_only_its_type_is_told(error: BaseException) -> None:
    def fail(_: Json) -> Json:
        raise error

    told = rejected(calling(fail))
    assert (told.reason, told.detail) == ("function_failed", f"{PYTHON}: {type(error).__name__}")
    assert told.__cause__ is None
    assert told.__suppress_context__


def test_it_can_ask_to_be_called_again_later() -> None:
    def busy(_: Json) -> Json:
        raise Unavailable("my_own_word", "quotes 13812345678")

    with pytest.raises(Unavailable) as raised:
        calling(busy).apply(event_of(1))
    assert (raised.value.reason, raised.value.detail) == (
        "function_unavailable",
        f"{PYTHON}: asked to be called again later",
    )


def test_an_interrupt_is_not_held_up() -> None:
    def interrupted(_: Json) -> Json:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calling(interrupted).apply(event_of(1))


def test_an_event_that_is_no_json_is_not_handed_over() -> None:
    """Only an operator with a defect could make one."""
    event = event_of({"when": DAY})
    with pytest.raises(Rejected) as raised:
        calling(lambda event: event).apply(event)
    assert raised.value.reason == "not_json"


@given(values)
@quick
def test_a_copy_is_equal_and_shares_nothing(value: Json) -> None:
    copy = copied(value)
    assert json.dumps(copy) == json.dumps(value)

    def containers(value: Json) -> Iterator[int]:
        if isinstance(value, dict | list):
            yield id(value)
            for each in value.values() if isinstance(value, dict) else value:
                yield from containers(each)

    assert not set(containers(copy)) & set(containers(value))


def test_a_copy_of_what_is_nested_too_deeply_is_none() -> None:
    deep: Json = []
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(NotJson, match="nested too deeply"):
        copied(deep)


# Which functions there are.


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package `transforms` of a deployment, to put modules into."""
    package = tmp_path / "transforms"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "transforms"]:
        del sys.modules[name]


def apply_real(arn: str) -> Json:
    return bodies(operator(RealOutside(), Function={"Arn": arn}).apply(event_of({"t": 1})))


def test_functions_of_the_package_are_found_at_any_depth(shipped: Path) -> None:
    (shipped / "readings.py").write_text("def clean(event):\n    return {'data': {'body': 'outer'}}\n")
    (shipped / "inner" / "more.py").write_text("clean = lambda event: {'data': {'body': 'inner'}}\n")
    assert apply_real("python:transforms.readings:clean") == ["outer"]
    assert apply_real("python:transforms.inner.more:clean") == ["inner"]


@pytest.mark.parametrize(
    ("text", "arn", "words"),
    [
        ("", "python:transforms.gone:clean", "ModuleNotFoundError"),
        ("", "python:transforms.readings:gone", "AttributeError"),
        ("clean = 7\n", "python:transforms.readings:clean", "expected a callable, got another object"),
        ("def clean(:\n", "python:transforms.readings:clean", "SyntaxError"),
        ("1 / 0\n", "python:transforms.readings:clean", "ZeroDivisionError"),
        ("import sys; sys.exit()\n", "python:transforms.readings:clean", "SystemExit"),
    ],
)
def test_a_function_that_is_not_there_may_be_there_after_the_next_deployment(
    shipped: Path, text: str, arn: str, words: str
) -> None:
    (shipped / "readings.py").write_text(text)
    with pytest.raises(Unavailable) as raised:
        apply_real(arn)
    assert (raised.value.reason, raised.value.detail) == ("function_unavailable", f"{arn}: {words}")


@pytest.mark.parametrize(
    "arn",
    [
        "python:os:system",
        "python:transforms:clean",
        "python:transforms.a",
        "python:transforms.a:",
        "python:transforms.a:b.c",
        "python:transforms..a:b",
        "python:transforms.a-b:c",
        "python:transforms.a:b\n",
        "python:transforms/../os:system",
        "python:transformsx.a:b",
        "python:transforms.ü:b",
        "arn:aws:lambda:eu-central-1:123456789012:function",
        "arn:aws:sqs:eu-central-1:123456789012:queue",
        "arn:aws:lambda:eu-central-1:1234:function:a",
        "arn:aws:lambda:eu/../-1:123456789012:function:a",
        "",
    ],
)
def test_other_addresses_are_refused_when_they_are_loaded(arn: str) -> None:
    for declared in ({"Function": {"Arn": arn}}, {"Arn": arn}):
        ((fault,), operators) = (faults_of([declared])[1], faults_of([declared])[0])
        assert " MB104 [0]." in fault
        assert operators == ()
    if arn.startswith("python:"):
        with pytest.raises(InvalidOperator):
            PythonFunction(arn, RealOutside())


def test_functions_of_function_compute_are_refused_with_the_reason() -> None:
    arn = "acs:fc:cn-hangzhou:1:services/s.LATEST/functions/f"
    for declared in ({"Function": {"Arn": arn}}, {"Arn": arn}):
        (fault,) = faults_of([declared])[1]
        assert " MB106 " in fault
        assert "only the managed service calls functions of Function Compute" in fault


def test_ai_transforms_are_refused_with_the_reason_and_their_keys_are_not_shown() -> None:
    for name in ("BaiLianAgentTransformParameters", "DashScopeTransformParameters", "EmbeddingTransformParameters"):
        (fault,) = faults_of([{name: {"ApiKey": "planted-s3cr3t"}}])[1]
        assert f" MB106 [0].{name}: expected a Function that calls the model" in fault
        assert "s3cr3t" not in fault


def test_the_api_s_own_spelling_is_a_function() -> None:
    (made,) = faults_of([{"Arn": PYTHON}], FakeOutside(functions={"transforms.readings:clean": lambda _: None}))[0]
    assert made.name == "Function"
    assert list(made.apply(event_of(1))) == []


# Lambda.


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b'{"errorType": "KeyError", "errorMessage": "quotes 13812345678"}', "function_failed", "KeyError"),
        (b'{"errorType": "Runtime.ExitError"}', "function_failed", "Runtime.ExitError"),
        (b'{"errorType": "a text that quotes 138"}', "function_failed", "it says no error type"),
        (b'{"errorType": 7}', "function_failed", "it says no error type"),
        (b"[]", "function_failed", "it says no error type"),
        (b"no json", "function_failed", "it says no error type"),
    ],
)
def test_a_lambda_function_that_failed_rejects_and_only_the_type_is_told(
    payload: bytes, reason: str, detail: str
) -> None:
    world = FakeOutside(lambdas={LAMBDA: lambda _: LambdaAnswer(payload=payload, is_failure=True)})
    error = rejected(operator(world, Function={"Arn": LAMBDA}))
    assert (error.reason, error.detail) == (reason, f"{LAMBDA}: {detail}")


def test_a_lambda_function_that_timed_out_is_asked_again_later() -> None:
    payload = b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 1 Error: Task timed out after 3.00 seconds"}'
    world = FakeOutside(lambdas={LAMBDA: lambda _: LambdaAnswer(payload=payload, is_failure=True)})
    with pytest.raises(Unavailable) as raised:
        operator(world, Function={"Arn": LAMBDA}).apply(event_of(1))
    assert (raised.value.reason, raised.value.detail) == ("function_unavailable", f"{LAMBDA}: Sandbox.Timedout")


@pytest.mark.parametrize("payload", [b"", b"text", b'{"data": NaN}', b"\xff"])
def test_a_lambda_s_answer_that_is_no_json_is_junk(payload: bytes) -> None:
    world = FakeOutside(lambdas={LAMBDA: lambda _: LambdaAnswer(payload=payload)})
    error = rejected(operator(world, Function={"Arn": LAMBDA}))
    assert error.reason == "function_returned_junk"
    assert "expected JSON, got other text" in error.detail


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Lambda as botocore has it, with answers of the test's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("lambda", region_name="eu-central-1", config=Config(retries={"total_max_attempts": 1}))
    monkeypatch.setitem(outside._clients, ("lambda", "eu-central-1"), client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def answer(payload: bytes, **more: str) -> dict[str, Any]:
    return {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(payload), len(payload)), **more}


def test_a_lambda_function_is_invoked_and_waited_for(stubbed: Stubber) -> None:
    expected = {
        "FunctionName": LAMBDA,
        "InvocationType": "RequestResponse",
        "Payload": json.dumps(event_of({"t": 1}).value, separators=(",", ":")).encode(),
    }
    stubbed.add_response("invoke", answer(b'{"data": {"body": "new"}}'), expected)
    assert apply_real(LAMBDA) == ["new"]
    stubbed.add_response("invoke", answer(b'{"errorType": "KeyError"}', FunctionError="Unhandled"))
    with pytest.raises(Rejected, match="KeyError"):
        apply_real(LAMBDA)


@pytest.mark.parametrize(
    ("code", "status", "outcome", "reason"),
    [
        ("TooManyRequestsException", 429, Unavailable, "function_unavailable"),
        ("ServiceException", 500, Unavailable, "function_unavailable"),
        ("ResourceNotFoundException", 404, Unavailable, "function_unavailable"),
        ("AccessDeniedException", 403, Unavailable, "function_unavailable"),
        ("RequestTooLargeException", 413, Rejected, "function_refused"),
        ("InvalidRequestContentException", 400, Rejected, "function_refused"),
    ],
)
def test_what_aws_answers_is_the_event_s_fault_or_may_pass(
    stubbed: Stubber, code: str, status: int, outcome: type[Exception], reason: str
) -> None:
    stubbed.add_client_error("invoke", code, "quotes the token", status)
    with pytest.raises(outcome) as raised:
        apply_real(LAMBDA)
    assert str(raised.value) == f"{reason}: {LAMBDA}: AWS answered {code}"


def test_a_network_that_is_down_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down:
        def invoke(self, **_: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="https://lambda.example")

    monkeypatch.setitem(outside._clients, ("lambda", "eu-central-1"), Down())
    with pytest.raises(Unavailable) as raised:
        apply_real(LAMBDA)
    assert raised.value.detail == f"{LAMBDA}: AWS cannot be asked: EndpointConnectionError"


def test_clients_wait_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_clients", {})
    dynamodb, invoker = outside._dynamodb("eu-central-1"), outside._lambda("eu-central-1")
    assert outside._dynamodb("eu-central-1") is dynamodb
    config: Any = dynamodb.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (1.0, 1.0, 2)
    config = invoker.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (1.0, 30.0, 1)
