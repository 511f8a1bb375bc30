"""RunOptions.Throttling: how many records may go, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqbridge.rules import BatchWindow
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item
from mqbridge_cli.runner.throttle import Throttle


def test_one_second_s_worth_goes_at_once_and_then_no_more() -> None:
    throttle = Throttle(100, now=5.0)
    assert throttle.allowed(5.0) == 100
    throttle.take(100)
    assert throttle.allowed(5.0) == 0


def test_a_long_pause_saves_up_no_more_than_a_second_s_worth() -> None:
    throttle = Throttle(100, now=0.0)
    throttle.take(100)
    assert throttle.allowed(3_600.0) == 100


def test_records_go_on_in_portions_not_one_by_one() -> None:
    throttle = Throttle(100, now=0.0)
    throttle.take(100)
    assert throttle.wait_s(0.0) == pytest.approx(0.1)
    assert throttle.allowed(0.05) == 0
    assert throttle.allowed(0.1000001) == 10


def test_one_a_second_is_one_a_second() -> None:
    throttle = Throttle(1, now=0.0)
    throttle.take(1)
    assert [throttle.allowed(now) for now in (0.5, 0.99, 1.0, 9.0)] == [0, 0, 1, 1]


@given(
    per_s=st.integers(1, 5_000),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10_000)), min_size=1, max_size=50),
)
def test_in_no_time_go_more_than_a_second_s_worth_and_what_the_time_brings(
    per_s: int, steps: list[tuple[float, int]]
) -> None:
    throttle, now, gone = Throttle(per_s, now=0.0), 0.0, [(0.0, 0)]
    for pause_s, wanted in steps:
        now += pause_s
        count = min(wanted, throttle.allowed(now))
        throttle.take(count)
        gone.append((now, gone[-1][1] + count))
    for begin, before in gone:
        for end, after in gone:
            if end >= begin:
                assert after - before <= per_s * (1 + end - begin) + 1e-3


@given(per_s=st.integers(1, 1_000_000), spent=st.floats(0, 1))
def test_after_the_wait_something_may_go(per_s: int, spent: float) -> None:
    throttle = Throttle(per_s, now=0.0)
    throttle.take(int(per_s * spent))
    wait_s = throttle.wait_s(0.0)
    assert 0 <= wait_s <= 1
    assert throttle.allowed(wait_s + 1e-6) > 0


def _inbox(records: int, *, count: int, seconds: int) -> Inbox:
    inbox = Inbox(BatchWindow(count=count, seconds=seconds), credit=1_000)
    for number in range(records):
        inbox.put(Item(event={}, lane=str(number), token=number), now=0.0)
    return inbox


def test_a_batch_is_never_larger_than_what_may_go_and_the_rest_waits_for_no_second_window() -> None:
    inbox = _inbox(25, count=25, seconds=15)
    assert [item.token for item in inbox.next_batch(0.0, limit=10)] == list(range(10))
    assert inbox.wait_s(0.1) == 0.0
    assert len(inbox.next_batch(0.1, limit=10)) == 10
    assert len(inbox.next_batch(0.2, limit=10)) == 5


def test_a_limit_that_is_not_reached_leaves_the_window_as_it_is() -> None:
    inbox = _inbox(3, count=3, seconds=15)
    assert len(inbox.next_batch(0.0, limit=100)) == 3
    inbox.put(Item(event={}, lane="x", token=99), now=1.0)
    assert inbox.wait_s(1.0) == 15.0
