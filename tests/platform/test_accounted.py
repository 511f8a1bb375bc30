"""The check of what functions wrote in Function Compute fails where it should."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.fc_service import read_services
from tests.platform.accounted import AccountedFcService
from tests.platform.conftest import ROOT

CODE = """
import json, os

def write(name, amount, **labels):
    directive = {"Dimensions": [[*labels, "service"]], "Metrics": [{"Name": name}]}
    line = {"_aws": {"CloudWatchMetrics": [directive]}, **labels, "service": "mqbridge", name: [amount]}
    print(json.dumps(line, separators=(",", ":")), flush=True)

def plans(event, context):
    write("mqbridge_records_planned_total", 2, flow=context.function.name, rule="r")

def settles(event, context):
    plans(event, context)
    write("mqbridge_records_total", 2, flow=context.function.name, rule="r", outcome="delivered")

def raises(event, context):
    plans(event, context)
    raise ValueError("of the function")

def ends(event, context):
    plans(event, context)
    os._exit(7)

def silent(event, context):
    pass
"""


def accounted(folder: Path, *names: str) -> None:
    """Invoke each function twice, and check what all wrote."""
    (folder / "index.py").write_text(CODE)
    declared = read_services(ROOT / "s.yaml")["outbound"]
    functions = {name: replace(declared, name=name, handler=f"index.{name}", environment={}) for name in names}
    with AccountedFcService(functions, folder) as service:
        answers = [service.invoke(name, b"{}") for name in names * 2]
    assert [json.loads(each.body)["errorType"] for each in answers if each.is_error] in ([], ["ProcessExited"] * 2)


@pytest.mark.parametrize("name", ["plans", "raises"])
def test_what_was_planned_and_not_settled_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"{name}/r: 4 planned, but 0 settled"):
        accounted(tmp_path, "settles", name)


def test_what_an_ended_instance_did_not_come_to_write_is_no_fault(tmp_path: Path) -> None:
    accounted(tmp_path, "settles", "ends")
    accounted(tmp_path, "ends")


def test_functions_that_wrote_nothing_went_past_the_check(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no function wrote metrics"):
        accounted(tmp_path, "silent")
