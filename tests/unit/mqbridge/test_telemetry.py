"""Counters and log lines: every record is in exactly one count, and nothing is said that must not be."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.delivery import Settlement
from mqbridge.messages import BROKER, QUEUE_ID, MqttMessage, RocketMQMessage
from mqbridge.outcomes import Answer, DeadLettered, Delivered, Discarded, Drop, Failed, Reject, Settled
from mqbridge.rules import InboundRule
from mqbridge.telemetry import METRICS, OUTCOME_WORDS, Accounts, Counters
from tests.unit.mqbridge.support import ROOT, Lines, both_ways, captured_lines, command, publish, quick, record

RULE: InboundRule = both_ways().inbound[0]

Message = MqttMessage | RocketMQMessage

# Fields that Powertools writes, and those of an invocation.
_ELSEWHERE = {"timestamp", "level", "location", "message", "service", "exception", "exception_name", "xray_trace_id"}
_ELSEWHERE |= {"cold_start", "function_name", "function_request_id", "correlation_id"}

OUTCOMES: list[Settled] = [
    Delivered(),
    Drop("rule_disabled"),
    Drop("loop", "came from there"),
    Failed("broker_busy", "code 2", 1.0),
    Failed("outcome_unknown", "", 1.0, is_unknown=True, sink="mqtt:m"),
    Reject("illegal_topic", "mqttSecondTopic"),
    DeadLettered("illegal_topic", "mqttSecondTopic"),
    Discarded("illegal_topic", "mqttSecondTopic"),
]


def settlement(outcome: Settled, *, with_rule: bool = True, id: str = "r-1") -> Settlement:
    return Settlement(
        record(command(body=b"PAYLOAD"), id, event={"body": "PAYLOAD"}), RULE if with_rule else None, outcome
    )


def report(counters: Counters, function: str, settlements: list[Settlement]) -> dict[str, int]:
    """Enter settlements as one invocation's; what is planned of a record is what became of it."""
    accounts = Accounts(counters, function, "direct")
    accounts.received([each.record for each in settlements])
    accounts.planned(settlements)
    return accounts.settled(settlements)


def total(counters: Counters, name: str, **labels: str) -> float:
    return sum(
        value
        for (counter, found), value in counters.snapshot().items()
        if counter == name and labels.items() <= dict(found).items()
    )


@pytest.fixture(name="lines")
def _lines() -> Iterator[Lines]:
    with captured_lines() as captured:
        yield captured


@quick
@given(plan=st.lists(st.tuples(st.sampled_from(OUTCOMES), st.booleans()), max_size=30))
def test_records_planned_are_the_sum_over_the_outcomes(plan: list[tuple[Settled, bool]]) -> None:
    """What a rule or a failure accounts for is in records_total; what no rule wanted is counted as unmatched."""
    counters = Counters()
    with captured_lines():
        by_word = report(counters, "inbound", [settlement(outcome, with_rule=with_rule) for outcome, with_rule in plan])
    unmatched = sum(1 for outcome, with_rule in plan if not with_rule and isinstance(outcome, Drop))
    assert total(counters, "mqbridge_events_unmatched_total") == unmatched
    assert total(counters, "mqbridge_records_total") == len(plan) - unmatched
    assert sum(by_word.values()) == len(plan) - unmatched
    for word, amount in by_word.items():
        assert total(counters, "mqbridge_records_total", outcome=word) == amount


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize(
    ("outcome", "word"),
    list(
        zip(
            OUTCOMES,
            ["delivered", "dropped", "dropped", "failed", "failed", "failed", "dead_lettered", "discarded"],
            strict=True,
        )
    ),
)
def test_an_outcome_is_counted_by_flow_rule_and_word(outcome: Settled, word: str) -> None:
    counters = Counters()
    assert report(counters, "inbound", [settlement(outcome)]) == {word: 1}
    assert total(counters, "mqbridge_records_total", flow="inbound", rule="commands", outcome=word) == 1


def test_every_settled_outcome_has_a_word() -> None:
    assert set(OUTCOME_WORDS) == {Delivered, Drop, Failed, Reject, DeadLettered, Discarded}


