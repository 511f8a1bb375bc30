"""Three of `make chaos`'s faults, short: under load in both directions nothing acknowledged is lost."""

from collections.abc import Iterator

import pytest

from tests.chaos.cells import CELLS, Cell
from tests.chaos.stack import Stack, stack
from tests.chaos.trial import Pace, try_cell

_SHORT = [cell for cell in CELLS if cell.name in ("connections-cut", "runner-killed", "broker-killed")]
_PACE = Pace(rate=200, before_s=0.5, after_s=1.5, late_s=0.5)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Brokers and a runner of this module's own, since their faults would be felt by other tests."""
    with stack(tmp_path_factory.mktemp("chaos"), is_proxied=True) as started:
        yield started


@pytest.mark.parametrize("cell", _SHORT, ids=[cell.name for cell in _SHORT])
def test_a_fault_loses_nothing(cell: Cell, running: Stack) -> None:
    """Every acknowledged message arrives, its copies have one id, and both directions flow again."""
    verdict = try_cell(cell, running, amount=cell.short_amount, pace=_PACE)
    assert (verdict.out.lost, verdict.into.lost) == (0, 0), verdict
    assert verdict.duplicates_keep_their_id, verdict
    assert None not in (verdict.out.first_flow_s, verdict.into.first_flow_s), verdict
