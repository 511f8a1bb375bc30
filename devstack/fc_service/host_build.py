"""Build the functions' code for this machine's Python: by the Makefile by which `make build-fc` builds it for the service."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from devstack.cache import locked
from devstack.errors import CommandError

__all__ = ["ROOT", "HostBuild"]

ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("functions", "layers/common", "config")
# make's own variables and the user's would lead our Makefiles astray.
_DROPPED = (
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "ARCH",
    "RUNTIME",
    "COMPILER",
    "TARGET",
    "INSTALLED",
    "RULES",
)


class HostBuild:
    """What is built lies in `directory`, and is built again when its sources are newer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    def code(self) -> Path:
        """Return the folder that is /code in the service, with the rules that the project ships.

        Raises:
            CommandError: it cannot be built; it has what make said.
        """
        target, stamp = self._directory / "code", self._directory / "code.stamp"
        with locked():
            newest = _newest()
            if not (target.is_dir() and stamp.exists() and stamp.read_text() == newest):
                build(
                    target, runtime="{}.{}".format(*sys.version_info), arch=platform.machine(), compiler=sys.executable
                )
                stamp.write_text(newest)
        return target


def build(target: Path, **variables: str) -> str:
    """Build the code into `target`; return what make said. `variables` are the Makefile's, in lower case.

    Raises:
        CommandError: it cannot be built; it has what make said.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    given = {"ARTIFACTS_DIR": str(target), "PYTHON": sys.executable}
    given |= {name.upper(): "arm64" if value == "aarch64" else value for name, value in variables.items()}
    done = subprocess.run(  # noqa: S603 - make, on our own Makefiles
        ["make", "-s", "-C", str(ROOT / "functions"), "build-Fc", *(f"{key}={value}" for key, value in given.items())],  # noqa: S607
        env={key: value for key, value in os.environ.items() if key not in _DROPPED},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    if done.returncode:
        raise CommandError(f"the functions cannot be built for Function Compute:\n{said.strip()}")
    return said


def _newest() -> str:
    paths = [
        path
        for source in _SOURCES
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    latest = max(path.stat().st_mtime_ns for path in paths)
    return f"{latest} {len(paths)} {sys.executable} {sys.version}"
