"""Delivery: what becomes of a record, by the table of outcomes in DESIGN.md section 3."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.delivery import Delivery, Outgoing, Sent, Settlement, settled_records
from mqbridge.flows import inbound
from mqbridge.messages import MqttMessage, Record, RocketMQMessage
from mqbridge.outcomes import (
    DeadLettered,
    Delivered,
    Discarded,
    Drop,
    Failed,
    Plan,
    Planned,
    Reject,
    Send,
    Settled,
    stage_of,
)
from mqbridge.rules import InboundRule, Rules, load
from tests.unit.mqbridge.support import (
    DLQ,
    MQTT_INSTANCE,
    FakeSinks,
    any_text,
    command,
    document,
    inbound_rule,
    publish,
    quick,
    record,
)

NOW_S = 1_767_225_700.0
DEADLINE = 123.0
BUSY = Failed("broker_busy", "code 2")
FORBIDDEN = Reject("broker_forbids", "code 16")
BACKOFF = {"PushRetryStrategy": "BACKOFF_RETRY"}


def rules_with(*options: dict[str, Any], defaults: dict[str, Any] | None = None) -> Rules:
    """Return one inbound rule for each of `options`, all of one RocketMQ topic."""
    rules = [inbound_rule(f"rule-{at}", parent=f"parent-{at}", RunOptions=each) for at, each in enumerate(options)]
    return load(document(InboundRules=rules, Defaults={"RunOptions": defaults or {}}))


def carry_out(
    plan: list[Planned], rules: Rules, sinks: FakeSinks | None = None, chance: float = 0.5
) -> list[Settlement]:
    delivery = Delivery(sinks or FakeSinks(), rules.run_options, chance=lambda: chance, clock=lambda: NOW_S)
    return delivery.carry_out(plan, DEADLINE)


def sent_by(rule: InboundRule | None, of: Record, *messages: Outgoing) -> Planned:
    return Planned(of, rule, Send(messages))


def settle(
    options: dict[str, Any], answer: Sent, *, attempt: int = 1, sinks: FakeSinks | None = None, **changes: Any
) -> Settled:
    """Return what becomes of one record whose only message gets `answer`."""
    rules = rules_with(options)
    one = record(command(**changes), attempt=attempt)
    (rule,) = rules.inbound
    used = sinks or FakeSinks(lambda message: answer if isinstance(message, MqttMessage) else Delivered())
    (settlement,) = carry_out([sent_by(rule, one, publish(topic="parent-0"))], rules, used)
    return settlement.outcome


def failing_dlq(answer: Sent, dlq: Sent) -> FakeSinks:
    return FakeSinks(lambda message: answer if isinstance(message, MqttMessage) else dlq)


# The table.


def test_stored_is_delivered() -> None:
    assert settle({}, Delivered()) == Delivered()


@pytest.mark.parametrize("reason", ["no_rule", "rule_disabled", "loop"])
def test_a_drop_stays_a_drop_and_sends_nothing(reason: str) -> None:
    rules, sinks = rules_with({"DeadLetterQueue": DLQ}), FakeSinks()
    (settlement,) = carry_out([Planned(record(command()), rules.inbound[0], Drop(reason))], rules, sinks)
    assert settlement.outcome == Drop(reason)
    assert sinks.calls == []


def test_what_may_succeed_later_fails_with_the_strategy_s_delay() -> None:
    assert settle({"RetryStrategy": BACKOFF}, BUSY) == Failed("broker_busy", "code 2", 15.0)


def test_an_answer_that_never_came_stays_an_unknown_outcome() -> None:
    unknown = Failed("outcome_unknown", "no answer", is_unknown=True)
    expected = Failed("outcome_unknown", "no answer", 0.5, is_unknown=True, sink="mqtt:mqtt-local")
    assert settle({}, unknown) == expected


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_the_retries_of_the_strategy_are_failures(attempt: int) -> None:
    assert isinstance(settle({"RetryStrategy": BACKOFF, "DeadLetterQueue": DLQ}, BUSY, attempt=attempt), Failed)


def test_after_the_retries_the_record_is_dead_lettered() -> None:
    options = {"RetryStrategy": BACKOFF, "DeadLetterQueue": DLQ}
    settled = settle(options, BUSY, attempt=4)
    assert isinstance(settled, DeadLettered)
    assert settled.reason == "broker_busy"
    assert "4 attempts" in settled.detail
    assert "code 2" in settled.detail


def test_a_rule_without_strategy_retries_for_ever() -> None:
    assert isinstance(settle({"DeadLetterQueue": DLQ}, BUSY, attempt=100_000), Failed)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"DeadLetterQueue": DLQ}, DeadLettered),
        ({"DeadLetterQueue": DLQ, "ErrorsTolerance": "NONE"}, DeadLettered),
        ({"DeadLetterQueue": DLQ, "ErrorsTolerance": "ALL"}, DeadLettered),
        ({"ErrorsTolerance": "ALL"}, Discarded),
        ({"ErrorsTolerance": "NONE"}, Reject),
        ({}, Reject),
    ],
)
@pytest.mark.parametrize("exhausted", [False, True])
def test_what_can_never_succeed(options: dict[str, Any], expected: type, exhausted: bool) -> None:
    answer = BUSY if exhausted else FORBIDDEN
    settled = settle({**options, "RetryStrategy": BACKOFF}, answer, attempt=4 if exhausted else 1)
    assert type(settled) is expected
    assert isinstance(settled, DeadLettered | Discarded | Reject)
    assert settled.reason == answer.reason


def test_a_reject_is_not_retried() -> None:
    assert isinstance(settle({"RetryStrategy": BACKOFF}, FORBIDDEN), Reject)


@pytest.mark.parametrize("dlq", [BUSY, FORBIDDEN, Failed("outcome_unknown", "x", is_unknown=True)])
def test_a_dead_letter_queue_that_fails_keeps_the_record(dlq: Sent) -> None:
    sinks = failing_dlq(FORBIDDEN, dlq)
    settled = settle({"DeadLetterQueue": DLQ, "ErrorsTolerance": "ALL"}, FORBIDDEN, sinks=sinks)
    assert isinstance(settled, Failed)
    assert settled.reason == "dead_letter_failed"
    assert 0 < settled.retry_after_s <= 5
    assert "broker_forbids" in settled.detail


def test_the_age_of_the_event_counts_for_the_strategy() -> None:
    options = {"RetryStrategy": {**BACKOFF, "MaximumEventAgeInSeconds": 60}}
    fresh, old = int((NOW_S - 40) * 1000), int((NOW_S - 50) * 1000)
    assert isinstance(settle(options, BUSY, time_ms=fresh), Failed)
    assert isinstance(settle(options, BUSY, time_ms=old), Reject)
    assert isinstance(settle(options, BUSY, time_ms=0), Failed), "no time is no age"
    assert isinstance(settle(options, BUSY, time_ms=int((NOW_S + 1e6) * 1000)), Failed), "a clock that is ahead"


def test_what_could_not_be_read_goes_where_the_defaults_say() -> None:
    unreadable = Reject("unreadable_record", "body: expected JSON")
    for defaults, expected in (
        ({"DeadLetterQueue": DLQ}, DeadLettered),
        ({}, Reject),
        ({"ErrorsTolerance": "NONE"}, Reject),
    ):
        rules, sinks = rules_with(defaults=defaults), FakeSinks()
        (settlement,) = carry_out([Planned(record(unreadable), None, unreadable)], rules, sinks)
        assert type(settlement.outcome) is expected
        assert len(sinks.to_topic("mqbridge_dlq")) == (expected is DeadLettered)


# Sending.


def test_messages_go_to_their_instances_in_order_with_the_deadline() -> None:
    rules, sinks = rules_with({}), FakeSinks()
    out = [publish(topic=f"t/{at}", instance_id="one" if at % 2 else "two") for at in range(4)]
    stored = command(topic="t", message_id="0" * 32)
    plan = [sent_by(rules.inbound[0], record(command(), str(at)), message) for at, message in enumerate(out)]
    plan.append(sent_by(rules.inbound[0], record(command(), "last"), stored))
    settlements = carry_out(plan, rules, sinks)
    assert [settlement.record.id for settlement in settlements] == ["0", "1", "2", "3", "last"]
    assert {(call.kind, call.instance_id): call.messages for call in sinks.calls} == {
        ("mqtt", "two"): (out[0], out[2]),
        ("mqtt", "one"): (out[1], out[3]),
        ("rocketmq", "rmq-local"): (stored,),
    }
    assert {call.deadline for call in sinks.calls} == {DEADLINE}


def by_topic(answers: dict[str, Sent]) -> Callable[[Outgoing], Sent]:
    return lambda message: answers.get(message.topic, Delivered())


def test_each_record_gets_the_answer_to_its_own_message() -> None:
    rules = rules_with({})
    topics = ["ok", "busy", "ok", "forbidden", "ok"]
    plan = [
        sent_by(rules.inbound[0], record(command(), str(at)), publish(topic=topic)) for at, topic in enumerate(topics)
    ]
    settlements = carry_out(plan, rules, FakeSinks(by_topic({"busy": BUSY, "forbidden": FORBIDDEN})))
    assert [type(each.outcome) for each in settlements] == [Delivered, Failed, Delivered, Reject, Delivered]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((Delivered(), Delivered()), Delivered),
        ((Delivered(), BUSY), Failed),
        ((BUSY, Delivered()), Failed),
        ((FORBIDDEN, Delivered()), Reject),
        ((FORBIDDEN, BUSY), Failed),
        ((BUSY, FORBIDDEN), Failed),
    ],
)
def test_a_record_is_delivered_when_all_its_messages_are(answers: tuple[Sent, Sent], expected: type) -> None:
    rules = rules_with({})
    pair = (publish(topic="a"), publish(topic="b"))
    sinks = FakeSinks(by_topic(dict(zip("ab", answers, strict=True))))
    (settlement,) = carry_out([sent_by(rules.inbound[0], record(command()), *pair)], rules, sinks)
    assert type(settlement.outcome) is expected


def test_a_send_of_nothing_is_delivered() -> None:
    rules = rules_with({})
    (settlement,) = carry_out([sent_by(rules.inbound[0], record(command()))], rules)
    assert settlement.outcome == Delivered()


# Several rules.

ACKNOWLEDGED = (Delivered, Drop)
WORST: list[tuple[list[Settled], type | tuple[type, ...]]] = [
    ([Delivered(), Drop("loop")], ACKNOWLEDGED),
    ([Drop("a"), Drop("b")], Drop),
    ([Delivered(), Failed("a"), Reject("b")], Failed),
    ([Delivered(), Reject("a")], Reject),
    ([Reject("a"), Failed("b")], Failed),
    ([DeadLettered("a"), Reject("b")], Reject),
    ([DeadLettered("a"), Failed("b")], Failed),
    ([Discarded("a"), Reject("b")], Reject),
    ([Delivered(), DeadLettered("a")], DeadLettered),
    ([Drop("a"), Discarded("a")], Discarded),
]


@pytest.mark.parametrize(("outcomes", "expected"), WORST)
def test_of_what_several_rules_made_of_a_record_the_worst_counts(
    outcomes: list[Settled], expected: type | tuple[type, ...]
) -> None:
    for order in (outcomes, outcomes[::-1]):
        one, other = record(command(), "one"), record(command(), "other")
        mixed = [Settlement(other, None, Delivered()), *(Settlement(one, None, outcome) for outcome in order)]
        (_, unharmed), (worst_of, worst) = settled_records(mixed)
        assert worst_of is one
        assert isinstance(worst, expected)
        assert unharmed == Delivered()


def test_two_records_with_one_id_are_two_records() -> None:
    settled = settled_records([Settlement(record(command()), None, each) for each in (Delivered(), Failed("a"))])
    assert [type(outcome) for _, outcome in settled] == [Delivered, Failed]


def test_each_rule_settles_by_its_own_options() -> None:
    rules = rules_with({"DeadLetterQueue": DLQ}, {"ErrorsTolerance": "ALL"}, {}, {"RetryStrategy": BACKOFF})
    one = record(command({"mqttSecondTopic": "/x"}))
    answers: dict[str, Sent] = {f"parent-{at}/x": FORBIDDEN for at in range(3)}
    sinks = FakeSinks(by_topic({**answers, "parent-3/x": BUSY}))
    settlements = carry_out(inbound.plan([one], rules), rules, sinks)
    assert [type(each.outcome) for each in settlements] == [DeadLettered, Discarded, Reject, Failed]
    ((_, worst),) = settled_records(settlements)
    assert isinstance(worst, Failed)


# Dead letters.


def letter_of(
    event: Any = None, *, attempt: int = 1, id: str = "r-1", answer: Sent = FORBIDDEN, **changes: Any
) -> tuple[RocketMQMessage, dict[str, Any]]:
    """Return the dead letter of one record, and its envelope."""
    rules = rules_with({"DeadLetterQueue": DLQ, "RetryStrategy": BACKOFF})
    sinks = failing_dlq(answer, Delivered())
    one = record(command(**changes), id, attempt, event)
    (settlement,) = carry_out([sent_by(rules.inbound[0], one, publish(topic="parent-0"))], rules, sinks)
    assert isinstance(settlement.outcome, DeadLettered), settlement.outcome
    (letter,) = sinks.to_topic("mqbridge_dlq")
    assert set(letter.properties) == {"mqbridge-dead-letter"}
    return letter, json.loads(letter.properties["mqbridge-dead-letter"])


def test_the_body_of_a_dead_letter_is_the_event_as_received() -> None:
    event = {"messageId": "m", "body": '{"ä": "\\u0000"}', "n": [1, 2.5, None, True], "z": "", "a": {}}
    letter, _ = letter_of(event)
    assert json.loads(letter.body) == event
    assert list(json.loads(letter.body)) == list(event), "in its order"


def test_a_dead_letter_goes_to_the_queue_that_the_rule_names() -> None:
    letter, _ = letter_of()
    assert (letter.instance_id, letter.topic) == ("rmq-local", "mqbridge_dlq")


def test_the_envelope_says_what_happened() -> None:
    _, envelope = letter_of(attempt=2, id="r-9")
    assert envelope["rule"] == "rule-0"
    assert envelope["reason"] == "broker_forbids"
    assert envelope["detail"] == "code 16"
    assert envelope["attempts"] == 2
    assert envelope["lastFailure"] == "2026-01-01T00:01:40.000+00:00"
    assert envelope["source"] == {"id": "r-9", "instance": "rmq-local", "topic": "commands"}


def test_the_envelope_holds_first_and_last_failure() -> None:
    """DESIGN.md section 6: rule, stage, reason, attempts, first and last failure, source coordinates."""
    _, envelope = letter_of(attempt=1)
    assert envelope["firstFailure"] == envelope["lastFailure"], "at the first attempt they are one"


def first_failure(attempt: int, first_attempt_ms: int) -> str | None:
    rules, sinks = rules_with({"DeadLetterQueue": DLQ}), FakeSinks()
    one = replace(record(command({"qoslevel": "9"}), attempt=attempt), first_attempt_ms=first_attempt_ms)
    carry_out(inbound.plan([one], rules), rules, sinks)
    (letter,) = sinks.to_topic("mqbridge_dlq")
    told: str | None = json.loads(letter.properties["mqbridge-dead-letter"]).get("firstFailure")
    return told


@pytest.mark.parametrize(
    ("attempt", "first_attempt_ms", "told"),
    [
        (1, 0, "2026-01-01T00:01:40.000+00:00"),
        (1, 1_767_225_600_123, "2026-01-01T00:01:40.000+00:00"),  # received before, but failed now
        (4, 1_767_225_600_123, "2026-01-01T00:00:00.123+00:00"),
        (4, 0, None),  # only the source could know, and did not say
    ],
)
def test_the_first_failure_is_the_first_attempt_s_where_the_source_tells_it(
    attempt: int, first_attempt_ms: int, told: str | None
) -> None:
    assert first_failure(attempt, first_attempt_ms) == told


@pytest.mark.parametrize(
    "first_attempt_ms", [9_999_999_999_999_999, 10**20, 10**30, 10**400], ids=lambda ms: f"10^{len(str(ms)) - 1}"
)
def test_a_first_attempt_beyond_the_calendar_costs_neither_the_letter_nor_the_batch(first_attempt_ms: int) -> None:
    assert first_failure(4, first_attempt_ms) in (None, "2026-01-01T00:01:40.000+00:00")


@pytest.mark.parametrize("attempt", [1, 3])
def test_the_stage_of_what_a_broker_refused_is_sending(attempt: int) -> None:
    _, envelope = letter_of(attempt=attempt)
    assert envelope["stage"] == "sending"


@pytest.mark.parametrize("attempt", [1, 3])
def test_the_stage_of_what_could_not_be_mapped_is_processing(attempt: int) -> None:
    rules, sinks = rules_with({"DeadLetterQueue": DLQ}), FakeSinks()
    carry_out(inbound.plan([record(command({"qoslevel": "9"}), attempt=attempt)], rules), rules, sinks)
    (letter,) = sinks.to_topic("mqbridge_dlq")
    envelope = json.loads(letter.properties["mqbridge-dead-letter"])
    assert (envelope["stage"], envelope["reason"]) == ("processing", "invalid_qos")


def test_the_stage_of_what_could_not_be_read_is_receiving() -> None:
    rules, sinks = rules_with(defaults={"DeadLetterQueue": DLQ}), FakeSinks()
    unreadable = Reject("unreadable_record", "body: expected JSON")
    carry_out([Planned(record(unreadable, event={"body": "?"}), None, unreadable)], rules, sinks)
    (letter,) = sinks.to_topic("mqbridge_dlq")
    envelope = json.loads(letter.properties["mqbridge-dead-letter"])
    assert (envelope["stage"], envelope["rule"], envelope["source"]) == ("receiving", None, {"id": "r-1"})
    assert json.loads(letter.body) == {"body": "?"}


@pytest.mark.parametrize("attempt", [1, 4])
@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (Send((publish(topic="parent-0"),)), FORBIDDEN),
        (Send((publish(topic="parent-0"),)), BUSY),
        (Reject("illegal_topic", "mqttSecondTopic"), Delivered()),
        (Reject("body_not_json", "", "decoding"), Delivered()),
        (Failed("enrich_failed", "", stage="transforming"), Delivered()),
    ],
    ids=["forbidden", "busy", "not mapped", "not decoded", "not transformed"],
)
@pytest.mark.parametrize("with_rule", [True, False])
def test_a_dead_letter_and_the_line_about_it_name_one_stage(
    outcome: Plan, answer: Sent, attempt: int, with_rule: bool
) -> None:
    options = {"RetryStrategy": BACKOFF, "DeadLetterQueue": DLQ}
    rules, sinks = rules_with(options, defaults=options), failing_dlq(answer, Delivered())
    rule = rules.inbound[0] if with_rule else None
    (settlement,) = carry_out([Planned(record(command(), attempt=attempt), rule, outcome)], rules, sinks)
    letters = sinks.to_topic("mqbridge_dlq")
    assert len(letters) == isinstance(settlement.outcome, DeadLettered)
    stages = [json.loads(letter.properties["mqbridge-dead-letter"])["stage"] for letter in letters]
    assert stages == [stage_of("rule-0" if with_rule else "", settlement.outcome)] * len(letters)


def test_a_dead_letter_sent_again_has_the_same_id_and_others_have_others() -> None:
    first, again, other = letter_of(id="a")[0], letter_of(id="a", attempt=2)[0], letter_of(id="b")[0]
    assert first.message_id == again.message_id
    assert first.message_id != other.message_id


def test_the_dead_letters_of_two_rules_are_two_messages() -> None:
    """With one id, a consumer that drops duplicates would drop one rule's."""
    rules = rules_with({"DeadLetterQueue": DLQ}, {"DeadLetterQueue": DLQ})
    sinks = failing_dlq(FORBIDDEN, Delivered())
    carry_out(inbound.plan([record(command())], rules), rules, sinks)
    assert len({letter.message_id for letter in sinks.to_topic("mqbridge_dlq")}) == 2