@pytest.mark.usefixtures("lines")
def test_reasons_are_counted() -> None:
    counters = Counters()
    report(counters, "inbound", [settlement(outcome) for outcome in OUTCOMES])
    assert total(counters, "mqbridge_dropped_total", reason="loop", intentional="true") == 1
    assert total(counters, "mqbridge_dropped_total", reason="illegal_topic", intentional="false") == 1, "Discarded"
    assert total(counters, "mqbridge_dropped_total") == 3
    assert total(counters, "mqbridge_errors_total", error_type="broker_busy", stage="sending") == 1
    assert total(counters, "mqbridge_errors_total", error_type="illegal_topic") == 3
    assert total(counters, "mqbridge_errors_total") == 5
    assert total(counters, "mqbridge_unknown_outcome_total") == 1


@pytest.mark.usefixtures("lines")
def test_what_could_not_be_read_is_counted_as_received_and_failed() -> None:
    counters = Counters()
    report(counters, "inbound", [settlement(Reject("unreadable_record", "body"), with_rule=False)])
    assert total(counters, "mqbridge_errors_total", rule="", stage="receiving", error_type="unreadable_record") == 1
    assert total(counters, "mqbridge_records_total", rule="", outcome="failed") == 1


@pytest.mark.usefixtures("lines")
def test_counts_add_up_over_invocations() -> None:
    counters = Counters()
    for _ in range(3):
        report(counters, "inbound", [settlement(Delivered()), settlement(Delivered())])
    assert total(counters, "mqbridge_records_total", outcome="delivered") == 6


def test_only_declared_counters_with_their_labels_can_be_counted() -> None:
    counters = Counters()
    with pytest.raises(KeyError):
        counters.add("mqbridge_invented_total")
    with pytest.raises(KeyError):
        counters.add("mqbridge_records_total", flow="inbound")
    assert counters.snapshot() == {}


def test_no_label_is_unbounded() -> None:
    """A client id, topic or message id as a label makes a series per device."""
    labels = {label for metric in METRICS.values() for label in metric.labels}
    of_sets = {"function", "flow", "trigger", "outcome", "reason", "intentional", "stage", "error_type"}
    of_documents, of_processes = {"rule", "sink", "broker", "queue"}, {"hash", "rules", "version", "python"}
    assert labels == of_sets | of_documents | of_processes


def test_a_snapshot_is_a_copy() -> None:
    counters = Counters()
    counters.add("mqbridge_events_unmatched_total", function="inbound")
    before = counters.snapshot()
    counters.add("mqbridge_events_unmatched_total", function="inbound")
    assert list(before.values()) == [1]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
@pytest.mark.parametrize("with_rule", [True, False])
def test_every_outcome_is_logged_once_with_the_record_s_id(outcome: Settled, with_rule: bool, lines: Lines) -> None:
    report(Counters(), "inbound", [settlement(outcome, with_rule=with_rule, id="the-id")])
    assert [getattr(line, "event_id", None) for line in lines.records] == ["the-id"]


@pytest.mark.parametrize(
    ("outcome", "level"),
    list(zip(OUTCOMES[1:], ["DEBUG", "DEBUG", "WARNING", "WARNING", "ERROR", "WARNING", "ERROR"], strict=True)),
)
def test_what_a_person_must_see_is_above_info(outcome: Settled, level: str, lines: Lines) -> None:
    report(Counters(), "inbound", [settlement(outcome)])
    assert [line.levelname for line in lines.records] == [level]


def test_a_log_line_holds_reason_detail_rule_and_attempt(lines: Lines) -> None:
    report(Counters(), "inbound", [settlement(Failed("broker_busy", "code 2", 1.0))])
    fields: dict[str, Any] = vars(lines.records[0])
    assert {
        name: fields[name] for name in ("rule", "outcome", "attempt", "error_type", "stage", "retriable", "detail")
    } == {
        "rule": "commands",
        "outcome": "failed",
        "attempt": 1,
        "error_type": "broker_busy",
        "stage": "sending",
        "retriable": True,
        "detail": "code 2",
    }


