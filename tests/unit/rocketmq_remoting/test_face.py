"""What the package shows, and what importing it costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import rocketmq_remoting

PACKAGE = Path(rocketmq_remoting.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))
PRIVATE = [path.stem for path in MODULES if path.stem != "__init__"]
# What would cost a cold start more than the package itself.
HEAVY = set(
    "ssl asyncio logging email http urllib.request subprocess multiprocessing concurrent xml sqlite3 unittest".split()
)


def test_face_is_what_is_imported_into_it() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = [
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level for alias in node.names
    ]
    assert sorted(imported) == sorted(rocketmq_remoting.__all__)
    assert all(hasattr(rocketmq_remoting, name) for name in rocketmq_remoting.__all__)


@pytest.mark.parametrize("name", PRIVATE)
def test_module_defines_all_that_its_face_names(name: str) -> None:
    module = importlib.import_module(f"rocketmq_remoting.{name}")
    assert module.__doc__
    assert all(hasattr(module, each) for each in module.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_standard_library_and_the_package_itself_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] in sys.stdlib_module_names for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1
            assert node.level == 1 or str(node.module).partition(".")[0] in sys.stdlib_module_names


def test_types_are_announced() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_import_brings_nothing_heavy() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from rocketmq_remoting import *; print(*sys.modules)"
    done = subprocess.run(
        (sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)), check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert "rocketmq_remoting.producer" in loaded
    assert loaded & HEAVY == set()


def test_who_makes_messages_loads_nothing_that_talks_to_brokers() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from rocketmq_remoting import Message; print(*sys.modules)"
    done = subprocess.run(
        (sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)), check=True, capture_output=True, text=True
    )
    ours = {name for name in done.stdout.split() if name.startswith("rocketmq_remoting.")}
    assert ours == {f"rocketmq_remoting.{name}" for name in ("errors", "ids", "messages", "names")}