def test_an_event_that_is_too_large_leaves_its_head_length_and_sha256() -> None:
    event = {"id": "r", "body": "ä" * (3 * 1024 * 1024)}
    whole = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    letter, envelope = letter_of(event)
    assert envelope["truncated"] == {"length": len(whole), "sha256": sha256(whole).hexdigest()}
    assert whole.startswith(letter.body)
    assert 3 * 1024 * 1024 < len(letter.body) < 4 * 1024 * 1024


def test_an_event_that_fits_is_not_called_truncated() -> None:
    _, envelope = letter_of({"id": "r"})
    assert "truncated" not in envelope


@pytest.mark.parametrize("time_ms", [-1, 253_402_300_799_999, 1 << 52])
def test_no_time_of_a_source_breaks_the_dead_letter(time_ms: int) -> None:
    """Raised here, it would take the whole invocation down, for ever."""
    letter, _ = letter_of(time_ms=time_ms)
    assert len(letter.message_id) == 32


@quick
@given(
    id=any_text,
    topic=any_text,
    instance=any_text,
    detail=any_text,
    event=st.dictionaries(any_text, any_text, max_size=3),
)
def test_any_record_has_a_dead_letter_that_can_be_stored(
    id: str, topic: str, instance: str, detail: str, event: dict[str, str]
) -> None:
    """What the queue refuses stays with the source for ever, and holds up what is behind it."""
    letter, envelope = letter_of(
        event, id=id, topic=topic, instance_id=instance, answer=Reject("illegal_message", detail)
    )
    assert json.loads(letter.body) == event
    assert (envelope["reason"], envelope["detail"], envelope["source"]["id"]) == ("illegal_message", detail, id)


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f600", "\x01", "\ud800"], ids=ascii)
@pytest.mark.parametrize("part", ["id", "topic", "instance_id", "detail", "all of them"])
def test_a_dead_letter_can_be_stored_however_long_its_coordinates_are(part: str, character: str) -> None:
    long: dict[str, Any] = {
        name: character * 40_000 for name in ("id", "topic", "instance_id", "detail") if part in (name, "all of them")
    }
    answer = Reject("illegal_message", long.pop("detail", "why"))
    _, envelope = letter_of(answer=answer, **long)
    assert envelope["reason"] == "illegal_message"


