"""When a failed record is tried again, and when no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.delivery.retry import next_delay_s
from mqbridge.rules import RetryStrategy, Rule, load
from tests.unit.mqbridge.support import document, inbound_rule, outbound_rule, quick

BACKOFF = RetryStrategy()
DECAY = RetryStrategy(push_retry_strategy="EXPONENTIAL_DECAY_RETRY")
chances = st.floats(0, 1)


def delays(strategy: RetryStrategy | None, chance: float = 0.5, at_most: int = 2_000) -> list[float]:
    """Return the delays after attempt 1, 2 ... until there is none."""
    found: list[float] = []
    for attempt in range(1, at_most + 1):
        delay_s = next_delay_s(strategy, attempt=attempt, age_s=sum(found), chance=chance)
        if delay_s is None:
            break
        found.append(delay_s)
    return found


def test_backoff_retry_retries_exactly_3_times() -> None:
    assert len(delays(BACKOFF)) == 3


@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 10.0), (0.5, 15.0), (1.0, 20.0)])
def test_backoff_retry_waits_10_to_20_s_each_time(chance: float, delay_s: float) -> None:
    assert delays(BACKOFF, chance) == [delay_s] * 3


@quick
@given(attempt=st.integers(1, 3), chance=chances)
def test_backoff_retry_stays_between_10_and_20_s(attempt: int, chance: float) -> None:
    delay_s = next_delay_s(BACKOFF, attempt=attempt, age_s=0, chance=chance)
    assert delay_s is not None
    assert 10 <= delay_s <= 20


def test_exponential_decay_retries_exactly_176_times_for_86015_s() -> None:
    found = delays(DECAY)
    assert found[:12] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512]
    assert set(found[9:]) == {512}
    assert len(found) == 176
    assert sum(found) == 86_015  # EventBridge: 176 retries in about one day


@pytest.mark.parametrize("name", ["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"])
@pytest.mark.parametrize(
    ("attempts", "own"), [(1, False), (2, False), (10, False), (1_000, False), (0, True), (None, True)]
)
def test_maximum_retry_attempts_sets_their_number_and_0_is_the_strategy_s_own(
    name: str, attempts: int | None, own: bool
) -> None:
    strategy = RetryStrategy(push_retry_strategy=name, maximum_retry_attempts=attempts)
    expected = {"BACKOFF_RETRY": 3, "EXPONENTIAL_DECAY_RETRY": 176}[name] if own else attempts
    assert len(delays(strategy)) == expected


@pytest.mark.parametrize(
    ("age_s", "delay_s"), [(0, 15.0), (44.9, 15.0), (45, 15.0), (45.1, None), (60, None), (1e9, None)]
)
def test_no_retry_would_come_after_the_maximum_event_age(age_s: float, delay_s: float | None) -> None:
    strategy = RetryStrategy(maximum_event_age_s=60)
    assert next_delay_s(strategy, attempt=1, age_s=age_s, chance=0.5) == delay_s


@pytest.mark.parametrize("maximum", [0, None])
def test_a_maximum_event_age_of_0_is_no_limit(maximum: int | None) -> None:
    strategy = RetryStrategy(maximum_event_age_s=maximum)
    assert next_delay_s(strategy, attempt=1, age_s=1e9, chance=0.5) == 15.0


@quick
@given(maximum=st.integers(1, 604_800), chance=chances)
def test_the_retries_of_any_strategy_end_within_the_maximum_event_age(maximum: int, chance: float) -> None:
    for name in ("BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"):
        strategy = RetryStrategy(push_retry_strategy=name, maximum_event_age_s=maximum)
        assert sum(delays(strategy, chance)) <= maximum


def test_without_a_strategy_retries_never_end_and_wait_a_few_seconds_at_most() -> None:
    found = delays(None)
    assert len(found) == 2_000
    assert 0 < found[0] <= 1
    assert max(found) <= 5
    assert found == sorted(found)


@quick
@given(attempt=st.integers(1, 1 << 31), age_s=st.floats(0, 1e12), chance=chances)
def test_without_a_strategy_any_attempt_at_any_age_has_a_next_one(attempt: int, age_s: float, chance: float) -> None:
    delay_s = next_delay_s(None, attempt=attempt, age_s=age_s, chance=chance)
    assert delay_s is not None
    assert 0 < delay_s <= 5


def test_retries_that_began_together_are_spread() -> None:
    for strategy in (None, BACKOFF):
        assert len({next_delay_s(strategy, attempt=2, age_s=0, chance=chance / 10) for chance in range(11)}) == 11


def test_data_and_status_rules_go_on_until_it_works_and_tasks_back_off() -> None:
    sink = {"Topic": {"Form": "CONSTANT", "Value": "alarms"}, "Body": {"Form": "ORIGINAL"}}
    task = {
        "EventStreamingName": "task",
        "Source": {"SourceMQTTParameters": {"Topic": "devices"}},
        "Sink": {"SinkRocketMQParameters": sink},
    }
    status = {"RuleId": "presence", "Source": {"GroupId": "GID_sensor"}, "Destination": {"Topic": "status"}}
    parts = {
        "OutboundRules": [outbound_rule()],
        "InboundRules": [inbound_rule()],
        "StatusRules": [status],
        "EventStreamings": [task],
    }
    rules = load(document(**parts))
    endless = (rules.outbound[0], rules.inbound[0], rules.status[0])
    assert [each.run_options.retry_strategy for each in endless] == [None] * 3
    assert rules.streamings[0].run_options.retry_strategy == BACKOFF
    named = {"RunOptions": {"RetryStrategy": {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"}}}
    rules = load(document(Defaults=named, **parts))
    every: list[Rule] = [*rules.outbound, *rules.inbound, *rules.status, *rules.streamings]
    assert {each.run_options.retry_strategy for each in every} == {DECAY}
