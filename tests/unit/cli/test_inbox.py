"""Inbox: when a batch is closed."""

from mqbridge.rules import BatchWindow
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item


def _item(number: int, lane: str = "a") -> Item:
    return Item(event={"id": str(number)}, lane=lane, token=number)


def _inbox(records: int, *, count: int, seconds: int, credit: int = 100) -> Inbox:
    inbox = Inbox(BatchWindow(count=count, seconds=seconds), credit)
    for number in range(records):
        inbox.put(_item(number), now=float(number) / 10)
    return inbox


def _numbers(items: list[Item]) -> list[int]:
    return [item.token for item in items]


def test_without_a_time_window_what_is_there_goes_at_once() -> None:
    assert _numbers(_inbox(3, count=10, seconds=0).next_batch(0.2)) == [0, 1, 2]


def test_the_count_closes_the_window_before_its_time() -> None:
    inbox = _inbox(3, count=2, seconds=15)
    assert inbox.wait_s(0.2) == 0.0
    assert _numbers(inbox.next_batch(0.2)) == [0, 1]
    assert inbox.next_batch(0.2) == [], "the third one's window is open"


def test_used_up_credit_closes_the_window_before_its_time() -> None:
    """The source gives no more until these are settled: waiting for the count would be waiting for nothing."""
    assert len(_inbox(3, count=100, seconds=15, credit=3).next_batch(0.2)) == 3


def test_the_window_stays_open_for_its_time() -> None:
    inbox = _inbox(1, count=100, seconds=3)
    assert inbox.wait_s(1.0) == 2.0
    assert inbox.next_batch(2.9) == []
    assert _numbers(inbox.next_batch(3.0)) == [0]
    assert inbox.wait_s(3.0) == float("inf")


def test_a_batch_never_exceeds_the_count() -> None:
    inbox = _inbox(5, count=2, seconds=0)
    assert [len(inbox.next_batch(1.0)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_retry_is_due_at_its_time() -> None:
    inbox = _inbox(1, count=10, seconds=0)
    (item,) = inbox.next_batch(1.0)
    inbox.hold([(item, 5.0)], now=1.0)
    assert inbox.wait_s(2.0) == 4.0
    assert inbox.next_batch(5.9) == []
    assert _numbers(inbox.next_batch(6.0)) == [0]


def test_of_several_failures_of_a_lane_the_first_says_when_it_goes_on() -> None:
    inbox = _inbox(2, count=10, seconds=0)
    first, second = inbox.next_batch(1.0)
    inbox.hold([(first, 1.0), (second, 9.0)], now=1.0)
    assert _numbers(inbox.next_batch(2.0)) == [0, 1]


def test_draining_gives_what_is_ready_and_leaves_what_waits_for_a_retry() -> None:
    inbox = _inbox(2, count=10, seconds=15)
    first, second = inbox.next_batch(0.2, at_once=True)
    inbox.hold([(first, 60.0)], now=0.2)
    inbox.settled(1)
    assert second.token == 1
    assert inbox.next_batch(0.3, at_once=True) == []
    assert inbox.unsettled == 1
