"""The measurement of cold starts measures something: `python -m benchmarks.cold_start` says how it stands, on a quiet machine."""

from benchmarks.cold_start import BARS, measure
from devstack.lambda_service import HostBuild


def test_every_function_comes_as_far_as_its_plan(host_build: HostBuild) -> None:
    base, *functions = measure(host_build, runs=1)
    assert base.median > 0
    assert {each.bar.limit for each in functions if each.bar} == {*BARS.values(), None}
    assert all(each.ratio is not None and each.ratio > 1 for each in functions)
