"""librocketmq is loaded when an instance says so, and what is missing is named."""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqbridge.delivery import OpenSinks
from mqbridge.delivery.native_library import Library, NativeClientMissing, load_library, writable_home
from mqbridge.outcomes import Failed, Reject
from mqbridge.rules import InvalidRules, load
from tests.unit.mqbridge.native_stand_in import NOW_S, StandInLibrary
from tests.unit.mqbridge.support import ROCKETMQ_INSTANCE, ROOT, command, document

# --- loading ---


class FakeDll:
    """What ctypes makes of a library: item access gives functions, whose types can be set."""

    def __init__(self, *missing: str) -> None:
        self._missing = missing
        self.functions: dict[str, types.SimpleNamespace] = {}

    def __getitem__(self, name: str) -> types.SimpleNamespace:
        if name in self._missing:
            raise AttributeError(f"undefined symbol: {name}")
        return self.functions.setdefault(name, types.SimpleNamespace())


def importing(dll: FakeDll) -> Callable[[str], Any]:
    return lambda name: types.SimpleNamespace(dll=dll) if name == "rocketmq.ffi" else None


def test_every_function_that_a_producer_calls_is_declared() -> None:
    dll = FakeDll()
    load_library(importing(dll))
    functions = {name for name in vars(Library) if name[0].isupper()}
    assert set(dll.functions) == functions == {name for name in vars(StandInLibrary) if name[0].isupper()}
    assert all(set(vars(function)) == {"restype", "argtypes"} for function in dll.functions.values())


def test_a_package_or_library_that_is_missing_is_named_with_what_to_install() -> None:
    def fail(_name: str) -> Any:
        raise ImportError("rocketmq dynamic library not found")

    with pytest.raises(NativeClientMissing, match=r"mqbridge\[native\].*librocketmq.*dynamic library not found"):
        load_library(fail)


def test_a_library_that_lacks_a_function_is_named() -> None:
    with pytest.raises(NativeClientMissing, match="no function SetByteMessageBody"):
        load_library(importing(FakeDll("SetByteMessageBody")))


def test_without_the_package_messages_wait_and_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocketmq.ffi", None)  # what Python has for a module that must not be found
    rules = load(with_native())
    (outcome,) = OpenSinks(rules).send("rocketmq", "rmq-local", [command()], NOW_S)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "cannot_connect"
    assert "mqbridge[native]" in outcome.detail


def test_an_instance_says_which_client_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocketmq.ffi", types.SimpleNamespace(dll=FakeDll()))
    sinks = OpenSinks(load(with_native()))
    (outcome,) = sinks.send("rocketmq", "rmq-local", [command(body=b"")], NOW_S)
    sinks.close()
    assert isinstance(outcome, Reject)
    assert "Client: native" in outcome.detail


def test_the_default_client_loads_nothing_of_it() -> None:
    script = "import sys, mqbridge.delivery.rocketmq_sink as sink; print(*sys.modules)"
    done = subprocess.run(  # our own interpreter on our own text
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'layers' / 'common')!r}); {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "mqbridge.delivery.rocketmq_sink" in loaded
    assert not loaded & {"mqbridge.delivery.native_producer", "mqbridge.delivery.native_library", "ctypes", "rocketmq"}


@pytest.mark.parametrize("home", ["/home/of/a/function", None])
def test_a_home_that_cannot_be_written_in_is_replaced_while_the_library_opens_its_logs(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.setenv("HOME", "")
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    with writable_home(lambda _folder: False):
        assert os.access(os.environ["HOME"], os.W_OK)
    assert os.environ.get("HOME") == home


def test_a_home_that_can_be_written_in_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with writable_home():
        assert os.environ["HOME"] == str(tmp_path)


# --- rules ---


def with_native(**more: Any) -> dict[str, Any]:
    rules = document()
    rules["Instances"]["RocketMQ"] = [{**ROCKETMQ_INSTANCE, "Client": "native", **more}]
    return rules


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"Tls": {}}, "Tls"),
        ({"AccessKey": "env:A", "SecretKey": "env:S", "SecurityToken": "env:T"}, "SecurityToken"),
    ],
)
def test_what_the_library_has_no_means_for_is_a_fault(more: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidRules) as raised:
        load(with_native(**more))
    (fault,) = raised.value.faults
    assert (fault.code, fault.path) == ("MB212", ("Instances", "RocketMQ", 0, key))
    assert "Client: native" in fault.expected


def test_access_keys_are_not() -> None:
    assert load(with_native(AccessKey="env:A", SecretKey="env:S")).rocketmq["rmq-local"].client == "native"
