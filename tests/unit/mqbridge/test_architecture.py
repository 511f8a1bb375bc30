"""The directions of DESIGN.md section 2, read from the source of every module; and what a handler's import may load."""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.unit.mqbridge.support import ROOT

LAYER = ROOT / "layers" / "common"
PACKAGE = LAYER / "mqbridge"
# Rooms: the folders of the package, each with a face; what lies beside them is a room of one module.
ROOMS = frozenset(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())


@dataclass(frozen=True)
class Import:
    """One import: who imports, which module, and where it stands."""

    importer: str
    module: str
    place: str

    @property
    def importer_room(self) -> str:
        return room_of(self.importer)

    @property
    def room(self) -> str:
        return room_of(self.module)


def room_of(module: str) -> str:
    """Return the room of one of our modules: `rules` of mqbridge.rules.load; else the top package."""
    parts = module.split(".")
    return parts[1] if parts[0] == "mqbridge" and len(parts) > 1 else parts[0]


def modules(root: Path, package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*.py")):
        parts = [package, *path.relative_to(root).with_suffix("").parts]
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_module(name: str) -> bool:
    path = LAYER.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def shows(name: str) -> frozenset[str]:
    """Return what the face of a room shows; a function may be called as its module is (rules.load)."""
    path = LAYER.joinpath(*name.split("."), "__init__.py")
    if not path.exists():
        return frozenset()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def imports_of(module: str, path: Path) -> Iterator[Import]:
    """Yield every import of a module, those inside functions and for type checking too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, place) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *([node.module] if node.module else [])])
            origin = base if node.level else str(node.module)
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                reaches_in = is_module(full) and (alias.name not in shows(origin) or package == origin)
                yield Import(module, full if reaches_in else origin, place)


OURS = [each for module, path in modules(PACKAGE, "mqbridge") for each in imports_of(module, path)]
REMOTING = [
    each
    for module, path in modules(LAYER / "rocketmq_remoting", "rocketmq_remoting")
    for each in imports_of(module, path)
]


def told(found: list[Import]) -> list[str]:
    return [f"{each.place} imports {each.module}" for each in found]


def test_the_walk_sees_the_imports() -> None:
    """Else the tests below would hold for an empty list."""
    assert len(OURS) > 100
    assert any(each.importer == "mqbridge.handler" and each.module == "mqbridge.triggers" for each in OURS)
    assert any(each.importer == "mqbridge.rules.load" and each.module == "mqbridge.rules.check" for each in OURS)
    assert {"rules", "flows", "triggers", "delivery"} <= ROOMS


def test_the_remoting_client_imports_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"rocketmq_remoting"}
    assert told([each for each in REMOTING if each.module.split(".")[0] not in allowed]) == []


def test_nothing_of_the_layer_imports_functions_or_the_command_line() -> None:
    outside = {"functions", "mqbridge_cli", "devstack", "tests"}
    assert told([each for each in OURS + REMOTING if each.module.split(".")[0] in outside]) == []


def test_functions_import_nothing_but_the_package() -> None:
    found = [each for module, path in modules(ROOT / "functions", "functions") for each in imports_of(module, path)]
    assert found
    allowed = {"mqbridge", "typing", "collections", "functions"}
    assert told([each for each in found if each.module.split(".")[0] not in allowed]) == []


# Of no subject: what any room may use.
TOOLS = {"later", "patience", "values"}
# DESIGN.md section 2: what each room may use of mqbridge, beside itself.
MAY_USE = {
    "messages": {"outcomes"},
    "outcomes": {"messages", "rules"},  # for type checking only
    "mapping": {"messages", "outcomes"},
    "events": {"mapping", "messages", "outcomes", "json_text"},
    "extract": {"json_text", "regexes"},
    "patterns": set(),
    "cleanse": {"events", "extract", "json_text", "patterns", "regexes"},
    "rules": {"patterns", "extract", "cleanse", "json_text", "regexes"},
    "aws_iot": {"messages", "outcomes"},
    "flows": {
        "aws_iot",
        "mapping",
        "rules",
        "messages",
        "outcomes",
        "events",
        "extract",
        "cleanse",
        "json_text",
        "presence",
    },
    "presence": {"messages", "outcomes"},
    "sources": {"rules", "telemetry"},
    "triggers": {"messages", "outcomes", "presence"},
    "pulling": {"telemetry", "inbound_source", "messages", "outcomes", "rocketmq", "rules", "secrets"},
    "delivery": {
        "aws_iot",
        "messages",
        "outcomes",
        "rules",
        "mqtt",
        "rocketmq",
        "namespace",
        "secrets",
    },  # the run options it judges by, the clients it sends with
}


@pytest.mark.parametrize(("room", "allowed"), MAY_USE.items())
def test_a_room_uses_only_what_it_may(room: str, allowed: set[str]) -> None:
    found = [
        each
        for each in OURS
        if each.importer_room == room
        and each.module.startswith("mqbridge.")
        and each.room not in {room, *TOOLS, *allowed}
    ]
    assert told(found) == []


@pytest.mark.parametrize(
    "room",
    [
        "aws_iot",
        "flows",
        "rules",
        "mapping",
        "messages",
        "outcomes",
        "patterns",
        "presence",
        "extract",
        "events",
        "json_text",
    ],
)
def test_pure_rooms_have_no_socket_clock_randomness_or_environment(room: str) -> None:
    impure = {
        "socket",
        "ssl",
        "select",
        "time",
        "random",
        "secrets",
        "os",
        "threading",
        "asyncio",
        "subprocess",
        "http",
        "urllib",
    }
    assert told([each for each in OURS if each.importer_room == room and each.module.split(".")[0] in impure]) == []


def test_operators_reach_outside_by_their_port_only() -> None:
    outside = {"threading", "time", "random", "os", "socket", "boto3", "botocore", "importlib", "pathlib"}
    found = {
        (each.importer, each.module.split(".")[0])
        for each in OURS
        if each.importer_room == "cleanse" and each.module.split(".")[0] in outside
    }
    by_the_port = {("mqbridge.cleanse.outside", each) for each in outside - {"random", "os", "socket"}}
    assert found == {*by_the_port, ("mqbridge.cleanse.remembering", "threading")}  # the lock of what is remembered


def test_only_the_handler_sees_triggers_flows_and_delivery_together() -> None:
    seen: dict[str, set[str]] = {}
    for each in OURS:
        seen.setdefault(each.importer, set()).add(each.room)
    all_three = {module for module, rooms in seen.items() if {"triggers", "flows", "delivery"} <= rooms}
    assert all_three == {"mqbridge.handler"}


def test_triggers_flows_and_delivery_do_not_see_each_other() -> None:
    trio = {"triggers", "flows", "delivery"}
    found = [
        each
        for each in OURS
        if each.importer_room in trio
        and each.module.startswith("mqbridge.")
        and each.room in trio - {each.importer_room}
    ]
    assert told(found) == []


def test_nobody_reaches_past_another_room_s_face() -> None:
    found = [
        each
        for each in OURS
        if each.module.startswith("mqbridge.")
        and each.room in ROOMS
        and each.module != f"mqbridge.{each.room}"
        and each.importer_room != each.room
    ]
    assert told(found) == []


def test_the_remoting_client_is_used_by_its_face_only() -> None:
    assert told([each for each in OURS if each.module.startswith("rocketmq_remoting.")]) == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_face_lists_what_it_shows(room: str) -> None:
    face = importlib.import_module(f"mqbridge.{room}")
    assert face.__all__ == sorted(face.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(face, name) for name in face.__all__)
    imported = {
        alias.asname or alias.name
        for node in ast.parse((PACKAGE / room / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if not alias.name.startswith("_")
    }
    internal = {"CloudEventsBatch", "Sqs"} if room == "triggers" else set()
    assert imported - internal <= set(face.__all__)


@pytest.mark.parametrize(("module", "path"), list(modules(PACKAGE, "mqbridge")), ids=lambda value: str(value)[-40:])
def test_a_module_says_its_subject_and_stays_readable(module: str, path: Path) -> None:
    text = path.read_text()
    if not text:
        assert module == "mqbridge"
        return
    assert ast.get_docstring(ast.parse(text)), "a module has one subject, and says it"
    assert text.count("\n") < 500


# What a cold start pays for.

EXPENSIVE = [
    "boto3",
    "botocore",
    "asyncio",
    "ssl",
    "yaml",
    "paho",
    "jsonpath_rfc9535",
    "re2",
    "multiprocessing",
    "http.server",
    # What reads RocketMQ: the inbound function does when a schedule asks for it, and only then.
    "mqbridge.pulling",
    "rocketmq_remoting.consumer",
    "rocketmq_remoting.drain",
]


@pytest.mark.parametrize(
    "name", ["functions.outbound.app", "functions.inbound.app", "functions.outbound.status", "functions.outflow.app"]
)
def test_importing_a_handler_loads_nothing_expensive(name: str) -> None:
    script = f"import sys, {name}; print(*sys.modules, sep='\\n')"
    path = [str(LAYER), str(ROOT)]
    done = subprocess.run(  # our own interpreter on our own text
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={},
    )
    loaded = set(done.stdout.split())
    assert {"mqbridge.handler", "mqbridge.flows.planning", name} <= loaded
    assert [each for each in EXPENSIVE if each in loaded] == []
    assert ("msgspec" in loaded) == (name == "functions.outflow.app")  # data rules do not read payloads


@pytest.mark.parametrize(
    "name", ["functions.outbound.app", "functions.inbound.app", "functions.outbound.status", "functions.outflow.app"]
)
def test_importing_a_handler_collects_no_garbage_and_leaves_the_collector_on(name: str) -> None:
    script = f"""
import gc, sys
sys.path[:0] = {[str(LAYER), str(ROOT)]!r}
import typing, mqbridge.garbage
gc.collect()
before = [each["collections"] for each in gc.get_stats()]
import {name}
assert [each["collections"] for each in gc.get_stats()] == before
assert gc.isenabled() and gc.get_threshold()[0] == 10_000 and gc.get_freeze_count() > 10_000
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env={})
    assert done.returncode == 0, done.stderr


