"""What `make build-fc` makes: all of the functions' code for Function Compute, with bytecode where it can be."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from config import build_rules
from devstack.fc_service import HostBuild
from devstack.fc_service.host_build import build
from mqbridge.rules import load
from tests.platform.conftest import ROOT
from tests.platform.test_build import E_MACHINE, MAX_LAYER_BYTES, OUR_PACKAGES, assert_has_bytecode

MODULES = {"inbound.py", "outbound.py", "outflow.py", "status.py"}


@dataclass(frozen=True)
class FcBuild:
    """What was built for the service, and said."""

    code: Path
    output: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FcBuild:
    code = tmp_path_factory.mktemp("fc") / "code"
    return FcBuild(code, build(code))


def test_it_has_the_functions_what_is_pinned_our_packages_the_rules_and_no_more(built: FcBuild) -> None:
    pinned = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "layers/common/requirements.txt").read_text(), re.M)
    installed = {path.name.removesuffix(".dist-info") for path in built.code.glob("*.dist-info")}
    assert installed == {f"{name.replace('-', '_')}-{version}" for name, version in pinned}
    claimed = {
        line.partition(",")[0].partition("/")[0]
        for each in built.code.glob("*.dist-info/RECORD")
        for line in each.read_text().splitlines()
    }
    left = {path.name for path in built.code.iterdir()} - claimed - {"__pycache__"}
    assert left == {*OUR_PACKAGES, *MODULES, "rules.json"}


def test_compiled_code_is_of_wheels_for_the_service(built: FcBuild) -> None:
    compiled = {}
    for path in built.code.rglob("*"):
        head = path.read_bytes()[:20] if path.is_file() else b""
        if head[:4] == b"\x7fELF":
            compiled[path.name] = int.from_bytes(head[18:20], "little")
    assert set(compiled.values()) == {E_MACHINE["x86_64"]}
    assert [name for name in compiled if ".cpython-312-x86_64-" not in name and not name.endswith(".abi3.so")] == []


def test_it_is_small_and_tells_nothing_of_the_building_machine(built: FcBuild) -> None:
    files = [path for path in built.code.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_LAYER_BYTES
    places = [str(ROOT).encode(), str(built.code).encode(), sys.executable.encode()]
    assert [path for path in files if any(place in path.read_bytes() for place in places)] == []


def test_bytecode_is_there_or_its_absence_is_said(built: FcBuild) -> None:
    if "notice: no Python 3.12 here" in built.output:
        assert not list(built.code.rglob("*.pyc"))
    else:
        assert_has_bytecode(built.code, "cpython-312")


def test_the_rules_are_the_project_s(built: FcBuild) -> None:
    assert load(built.code / "rules.json").digest == load(ROOT / "config/rules.yaml").digest


def test_bytecode_names_the_service_s_folder(fc_build: HostBuild) -> None:
    script = "import marshal, sys; print(marshal.loads(open(sys.argv[1], 'rb').read()[16:]).co_filename)"
    cached = fc_build.code() / "__pycache__" / f"outbound.{sys.implementation.cache_tag}.pyc"
    done = subprocess.run([sys.executable, "-c", script, str(cached)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "/code/outbound.py"


def test_a_package_of_transforms_lies_where_python_finds_it(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    assert build_rules.main(ROOT / "examples/transforms/function.yaml", code, code) == 0
    assert (code / "transforms" / "readings.py").exists()
    assert not (code / "python").exists()
