"""How many messages the broker has dropped since it was last heard."""

import pytest

from mqbridge_cli.runner.drop_watch import newly_dropped


@pytest.mark.parametrize(
    ("known", "count", "more"),
    [(0, 0, 0), (0, 7, 7), (7, 7, 0), (7, 10, 3), (7, 2, 2)],
    ids=["none", "before we came", "no more", "more", "after a restart of the broker"],
)
def test_newly_dropped(known: int, count: int, more: int) -> None:
    assert newly_dropped(known, count) == more