# What is of use to some functions, rules or triggers only.
TASKS = {"mqbridge.patterns", "mqbridge.extract", "mqbridge.cleanse", "mqbridge.rules.streamings"}
CLIENT = {"rocketmq_remoting.consumer", "rocketmq_remoting.producer", "rocketmq_remoting.connection"}
OTHER_TRIGGERS = {"mqbridge.triggers.http", "mqbridge.triggers.iot", "mqbridge.triggers.fc_mqtt"}
WHAT_FAILED = {"mqbridge.triggers.visibility", "difflib"}


@pytest.mark.parametrize(
    ("flow", "module", "own"),
    [
        ("outbound", "outbound.app", set()),
        ("inbound", "inbound.app", set()),
        ("status", "outbound.status", {"mqbridge.presence"}),
        ("outflow", "outflow.app", TASKS),
    ],
)
def test_a_plan_loads_nothing_of_other_rules_and_triggers(flow: str, module: str, own: set[str]) -> None:
    document = json.dumps(yaml.safe_load((ROOT / "config" / "rules.yaml").read_text()))
    script = f"""
import json, sys
sys.path[:0] = {[str(LAYER), str(ROOT)]!r}
import functions.{module}
from mqbridge import flows, rules, triggers
batch = triggers.read(json.load(open({str(ROOT / "tests" / "events" / f"{flow}-sqs.json")!r})))
assert flows.{flow}.plan(batch.records, rules.load({document!r}, flow={flow!r}), None)
print(*sys.modules, sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env={}
    )
    loaded = set(done.stdout.split())
    assert "mqbridge.triggers.sqs" in loaded
    assert own <= loaded
    others = CLIENT | OTHER_TRIGGERS | WHAT_FAILED | {"mqbridge.presence"} | TASKS
    assert (others - own) & loaded == set()
