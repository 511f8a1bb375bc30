"""What a cold start pays for: as little as the function's own flow needs. `python -m benchmarks.cold_start` says how long it takes."""

from pathlib import Path

import pytest

from benchmarks.cold_start import BARS, measure, noted, with_plan
from devstack.lambda_service import HostBuild

_NOTE = """
def note():
    import os, sys
    with open(os.environ["NOTE"], "w") as file:
        file.write("\\n".join(sys.modules))
    os._exit(0)
"""
# What costs a cold start a tenth and more, and what is of use to some rules, triggers or sinks only.
NEVER = {
    *(
        "boto3",
        "botocore.session",
        "asyncio",
        "yaml",
        "ssl",
        "http.server",
        "paho",
        "re2",
        "jsonpath_rfc9535",
        "difflib",
    ),
    *("mqbridge.rules.schema", "mqbridge.http_access", "mqbridge.pulling", "mqbridge.mqtt", "mqbridge.triggers.http"),
    *("mqbridge.triggers.visibility", "mqbridge.secrets", "rocketmq_remoting.connection"),
}
TASKS = {
    *("mqbridge.patterns", "mqbridge.extract", "mqbridge.cleanse", "mqbridge.rules.tasks", "mqbridge.rules.streamings"),
    *("mqbridge.flows.outflow", "mqbridge.events", "msgspec"),
}


@pytest.mark.parametrize(
    ("name", "own"), [("outbound", set()), ("inbound", set()), ("status", {"mqbridge.presence"}), ("outflow", TASKS)]
)
def test_as_far_as_its_plan_a_function_imports_what_its_own_flow_needs(
    host_build: HostBuild, tmp_path: Path, name: str, own: set[str]
) -> None:
    loaded = set(noted(with_plan(host_build, name, _NOTE, tmp_path / name)).split())
    assert {f"mqbridge.flows.{name}", "mqbridge.triggers.sqs", "mqbridge.rules.load"} | own <= loaded
    assert loaded & ((NEVER | TASKS | {"mqbridge.presence"}) - own) == set()
    flows = {"inbound", "outbound", "outflow", "status"} - {name}
    assert loaded & {f"mqbridge.flows.{flow}" for flow in flows} == set()


def test_every_function_comes_as_far_as_its_plan(host_build: HostBuild) -> None:
    results = measure(host_build, runs=3)
    assert [each.unit for each in results] == ["CPU ms"] * 5 + ["ms"] * 5
    assert [each.bar.limit for each in results if each.bar and each.bar.limit] == list(BARS.values())
    # On a busy machine one run says little, and the shortest of a few says enough.
    base, *functions = (min(each.values) for each in results if each.unit == "CPU ms")
    assert min(functions) > base