def test_a_log_line_can_be_written_whatever_the_record_s_id_is(lines: Lines) -> None:
    """A device may choose it, where the bridge takes it from user properties or the payload."""
    failed = settlement(Failed("broker_busy"))
    report(Counters(), "inbound", [failed._replace(record=replace(failed.record, id="\ud800"))])
    assert vars(lines.records[0])["event_id"] == "\\ud800"


def test_no_payload_is_logged_above_debug(lines: Lines) -> None:
    report(Counters(), "inbound", [settlement(outcome) for outcome in OUTCOMES])
    loud = [line for line in lines.records if line.levelno > logging.DEBUG]
    assert loud
    assert "PAYLOAD" not in "".join(str(vars(line)) for line in loud)


def test_the_same_error_of_a_rule_is_logged_once_in_a_while_and_then_how_often_it_was_not(lines: Lines) -> None:
    now = 0.0
    counters = Counters(clock=lambda: now)
    busy, unreadable = Failed("broker_busy", "code 2", 1.0), Reject("illegal_topic", "x")
    report(counters, "inbound", [settlement(each) for each in (busy, busy, unreadable, busy)])
    now = 9.9
    report(counters, "inbound", [settlement(busy)])
    now = 10.0
    report(counters, "inbound", [settlement(busy), settlement(busy)])
    loud = [vars(line) for line in lines.records if line.levelno > logging.DEBUG]
    assert [(line["error_type"], line.get("repeated")) for line in loud] == [
        ("broker_busy", None),
        ("illegal_topic", None),
        ("broker_busy", 3),
    ]
    assert len(lines.records) == 7, "at DEBUG, all"


def test_a_log_line_tells_the_message_and_its_trigger(lines: Lines) -> None:
    report(Counters(), "inbound", [settlement(Failed("broker_busy", "", 1.0))])
    (line,) = (vars(each) for each in lines.records)
    fields = ("rule", "flow", "trigger", "stage", "outcome", "rocketmq_topic", "body_bytes", "retriable")
    assert {name: line[name] for name in fields} == {
        "rule": "commands",
        "flow": "inbound",
        "trigger": "direct",
        "stage": "sending",
        "outcome": "failed",
        "rocketmq_topic": "commands",
        "body_bytes": 7,
        "retriable": True,
    }
    assert line["message_id"]


def line_of(outcome: Settled, message: Message, event: Any = None) -> dict[str, Any]:
    """Return the fields of the line about a record."""
    with captured_lines() as lines:
        report(Counters(), "inbound", [Settlement(record(message, event=event), RULE, outcome)])
    (line,) = lines.records
    return {name: value for name, value in vars(line).items() if name not in vars(logging.makeLogRecord({}))}


BUSY = Failed("broker_busy", "code 2", 1.0, answer=Answer(2, "broker-b", 0))


def test_a_log_line_tells_where_a_rocketmq_message_was_read() -> None:
    line = line_of(Reject("illegal_topic"), command(tags="hot"), {BROKER: "broker-a", QUEUE_ID: 0})
    assert (line["tag"], line["broker"], line["queue_id"]) == ("hot", "broker-a", 0)


@pytest.mark.parametrize("event", [{}, {BROKER: 1, QUEUE_ID: "0"}, {BROKER: "", QUEUE_ID: True}, {BROKER: None}])
def test_where_it_was_read_may_be_unknown(event: dict[str, Any]) -> None:
    line = line_of(Reject("illegal_topic"), command(), event)
    assert {"tag", "broker", "queue_id", "error_code"}.isdisjoint(line)


