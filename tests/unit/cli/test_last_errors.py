"""What last went wrong with a rule, for /tasks and for what a task is blocked at."""

import pytest

from mqbridge.delivery import Settlement
from mqbridge.outcomes import DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled
from mqbridge.rules import load
from mqbridge.telemetry import Accounts, Counters
from tests.unit.mqbridge.support import document, publish, record, streaming

TASK = load(document(EventStreamings=[streaming()])).streamings[0]


def _reported(*outcomes: Settled, counters: Counters | None = None) -> Counters:
    counters = counters or Counters()
    settlements = [
        Settlement(record(publish(payload=b"PAYLOAD"), id=str(at)), TASK, outcome)
        for at, outcome in enumerate(outcomes)
    ]
    Accounts(counters, "outflow", "direct").settled(settlements)
    return counters


def _error(counters: Counters) -> tuple[str, str, str, str, str] | None:
    error = counters.last_error("outflow", "hot-readings")
    return None if error is None else (error.record, error.outcome, error.stage, error.reason, error.detail)


def test_what_went_well_is_no_error() -> None:
    assert _error(_reported(Delivered(), Drop("filtered"))) is None


@pytest.mark.parametrize(
    ("outcome", "word"),
    [(Reject, "failed"), (DeadLettered, "dead_lettered"), (Discarded, "discarded")],
)
def test_stage_reason_and_detail_are_kept(outcome: type, word: str) -> None:
    counters = _reported(Delivered(), outcome("body_not_json", "why", "decoding"))
    assert _error(counters) == ("1", word, "decoding", "body_not_json", "why")


def test_of_one_batch_the_first_that_is_given_up_counts() -> None:
    """That is the one that a task is blocked at."""
    counters = _reported(Failed("broker_busy"), Reject("poison", "", "mapping"), Reject("other"), Failed("held_back"))
    assert _error(counters) == ("1", "failed", "mapping", "poison", "")


def test_a_later_batch_counts_and_a_good_one_does_not() -> None:
    counters = _reported(Reject("poison", "", "mapping"))
    _reported(Failed("broker_busy", "code 2"), counters=counters)
    _reported(Delivered(), counters=counters)
    assert _error(counters) == ("0", "failed", "sending", "broker_busy", "code 2")


def test_rules_and_flows_have_errors_of_their_own() -> None:
    counters = _reported(Reject("poison"))
    assert counters.last_error("outbound", "hot-readings") is None
    assert counters.last_error("outflow", "another") is None
