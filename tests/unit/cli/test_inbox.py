"""Inbox: when a batch is closed."""

import threading
import time

from mqbridge.rules import BatchWindow
from mqbridge_cli.runner.inbox import Inbox
from mqbridge_cli.runner.lanes import Item


def _item(number: int, lane: str = "a") -> Item:
    return Item(event={"id": str(number)}, lane=lane, token=number)


def _inbox(count: int, seconds: int, credit: int = 100) -> Inbox:
    return Inbox(BatchWindow(count=count, seconds=seconds), credit)


def test_without_a_time_window_what_is_there_goes_at_once() -> None:
    inbox = _inbox(count=10, seconds=0)
    for number in range(3):
        inbox.put(_item(number))
    assert [item.token for item in inbox.next_batch()] == [0, 1, 2]


def test_the_count_closes_the_window_before_its_time() -> None:
    inbox = _inbox(count=2, seconds=15)
    for number in range(3):
        inbox.put(_item(number))
    began = time.monotonic()
    assert [item.token for item in inbox.next_batch()] == [0, 1]
    assert time.monotonic() - began < 5


def test_used_up_credit_closes_the_window_before_its_time() -> None:
    """The source gives no more until these are settled: waiting for the count would be waiting for nothing."""
    inbox = _inbox(count=100, seconds=15, credit=3)
    for number in range(3):
        inbox.put(_item(number))
    began = time.monotonic()
    assert len(inbox.next_batch()) == 3
    assert time.monotonic() - began < 5


def test_the_window_waits_for_its_time() -> None:
    inbox = _inbox(count=100, seconds=1)
    began = time.monotonic()
    inbox.put(_item(0))
    assert len(inbox.next_batch()) == 1
    assert time.monotonic() - began >= 1


def test_a_batch_never_exceeds_the_count() -> None:
    inbox = _inbox(count=2, seconds=0)
    for number in range(5):
        inbox.put(_item(number))
    assert [len(inbox.next_batch()) for _ in range(3)] == [2, 2, 1]


def test_drained_inbox_gives_what_is_ready_and_leaves_what_waits_for_a_retry() -> None:
    inbox = _inbox(count=10, seconds=15)
    inbox.put(_item(0, "a"))
    inbox.put(_item(1, "b"))
    inbox.drain()
    first, second = inbox.next_batch()
    inbox.hold([(first, 60.0)])
    inbox.settled(1)
    assert second.token == 1
    assert inbox.next_batch() == []
    assert inbox.unsettled == 1


def test_a_record_wakes_a_waiting_worker() -> None:
    inbox = _inbox(count=10, seconds=0)
    batches = []
    worker = threading.Thread(target=lambda: batches.append(inbox.next_batch()))
    worker.start()
    inbox.put(_item(7))
    worker.join(5)
    assert [item.token for item in batches[0]] == [7]


def test_room_is_there_again_after_settlement() -> None:
    inbox = _inbox(count=1, seconds=0)
    inbox.put(_item(0))
    assert not inbox.wait_for_room(1, timeout_s=0.01)
    inbox.settled(1)
    assert inbox.wait_for_room(1, timeout_s=0.01)
