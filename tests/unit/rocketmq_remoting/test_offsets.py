"""Which offset may be committed, against a model that is a plain set."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rocketmq_remoting.offsets import QueueProgress


class QueueProgressMachine(RuleBasedStateMachine):
    """Pulls of messages of which some are filtered out, settlements in any order, known or not."""

    @initialize(start=st.integers(0, 1000))
    def begin(self, start: int) -> None:
        self.progress = QueueProgress(start, is_committed=True)
        self.pulled_to = start
        self.handed_out: list[int] = []
        self.settled: set[int] = set()
        self.last_committable = start

    @rule(wanted=st.lists(st.booleans(), max_size=8))
    def pull(self, wanted: list[bool]) -> None:
        for is_wanted in wanted:
            if is_wanted:
                self.progress.delivered(self.pulled_to)
                self.handed_out.append(self.pulled_to)
            self.pulled_to += 1
        self.progress.next_offset = self.pulled_to

    @rule(pick=st.integers(0, 10_000))
    def settle_one_that_was_handed_out(self, pick: int) -> None:
        if self.handed_out:
            offset = self.handed_out[pick % len(self.handed_out)]
            self.progress.settle(offset)
            self.settled.add(offset)

    @rule(offset=st.integers(-1, 2000))
    def settle_one_that_may_be_unknown(self, offset: int) -> None:
        self.progress.settle(offset)
        if offset in self.handed_out:
            self.settled.add(offset)

    @invariant()
    def committable_is_the_first_unsettled_or_else_the_next_to_pull(self) -> None:
        unsettled = [offset for offset in self.handed_out if offset not in self.settled]
        assert self.progress.unsettled_count == len(unsettled)
        assert self.progress.committable == min([*unsettled, self.pulled_to])

    @invariant()
    def committable_never_goes_back(self) -> None:
        assert self.progress.committable >= self.last_committable
        self.last_committable = self.progress.committable


QueueProgressMachine.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)
TestQueueProgress = QueueProgressMachine.TestCase


def test_start_that_was_not_committed_is_due_for_a_commit_even_at_zero() -> None:
    progress = QueueProgress(0, is_committed=False)
    assert progress.committable > progress.committed


def test_start_that_was_committed_is_not_due() -> None:
    progress = QueueProgress(7, is_committed=True)
    assert progress.committable == progress.committed == 7
