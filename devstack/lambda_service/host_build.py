"""Build the functions of template.yaml for this machine's Python: by the Makefiles by which `sam build` builds them for Lambda."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from devstack.cache import locked
from devstack.errors import CommandError

from .functions import Function
from .template import read_template

__all__ = ["ROOT", "HostBuild"]

ROOT = Path(__file__).resolve().parents[2]
# What Lambda's managed runtime has beside the standard library: its client, and boto3, each with all that it needs.
RUNTIME_DISTRIBUTIONS = (
    *("awslambdaric", "simplejson", "snapshot-restore-py"),
    *("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3"),
)
# make's own variables and the user's ARCH would lead a Makefile of ours astray.
_DROPPED = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARCH", "RUNTIME", "COMPILER")


class HostBuild:
    """What is built lies in `directory`, a folder for each function and layer, and is built again when its source is newer."""

    def __init__(self, directory: Path, template: Path = ROOT / "template.yaml") -> None:
        self.template = read_template(template)
        self._directory = directory.absolute()

    def function(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        rules_layer: Path | None = None,
        concurrency: int = 10,
    ) -> Function:
        """Return a function, built; `environment` is added to the template's, `rules_layer` takes the place of RulesLayer.

        Raises:
            CommandError: it cannot be built; it has what make said.
            LookupError: the template has no such function.
        """
        declared = self.template.function(name)
        layers = [
            rules_layer if each == "RulesLayer" and rules_layer else self.built(each, self.template.layers[each].folder)
            for each in declared.layers
        ]
        return Function(
            name=declared.name,
            handler=declared.handler,
            task=self.built(declared.name, declared.folder),
            runtime=self.runtime(),
            layers=tuple(layers),
            environment={**declared.environment, **(environment or {})},
            timeout_s=declared.timeout_s,
            memory_mb=declared.memory_mb,
            concurrency=concurrency,
        )

    def built(self, name: str, source: Path) -> Path:
        """Return the folder of an artefact, which is made if it is not there or its source is newer."""
        target, stamp = self._directory / name, self._directory / f"{name}.stamp"
        with locked():
            newest = _newest(source)
            if target.is_dir() and stamp.exists() and stamp.read_text() == newest:
                return target
            self._make(name, source, target)
            stamp.write_text(newest)
        return target

    def runtime(self) -> Path:
        """Return a folder that has what the managed runtime brings, as links into our own environment."""
        folder = self._directory / "runtime"
        folder.mkdir(parents=True, exist_ok=True)
        for name in RUNTIME_DISTRIBUTIONS:
            distribution = metadata.distribution(name)
            tops = {path.parts[0] for path in distribution.files or [] if path.parts[0] not in ("..", "__pycache__")}
            for top in tops:
                link = folder / top
                with contextlib.suppress(FileExistsError):  # of last time, or of another process
                    link.symlink_to(str(distribution.locate_file(top)))
        return folder

    def _make(self, name: str, source: Path, target: Path) -> None:
        subprocess.run(["rm", "-rf", str(target)], check=True)  # noqa: S603, S607 - our own folder
        target.mkdir(parents=True)
        machine = platform.machine()
        variables = {
            "ARTIFACTS_DIR": str(target),
            "RUNTIME": "{}.{}".format(*sys.version_info),
            "ARCH": "arm64" if machine == "aarch64" else machine,
            "PYTHON": sys.executable,
            "COMPILER": sys.executable,
        }
        done = subprocess.run(  # noqa: S603 - make, on our own Makefiles
            ["make", "-s", "-C", str(source), f"build-{name}", *(f"{key}={value}" for key, value in variables.items())],  # noqa: S607
            env={key: value for key, value in os.environ.items() if key not in _DROPPED},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            raise CommandError(f"{name} cannot be built:\n{(done.stdout + done.stderr).strip()}")


def _newest(source: Path) -> str:
    """Return what changes when anything in the folder does; Python's own bytecode there is nothing to us."""
    paths = [path for path in source.rglob("*") if "__pycache__" not in path.parts]
    latest = max(path.stat().st_mtime_ns for path in paths if path.is_file())
    return f"{latest} {len(paths)} {sys.executable} {sys.version}"
