"""Lanes: no record overtakes an earlier one of its lane, whatever fails and when."""

from hypothesis import given
from hypothesis import strategies as st

from mqbridge_cli.runner.lanes import Item, Lanes


def _item(lane: str, number: int) -> Item:
    return Item(event={"n": number}, lane=lane, token=number)


def _numbers(items: list[Item]) -> list[int]:
    return [item.token for item in items]


def test_records_come_in_order_of_arrival() -> None:
    lanes = Lanes()
    for number, lane in enumerate("abab"):
        lanes.add(_item(lane, number))
    assert _numbers(lanes.take(0.0, 3)) == [0, 1, 2]
    assert _numbers(lanes.take(0.0, 3)) == [3]


def test_a_failed_record_holds_its_lane_and_no_other() -> None:
    lanes = Lanes()
    for number, lane in enumerate("abab"):
        lanes.add(_item(lane, number))
    first, *_ = lanes.take(0.0, 2)
    lanes.hold(first, until=10.0)
    assert _numbers(lanes.take(5.0, 10)) == [3], "lane b goes on, the later record of lane a waits behind its first"
    assert lanes.next_due() == 10.0
    assert _numbers(lanes.take(10.0, 10)) == [0, 2]
    assert lanes.next_due() is None


def test_several_failures_of_a_lane_keep_their_order() -> None:
    lanes = Lanes()
    taken = [_item("a", 0), _item("a", 1)]
    lanes.add(_item("a", 2))
    for item in reversed(taken):
        lanes.hold(item, until=1.0)
    assert _numbers(lanes.take(1.0, 10)) == [0, 1, 2]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.integers(1, 4)),
            st.tuples(st.just("wait"), st.integers(1, 3)),
        ),
        max_size=60,
    ),
    st.randoms(use_true_random=False),
)
def test_every_record_is_taken_in_the_order_of_its_lane_until_it_succeeds(
    steps: list[tuple[str, str | int]], random: "object"
) -> None:
    """Whatever arrives, is taken and fails: successes of a lane come in order of arrival, and none is lost."""
    lanes, now, added, succeeded = Lanes(), 0.0, 0, list[Item]()

    def work(limit: int) -> None:
        taken = lanes.take(now, limit)
        failed_lanes: set[str] = set()
        failed = []
        for item in taken:
            # As the producer does: after a failure nothing of the lane succeeds in the same batch.
            if item.lane in failed_lanes or random.random() < 0.3:  # type: ignore[attr-defined]  # hypothesis gives a Random
                failed_lanes.add(item.lane)
                failed.append(item)
            else:
                succeeded.append(item)
        for item in reversed(failed):
            lanes.hold(item, now + 1)

    for kind, argument in steps:
        if kind == "add":
            lanes.add(_item(str(argument), added))
            added += 1
        elif kind == "take":
            work(int(argument))
        else:
            now += float(argument)
    for _ in range(10_000):
        if not len(lanes):
            break
        now += 1
        work(5)
    assert sorted(_numbers(succeeded)) == list(range(added))
    for lane in "abc":
        of_lane = [item.token for item in succeeded if item.lane == lane]
        assert of_lane == sorted(of_lane)
