"""Tag expressions, and which queues fall to which member of a group."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocketmq_remoting.route import MessageQueue
from rocketmq_remoting.subscription import Subscription, allocate_averagely


def queues(count: int) -> list[MessageQueue]:
    return [MessageQueue("t", f"broker-{number % 3}", number // 3) for number in range(count)]


def java_s_way(all_queues: list[MessageQueue], members: list[str], me: str) -> list[MessageQueue]:
    """AllocateMessageQueueAveragely.allocate of 4.9, written from its definition: sorted input, quotient and remainder."""
    index = members.index(me)
    remainder = len(all_queues) % len(members)
    is_larger = remainder > 0 and index < remainder
    average = 1 if len(all_queues) <= len(members) else len(all_queues) // len(members) + (1 if is_larger else 0)
    start = index * average if is_larger else index * average + remainder
    end = start + min(average, len(all_queues) - start)
    return [all_queues[at % len(all_queues)] for at in range(start, end)]


MEMBERS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=12, unique=True)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), MEMBERS)
def test_shares_are_a_partition_of_all_queues_and_differ_by_at_most_one(count: int, members: list[str]) -> None:
    shares = [allocate_averagely(queues(count), members, me) for me in members]
    assert sorted(queue for share in shares for queue in share) == sorted(queues(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), MEMBERS)
def test_shares_are_java_s(count: int, members: list[str]) -> None:
    for me in members:
        assert allocate_averagely(queues(count), members, me) == java_s_way(sorted(queues(count)), sorted(members), me)


@settings(deadline=None, max_examples=50)
@given(st.permutations(queues(7)), st.permutations(["a", "b", "c"]))
def test_share_does_not_depend_on_the_order_in_which_brokers_name_queues_and_members(
    shuffled: list[MessageQueue], members: list[str]
) -> None:
    assert allocate_averagely(shuffled, members, "b") == sorted(queues(7))[3:5]


def test_who_is_no_member_gets_nothing() -> None:
    assert allocate_averagely(queues(4), ["a", "b"], "c") == []


# --- tags ---


def subscription(expression: str) -> Subscription:
    return Subscription(topic="t", expression=expression, version=1)


@pytest.mark.parametrize(
    ("expression", "wanted", "unwanted"),
    [
        ("*", ["", "a", "*"], []),
        ("a", ["a"], ["", "b", "A", "a "]),
        ("a || b", ["a", "b"], ["", "c", "a || b"]),
        (" a||b|c ", ["a", "b|c"], ["b", "c", ""]),
        ("Aa", ["Aa"], ["BB"]),  # the same Java hash, which is all that the broker compares
    ],
)
def test_tags_are_compared_themselves_and_not_their_hashes(
    expression: str, wanted: list[str], unwanted: list[str]
) -> None:
    assert [tag for tag in wanted + unwanted if subscription(expression).wants(tag)] == wanted


@pytest.mark.parametrize("expression", ["", "a||", "|| a ||  ||b"])
def test_empty_parts_of_an_expression_count_as_on_the_broker(expression: str) -> None:
    """FilterAPI.buildSubscriptionData: an empty expression means all, and empty tags are skipped."""
    assert subscription(expression).tags == frozenset(expression.replace("|", " ").split())


def test_heartbeat_form_has_tags_and_their_hashes() -> None:
    assert subscription("b||a").as_heartbeat() == {
        "topic": "t",
        "subString": "b||a",
        "tagsSet": ["a", "b"],
        "codeSet": [97, 98],
        "subVersion": 1,
        "classFilterMode": False,
        "expressionType": "TAG",
    }
    everything = subscription("*").as_heartbeat()
    assert (everything["subString"], everything["tagsSet"], everything["codeSet"]) == ("*", [], [])
