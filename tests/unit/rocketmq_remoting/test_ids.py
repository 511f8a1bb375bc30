"""Message ids: Java's form, with the time where RocketMQ looks for it."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketmq_remoting.ids import derived_message_id, random_message_id

FORM = re.compile(r"[0-9A-F]{32}")


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def time_in(message_id: str, year: int, month: int) -> int:
    """MessageClientIDSetter.getNearlyTimeFromID: the 4 bytes after address, pid and class loader, from the month's start."""
    return milliseconds(f"{year:04}-{month:02}-01") + int.from_bytes(bytes.fromhex(message_id)[10:14], "big")


@pytest.mark.parametrize(
    "moment",
    [
        "2024-12-31T23:59:59.999",
        "2025-01-01T00:00:00.000",
        "2024-12-01T00:00:00.000",
        "2024-02-29T23:59:59.999",
        "2024-03-01T00:00:00.001",
        "2023-02-28T12:00:00.000",
        "1970-01-01T00:00:00.000",
    ],
)
def test_time_can_be_read_back_at_the_borders_of_months(moment: str) -> None:
    time_ms, year, month = milliseconds(moment), int(moment[:4]), int(moment[5:7])
    assert time_in(random_message_id(time_ms), year, month) == time_ms
    assert time_in(derived_message_id("s", time_ms), year, month) == time_ms


@settings(deadline=None, max_examples=50)
@given(st.lists(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=5))
def test_time_can_be_read_back_in_whatever_order_months_come(moments: list[datetime]) -> None:
    for moment in moments:
        time_ms = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
        of = datetime.fromtimestamp(time_ms / 1000, UTC)
        assert time_in(random_message_id(time_ms), of.year, of.month) == time_ms


def test_form_is_32_upper_case_hexadecimal_digits() -> None:
    assert all(FORM.fullmatch(random_message_id(milliseconds("2024-05-06"))) for _ in range(200))
    assert FORM.fullmatch(derived_message_id("some source", milliseconds("2024-05-06")))


def test_random_ids_of_one_moment_differ() -> None:
    assert len({random_message_id(1_700_000_000_000) for _ in range(10_000)}) == 10_000


def test_derived_id_is_always_the_same_for_a_source_and_a_time() -> None:
    """A retry in another process must give the same id: the vector is SHA-256 of nothing, cut around the time bytes."""
    assert derived_message_id("", 0) == "E3B0C44298FC1C149AFB00000000F4C8"
    assert derived_message_id("", 5) == "E3B0C44298FC1C149AFB00000005F4C8"


def test_derived_ids_of_different_sources_differ() -> None:
    assert len({derived_message_id(f"source {number}", 0) for number in range(10_000)}) == 10_000


@settings(deadline=None, max_examples=50)
@given(st.integers(-(10**20), 10**20))
def test_time_may_be_any_number(time_ms: int) -> None:
    """A source may claim any time; beyond the calendar the id carries no meaningful one."""
    assert FORM.fullmatch(random_message_id(time_ms))
    assert derived_message_id("s", time_ms) == derived_message_id("s", time_ms)


def test_source_may_be_any_text() -> None:
    assert FORM.fullmatch(derived_message_id("\ud800 \x00 \U0001f600", 0))