@pytest.mark.parametrize(
    "outcome",
    [
        BUSY,
        Reject("broker_forbids", "", "sending", Answer(2, "broker-b", 0)),
        DeadLettered("broker_forbids", "", "sending", Answer(2, "broker-b", 0)),
        Discarded("broker_forbids", "", "sending", Answer(2, "broker-b", 0)),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_a_log_line_tells_which_broker_answered_what(outcome: Settled) -> None:
    line = line_of(outcome, publish())
    assert (line["error_code"], line["broker"], line["queue_id"]) == (2, "broker-b", 0)


def test_a_broker_that_did_not_answer_has_no_code() -> None:
    line = line_of(Failed("outcome_unknown", is_unknown=True, answer=Answer(broker="broker-b", queue_id=3)), publish())
    assert "error_code" not in line
    assert (line["broker"], line["queue_id"]) == ("broker-b", 3)


def test_where_a_message_was_read_is_not_where_its_dead_letter_was_to_go() -> None:
    line = line_of(BUSY, command(), {BROKER: "broker-a", QUEUE_ID: 1})
    assert (line["error_code"], line["broker"], line["queue_id"]) == (2, "broker-a", 1)


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traced(direction: str, traceparent: str) -> Message:
    if direction == "inbound":
        return command({"traceparent": traceparent}, tags="hot")
    return publish(user_properties=(("a", "b"), ("traceparent", traceparent)))


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@pytest.mark.parametrize("traceparent", [f"00-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-00-new"])
def test_a_log_line_tells_the_trace(direction: str, traceparent: str) -> None:
    line = line_of(BUSY, traced(direction, traceparent))
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}0-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01more",
    ],
)
def test_what_is_no_traceparent_is_no_trace(direction: str, traceparent: str) -> None:
    assert {"trace_id", "span_id"}.isdisjoint(line_of(BUSY, traced(direction, traceparent)))


def test_a_log_line_tells_bodies_apart_without_showing_them() -> None:
    """As sha256sum says it of the body in the broker."""
    assert line_of(BUSY, publish(payload=b"on"))["body_sha256"] == sha256(b"on").hexdigest()[:16]
    assert line_of(BUSY, command(body=b"on"))["body_sha256"] == sha256(b"on").hexdigest()[:16]


def test_a_log_line_can_be_written_whatever_a_message_holds() -> None:
    line = line_of(BUSY, command(tags="\ud800", topic="t\ud800"), {BROKER: "\ud800"})
    assert (line["tag"], line["rocketmq_topic"], line["broker"]) == ("\\ud800", "t\\ud800", "\\ud800")


def test_the_fields_of_a_record_s_line_are_those_of_the_page() -> None:
    """Both ways: docs/metrics.md names each, and names no other."""
    text = (ROOT / "docs" / "metrics.md").read_text().partition("## The log")[2]
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    documented = {name for row in rows for name in re.findall("`(.+?)`", row)} - _ELSEWHERE
    with captured_lines() as lines:
        counters = Counters(clock=iter([0.0, 1.0, 60.0, 61.0]).__next__)
        for message in (traced("inbound", f"00-{TRACE}-{SPAN}-01"), traced("outbound", "")):
            one = record(replace(message, message_id="m"), event={BROKER: "broker-a", QUEUE_ID: 1})
            report(counters, "inbound", [Settlement(one, RULE, BUSY)] * 2)
    found = {name for line in lines.records for name in vars(line)} - vars(logging.makeLogRecord({})).keys()
    assert found - {"message"} == documented, "message is what pytest's own handler adds"


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_an_invocation_is_summed_up_in_a_line(level: int, lines: Lines) -> None:
    accounts = Accounts(Counters(), "inbound", "sqs")
    records = [record(command(body=b"12345"), str(at)) for at in range(3)]
    accounts.received(records)
    settlements = [Settlement(records[0], RULE, Delivered()), Settlement(records[1], RULE, Failed("broker_busy"))]
    accounts.planned([*settlements, Settlement(records[2], None, Drop("no_rule"))])
    totals = accounts.settled(settlements)
    accounts.log_summary(level, totals, "the-hash")
    line = lines.records[-1]
    assert (line.levelno, line.getMessage()) == (level, "handled")
    told = vars(line)
    assert told["duration_s"] >= 0
    expected = {"function": "inbound", "trigger": "sqs", "events": 3, "unmatched": 1, "delivered": 1, "failed": 1}
    expected |= {"dropped": 0, "dead_lettered": 0, "discarded": 0, "body_bytes": 15, "config_hash": "the-hash"}
    assert {name: told[name] for name in expected} == expected
