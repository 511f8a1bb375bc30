"""The benchmarks measure what ships, and a missed bar is not passed over in silence. `make bench` says how fast it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import bench
from benchmarks.measuring import Bar, Result
from benchmarks.warm import figures
from benchmarks.warm_function import MODULES, SIZES
from devstack.setup import ensure
from tests.identity import faults_of, written_values

RECORDS = 30
# Of each size: one run that warms up, one that counts.
INVOCATIONS = 2 * sum(-(-RECORDS // size) for size in SIZES)


@pytest.mark.parametrize("name", MODULES)
def test_a_warm_function_is_measured_with_all_that_it_writes(name: str, tmp_path: Path) -> None:
    """By rules of its own, a context with a deadline, and metrics that add up."""
    values = figures(name, tmp_path, records=RECORDS, runs=1)
    assert sorted(values) == sorted(SIZES)
    assert all(len(each) == 1 and each[0] > 0 for each in values.values())
    log = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    said = [line for line in lines if line.get("message") == "handled"]
    assert len(said) == INVOCATIONS
    assert {line["function_name"] for line in said} == {"mqbridge-bench"}
    delivered = sum(line["delivered"] for line in said)
    assert delivered == sum(line["events"] for line in said)
    written = written_values(log)
    assert faults_of(written) == []
    assert sum(value for (metric, _), value in written.items() if metric == "mqbridge_records_total") == delivered


@pytest.mark.parametrize(("measured", "code"), [(9.0, 1), (11.0, 0)])
def test_the_results_are_written_and_the_exit_code_tells_of_a_missed_bar(
    measured: float, code: int, tmp_path: Path
) -> None:
    ensure()  # the results name the JDK

    def measure() -> Iterator[Result]:
        yield Result("without a bar", "records/s", (1.0,))
        yield Result("the rate", "records/s", (measured,), Bar(10.0))

    results = tmp_path / "RESULTS.md"
    assert bench({"part": ("A part", measure)}, None, results) == code
    assert f"| the rate | {measured:.0f} |" in results.read_text()
