"""The measurement of cold starts measures something: `python -m benchmarks.cold_start` says how it stands, on a quiet machine."""

from benchmarks.cold_start import BARS, measure
from devstack.lambda_service import HostBuild


def test_every_function_comes_as_far_as_its_plan(host_build: HostBuild) -> None:
    results = measure(host_build, runs=1)
    assert [each.unit for each in results] == ["CPU ms"] * 5 + ["ms"] * 5
    assert [each.bar.limit for each in results if each.bar and each.bar.limit] == list(BARS.values())
    assert all(each.ratio is None or each.ratio > 1 for each in results if each.unit == "CPU ms")
