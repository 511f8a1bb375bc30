"""Metrics of functions: what CloudWatch gets is what an invocation changed, and nobody else gets it."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.inbound.app import handler
from mqbridge.handler import Bridge, using
from mqbridge.outcomes import Delivered, Failed
from mqbridge.telemetry import METRICS, Counters, FunctionTelemetry, logger
from mqbridge.telemetry.emf import MAX_VALUES, NAMESPACE, Emf
from tests.unit.mqbridge.support import both_ways
from tests.unit.mqbridge.test_accounts import _event, _Sinks

Output = pytest.CaptureFixture[str]


class _StandardOutput(io.StringIO):
    """Whatever it is at the moment."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)


@pytest.fixture(autouse=True)
def _log_is_captured() -> Iterator[None]:
    """The logger writes to the standard output that it found when it was made; here it writes to each test's."""
    handler = logger().registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before, handler.stream = handler.stream, _StandardOutput()
    yield
    handler.stream = before


def blobs(output: Output) -> list[dict[str, Any]]:
    """Return the lines of EMF that were written; each has to be a complete document of CloudWatch's specification."""
    found = [json.loads(line) for line in output.readouterr().out.splitlines()]
    found = [each for each in found if "_aws" in each]
    for blob in found:
        assert blob["_aws"]["Timestamp"] > 1_700_000_000_000
        (directive,) = blob["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        (dimensions,) = directive["Dimensions"]
        assert len(dimensions) <= 30
        assert all(isinstance(blob[name], str) and blob[name].strip() and blob[name].isascii() for name in dimensions)
        assert 0 < len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert metric["Unit"] == METRICS[metric["Name"]].unit
            assert 0 < len(blob[metric["Name"]]) <= 100
        named = {metric["Name"] for metric in directive["Metrics"]}
        assert set(blob) == {"_aws", *dimensions, *named}
        for name in named:
            assert set(dimensions) - {"service"} in [set(METRICS[name].labels), *map(set, METRICS[name].sums)]
    return found


def sums(output: Output, name: str) -> dict[tuple[str, ...], float]:
    """Return what was written of a metric, by the values of its dimensions without the service."""
    found: dict[tuple[str, ...], float] = {}
    for blob in blobs(output):
        (names,) = blob["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
        if name in blob:
            key = tuple(blob[each] for each in names if each != "service")
            assert key not in found, "one line for each set of dimensions"
            found[key] = sum(blob[name])
    return found


def test_what_was_added_is_written_once(capsys: Output) -> None:
    counters = Counters()
    emf = Emf(counters)
    labels = {"flow": "inbound", "rule": "commands", "outcome": "delivered"}
    counters.add("mqbridge_records_total", 3, **labels)
    emf.write()
    assert sums(capsys, "mqbridge_records_total") == {
        ("inbound", "commands", "delivered"): 3,
        ("inbound", "delivered"): 3,
    }
    counters.add("mqbridge_records_total", 0, **labels)
    emf.write()
    assert blobs(capsys) == []
    counters.add("mqbridge_records_total", 2, **labels)
    counters.add("mqbridge_records_total", 5, **{**labels, "rule": "others"})
    emf.write()
    assert sums(capsys, "mqbridge_records_total") == {
        ("inbound", "commands", "delivered"): 2,
        ("inbound", "others", "delivered"): 5,
        ("inbound", "delivered"): 7,
    }


def test_more_series_than_a_line_takes_are_summed_in_one(capsys: Output) -> None:
    counters = Counters()
    for number in range(150):
        counters.add("mqbridge_records_total", flow="inbound", rule=f"r{number}", outcome="failed")
    Emf(counters).write()
    found = sums(capsys, "mqbridge_records_total")
    assert len(found) == 151
    assert found["inbound", "failed"] == 150


def test_gauges_are_the_runner_s(capsys: Output) -> None:
    counters = Counters()
    counters.add("mqbridge_records_in_flight", 3, flow="inbound", rule="commands")
    Emf(counters).write()
    assert blobs(capsys) == []


def test_what_cloudwatch_has_no_dimension_for_is_written_differently(capsys: Output) -> None:
    counters = Counters()
    counters.add("mqbridge_unknown_outcome_total", rule="", sink="mqtt:m")
    counters.add("mqbridge_unknown_outcome_total", rule="grün", sink="mqtt:m")
    Emf(counters).write()
    assert set(sums(capsys, "mqbridge_unknown_outcome_total")) == {("-", "mqtt:m"), ("gr\\xfcn", "mqtt:m")}


@pytest.mark.parametrize("count", [1, MAX_VALUES, MAX_VALUES + 1, 1_000])
def test_percentiles_of_many_observations_stay_what_they_are(count: int, capsys: Output) -> None:
    counters = Counters(keeps_samples=True)
    counters.observe("mqbridge_event_age_seconds", [float(each) for each in range(count)], trigger="sqs")
    Emf(counters).write()
    (blob,) = blobs(capsys)
    written = blob["mqbridge_event_age_seconds"]
    assert len(written) == min(count, MAX_VALUES)
    for part in (0.1, 0.5, 0.9):
        assert abs(written[int(part * len(written))] - part * count) <= count / len(written)


class _Context(LambdaContext):
    _aws_request_id = "request-1"
    _function_name = "stack-Inbound-1"


@pytest.mark.parametrize("name", ["AWS_LAMBDA_FUNCTION_NAME", "FC_FUNCTION_NAME"])
def test_functions_write_their_metrics_and_whose_they_are(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv(name, "f")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "my-stack")
    telemetry = FunctionTelemetry()
    sinks = _Sinks({b"1": Failed("broker_busy"), b"0": Delivered()})
    for _ in range(2):
        with telemetry.invocation("inbound", _Context()), using(Bridge(both_ways(), sinks, telemetry.counters)):
            handler([_event(0), _event(1), _event(2, topic="unheard_of")], None)
    found = blobs(capsys)
    assert {blob["service"] for blob in found} == {"my-stack"}
    assert sum("mqbridge_cold_starts_total" in blob for blob in found) == 1
    events = [blob["mqbridge_events_received_total"] for blob in found if "mqbridge_events_received_total" in blob]
    assert events == [[3.0], [3.0]]
    outcomes = {blob.get("outcome") for blob in found if "mqbridge_records_total" in blob}
    assert outcomes == {"delivered", "failed"}
    assert {"mqbridge_send_duration_seconds", "mqbridge_batch_events"} <= {name for blob in found for name in blob}


def test_metrics_are_written_of_an_invocation_that_raises(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("MQBRIDGE_METRICS", "emf")
    telemetry = FunctionTelemetry()
    sinks = _Sinks({b"0": RuntimeError("a defect")})
    with (
        pytest.raises(RuntimeError),
        telemetry.invocation("inbound", None),
        using(Bridge(both_ways(), sinks, telemetry.counters)),
    ):
        handler([_event(0)], None)
    assert sums(capsys, "mqbridge_records_total") == {("inbound", "commands", "failed"): 1, ("inbound", "failed"): 1}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "MQBRIDGE_METRICS": "off"},
        {"AWS_LAMBDA_FUNCTION_NAME": "f", "POWERTOOLS_METRICS_DISABLED": "true"},
    ],
)
def test_nobody_else_writes_them(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    telemetry = FunctionTelemetry()
    with telemetry.invocation("inbound", None), using(Bridge(both_ways(), _Sinks({}), telemetry.counters)):
        handler([_event(0)], None)
    assert blobs(capsys) == []


def test_another_setting_is_an_error() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MQBRIDGE_METRICS", "statsd")
        with pytest.raises(ValueError, match="MQBRIDGE_METRICS: expected emf or off, got 'statsd'"):
            FunctionTelemetry()


def test_lines_of_the_log_say_which_invocation_they_are_of(capsys: Output) -> None:
    telemetry = FunctionTelemetry()
    with telemetry.invocation("inbound", _Context()):
        logger().info("first")
    with telemetry.invocation("inbound", None):
        logger().info("second")
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {name: first[name] for name in ("cold_start", "function_name", "function_request_id", "correlation_id")} == {
        "cold_start": True,
        "function_name": "stack-Inbound-1",
        "function_request_id": "request-1",
        "correlation_id": "request-1",
    }
    assert second["cold_start"] is False
    assert "function_request_id" not in second
