"""Values behave as frozen dataclasses do."""

import dataclasses
from functools import cached_property

import pytest

from mqbridge.messages import StatusNotice
from mqbridge.rules import DeadLetterQueue, RetryStrategy, RunOptions, Tls
from mqbridge.rules.declarations import settings_of
from mqbridge.values import Value


def test_fields_have_what_is_given_or_their_defaults() -> None:
    strategy = RetryStrategy(maximum_retry_attempts=5)
    assert (strategy.push_retry_strategy, strategy.maximum_retry_attempts) == ("BACKOFF_RETRY", 5)
    assert [field.name for field in dataclasses.fields(strategy)] == list(settings_of(RetryStrategy))


def test_equal_fields_of_one_class_make_equal_sections() -> None:
    assert RetryStrategy() == RetryStrategy()
    assert hash(RetryStrategy()) == hash(RetryStrategy())
    assert RetryStrategy() != RetryStrategy(maximum_retry_attempts=5)
    assert Tls(ca_file="ca.pem") != RunOptions()


def test_a_copy_has_what_is_replaced() -> None:
    assert dataclasses.replace(Tls(ca_file="a"), key_file="b") == Tls(ca_file="a", key_file="b")


def test_a_section_is_frozen() -> None:
    tls = Tls()
    with pytest.raises(dataclasses.FrozenInstanceError, match="ca_file"):
        tls.ca_file = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="ca_file"):
        del tls.ca_file
    assert tls == Tls()


def test_a_section_shows_its_fields() -> None:
    assert "ca_file='ca.pem'" in repr(Tls(ca_file="ca.pem"))
    assert repr(Tls()).startswith("Tls(")
    notice = StatusNotice("client", "connect", 0, "channel", body=b"not shown")
    assert repr(notice).endswith("remark='')")


@pytest.mark.parametrize(("values", "said"), [({}, "arn is missing"), ({"arn": "a", "other": 1}, "has no other")])
def test_a_missing_or_unknown_field_is_an_error(values: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        DeadLetterQueue(**values)  # type: ignore[arg-type]


class Sorted(Value):
    """What is derived, shown or compared or not, and what is remembered."""

    items: tuple[int, ...]
    label: str = dataclasses.field(default="", compare=False)
    in_order: list[int] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_order", sorted(self.items))

    @cached_property
    def largest(self) -> int:
        return self.in_order[-1]


def test_what_follows_from_fields_is_made_with_the_value_and_its_copies() -> None:
    value = Sorted((2, 1))
    assert value.in_order == [1, 2]
    assert dataclasses.replace(value, items=(3, 2)).in_order == [2, 3]
    assert repr(value) == "Sorted(items=(2, 1), label='')"
    with pytest.raises(TypeError, match="has no in_order"):
        Sorted((2, 1), in_order=[])  # type: ignore[call-arg]


def test_what_is_not_to_be_compared_makes_no_difference() -> None:
    asked = Sorted((2, 1), label="asked")
    assert asked.largest == 2
    assert asked == Sorted((2, 1))
    assert Sorted((2, 1)) != Sorted((1, 2))
