"""Names of a package's face that are loaded when they are first asked for: a cold start pays for what it uses."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["later"]


def later(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package: `modules` has the module of each name, "" where the name is a module itself."""

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f".{modules[name] or name}", package)
        found = getattr(module, name) if modules[name] else module
        setattr(sys.modules[package], name, found)
        return found

    return load
