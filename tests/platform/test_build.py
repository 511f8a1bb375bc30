"""What `sam build` makes: everything that functions need and nothing else, of the right architecture, with bytecode that a zip keeps."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config import build_rules
from devstack.lambda_service import HostBuild
from mqbridge.rules import load
from tests.platform.conftest import ROOT, SamBuild

MAX_LAYER_BYTES = 25_000_000
E_MACHINE = {"arm64": 183, "x86_64": 62}  # of an ELF header, as elf.h has them
OUR_PACKAGES = {"mqbridge", "rocketmq_remoting"}


def test_a_function_is_its_handler_and_nothing_else(sam_build: SamBuild) -> None:
    shipped = {
        folder.name: sorted(path.name for path in folder.iterdir())
        for folder in sam_build.directory.iterdir()
        if folder.is_dir() and not folder.name.endswith("Layer")
    }
    assert shipped == {"Inbound": ["app.py"], "Outbound": ["app.py"], "Outflow": ["app.py"], "Status": ["status.py"]}


def test_the_layer_has_what_is_pinned_and_our_packages_and_no_more(sam_build: SamBuild) -> None:
    layer = sam_build.directory / "CommonLayer" / "python"
    pinned = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "layers/common/requirements.txt").read_text(), re.M)
    installed = {path.name.removesuffix(".dist-info") for path in layer.glob("*.dist-info")}
    assert installed == {f"{name.replace('-', '_')}-{version}" for name, version in pinned}
    tops = {path.name for path in layer.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}
    claimed = {
        line.partition("/")[0]
        for record in layer.glob("*.dist-info/RECORD")
        for line in record.read_text().splitlines()
        if "/" in line
    }
    assert tops - {"__pycache__"} - claimed == OUR_PACKAGES
    assert sorted(path.name for path in (sam_build.directory / "CommonLayer").iterdir()) == ["python"]


def test_compiled_code_is_of_wheels_for_the_target(sam_build: SamBuild) -> None:
    compiled = {}
    for path in (sam_build.directory / "CommonLayer").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            head = path.read_bytes()[:20]
            assert head[:2] not in (b"MZ", b"\xca\xfe", b"\xcf\xfa", b"!<"), (
                path
            )  # of other systems, and static libraries
            if head[:4] == b"\x7fELF":
                compiled[path.name] = int.from_bytes(head[18:20], "little")
    assert compiled, "msgspec is compiled: the walk sees nothing"
    assert set(compiled.values()) == {E_MACHINE["arm64"]}
    assert [name for name in compiled if ".cpython-313-aarch64-" not in name and not name.endswith(".abi3.so")] == []


def test_the_layer_is_small(sam_build: SamBuild) -> None:
    files = [path for path in (sam_build.directory / "CommonLayer").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_LAYER_BYTES


def test_nothing_of_the_building_machine_is_shipped(sam_build: SamBuild) -> None:
    places = [str(ROOT).encode(), str(sam_build.directory).encode(), sys.executable.encode()]
    layer = sam_build.directory / "CommonLayer"
    told = [path for path in layer.rglob("*") if path.is_file() and any(place in path.read_bytes() for place in places)]
    assert told == []


def test_bytecode_is_there_or_its_absence_is_said(sam_build: SamBuild) -> None:
    layer = sam_build.directory / "CommonLayer" / "python"
    if "notice: no Python 3.13 here" in sam_build.output:
        assert not list(layer.rglob("*.pyc"))
    else:
        assert_has_bytecode(layer, "cpython-313")


def test_the_rules_layer_has_the_rules_as_json(sam_build: SamBuild) -> None:
    layer = sam_build.directory / "RulesLayer"
    assert [path.name for path in layer.iterdir()] == ["rules.json"]
    assert load(layer / "rules.json").digest == load(ROOT / "config/rules.yaml").digest


# The same Makefile, for this machine.


def test_the_layer_for_this_machine_has_bytecode(host_build: HostBuild) -> None:
    layer = host_build.built("CommonLayer", ROOT / "layers/common")
    assert_has_bytecode(layer / "python", sys.implementation.cache_tag)


def test_bytecode_survives_a_zip(host_build: HostBuild, tmp_path: Path) -> None:
    """Unpacked, all files have other times; and the sources are spoiled here, so that only bytecode can be imported."""
    layer = host_build.built("CommonLayer", ROOT / "layers/common") / "python"
    archive = tmp_path / "layer.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in layer.rglob("*"):
            zipped.write(path, path.relative_to(layer))
    unpacked = tmp_path / "opt"
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(unpacked)
    for path in (unpacked / "mqbridge").rglob("*.py"):
        path.write_text("raise SystemExit('read from source')")
    script = "import mqbridge.handler, mqbridge.flows.outbound; print(mqbridge.handler.__cached__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.strip().startswith(str(unpacked))


def test_without_the_target_s_interpreter_the_build_goes_on_and_says_so(tmp_path: Path) -> None:
    """PYTHON=true fetches no wheels: this is about what comes behind them."""
    (tmp_path / "python").mkdir()
    variables = [f"ARTIFACTS_DIR={tmp_path}", "PYTHON=true", "COMPILER=false"]
    done = subprocess.run(
        ["/usr/bin/env", "make", "-s", "-C", "layers/common", "build-CommonLayer", *variables],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "notice: no Python 3.13 here" in done.stdout  # SAM hides the other
    assert {path.name for path in (tmp_path / "python").iterdir()} == OUR_PACKAGES
    assert not list(tmp_path.rglob("__pycache__"))


# The rules layer.


def test_faulty_rules_end_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_rules.main(ROOT / "examples/faulty.yaml", tmp_path) == 1
    assert "MB105 Instances.Mqtt[0].Password" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_data_and_the_package_transforms_that_lie_beside_the_rules_go_along_and_nothing_else(tmp_path: Path) -> None:
    source, layer = tmp_path / "config", tmp_path / "layer"
    layer.mkdir()
    shutil.copytree(ROOT / "config", source)
    shutil.copy(ROOT / "examples/transforms/hosts.csv", source)
    shutil.copytree(ROOT / "examples/transforms/transforms", source / "transforms")
    beside = {
        *("sites.json", "ca.pem", "certificates/client.crt", "transforms/names.yaml"),  # goes along
        *(
            "rules.test.yaml",
            "other.toml",
            "NOTES.md",
            "play.py",
            "play.sh",
            ".env",
            "__init__.py",
            "certificates/renew.py",
        ),
        *("__pycache__/play.cpython-313.pyc", "transforms/__pycache__/readings.cpython-313.pyc", "certificates/.key"),
    }
    for name in beside:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("")
    assert build_rules.main(source / "rules.yaml", layer) == 0
    assert files_below(layer) == {
        "rules.json",
        "hosts.csv",
        "sites.json",
        "ca.pem",
        "certificates/client.crt",
        "python/transforms/__init__.py",
        "python/transforms/readings.py",
        "python/transforms/names.yaml",
    }
    assert json.loads((layer / "rules.json").read_text())["OutboundRules"]


def test_the_example_s_programs_do_not_go_along(tmp_path: Path) -> None:
    assert build_rules.main(ROOT / "examples/demo/rules.yaml", tmp_path) == 0
    assert files_below(tmp_path) == {"rules.json"}


def test_another_rules_json_beside_the_rules_does_not_take_their_place(tmp_path: Path) -> None:
    source, layer = tmp_path / "config", tmp_path / "layer"
    shutil.copytree(ROOT / "config", source)
    (source / "rules.json").write_text("{}")
    assert build_rules.main(source / "rules.yaml", layer) == 0
    assert json.loads((layer / "rules.json").read_text())["OutboundRules"]


def test_what_an_earlier_build_left_and_is_gone_since_is_not_shipped(tmp_path: Path) -> None:
    source, layer = tmp_path / "config", tmp_path / "layer"
    shutil.copytree(ROOT / "config", source)
    shutil.copytree(ROOT / "examples/transforms/transforms", source / "transforms")
    (source / "transforms/old.py").write_text("")
    assert build_rules.main(source / "rules.yaml", layer) == 0
    assert "python/transforms/old.py" in files_below(layer)
    (source / "transforms/old.py").unlink()
    assert build_rules.main(source / "rules.yaml", layer) == 0
    assert "python/transforms/old.py" not in files_below(layer)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_has_bytecode(folder: Path, tag: str) -> None:
    """Every module has bytecode that is never compared with its source (PEP 552: flags 1)."""
    sources = list(folder.rglob("*.py"))
    assert sources
    for source in sources:
        cached = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
        assert cached.exists(), source
        assert int.from_bytes(cached.read_bytes()[4:8], "little") == 1, source