def test_an_event_that_json_can_barely_write_takes_no_neighbour_down() -> None:
    """The interpreter gives up on deep nesting; whatever one record raises becomes its own outcome."""
    rules, sinks = rules_with({"DeadLetterQueue": DLQ}), failing_dlq(FORBIDDEN, Delivered())
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    plan = inbound.plan([record(command(), "r-1"), record(command(), "r-2", event={"data": deep})], rules)
    settlements = carry_out(plan, rules, sinks)
    assert isinstance(settlements[0].outcome, DeadLettered)
    assert isinstance(settlements[1].outcome, DeadLettered | Failed | Reject)


def test_dead_letters_of_one_batch_go_in_one_call_per_queue() -> None:
    rules, sinks = rules_with({"DeadLetterQueue": DLQ}), failing_dlq(FORBIDDEN, Delivered())
    plan = inbound.plan([record(command(), str(at)) for at in range(3)], rules)
    carry_out(plan, rules, sinks)
    assert [(call.kind, call.instance_id, len(call.messages)) for call in sinks.calls] == [
        ("mqtt", "mqtt-local", 3),
        ("rocketmq", "rmq-local", 3),
    ]


def test_a_dead_letter_queue_that_takes_some_settles_each_by_its_own() -> None:
    rules = rules_with({"DeadLetterQueue": DLQ})

    def answer(message: Outgoing) -> Sent:
        if isinstance(message, MqttMessage):
            return FORBIDDEN
        return BUSY if message.keys == "r-1" else Delivered()

    plan = inbound.plan([record(command(), f"r-{at}") for at in range(3)], rules)
    settlements = carry_out(plan, rules, FakeSinks(answer))
    assert [type(each.outcome) for each in settlements] == [DeadLettered, Failed, DeadLettered]


def test_the_second_instance_s_sink_is_asked_though_the_first_failed() -> None:
    whole = document(InboundRules=[inbound_rule("one-1", parent="aaa"), inbound_rule("two-2", parent="bbb")])
    whole["Instances"]["Mqtt"].append({**MQTT_INSTANCE, "InstanceId": "mqtt-2"})
    for rule, name in zip(whole["InboundRules"], ("mqtt-local", "mqtt-2"), strict=True):
        rule["Destination"]["InstanceId"] = name
    rules = load(whole)
    sinks = FakeSinks(lambda message: BUSY if message.instance_id == "mqtt-local" else Delivered())
    settlements = carry_out(inbound.plan([record(command())], rules), rules, sinks)
    assert [type(each.outcome) for each in settlements] == [Failed, Delivered]
