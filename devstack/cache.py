"""Where the devstack keeps what it downloads and compiles, and how several processes share it."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SetupError

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".devstack"
POM = HERE / "pom.xml"

# Debian keeps servers in sbin, which is not in the PATH of ordinary users.
_SERVER_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin")


def find_program(name: str) -> str | None:
    """Return the path of a program, looking where servers are kept as well as in PATH."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SERVER_DIRECTORIES))


def program(name: str) -> str:
    """Return the path of a program that must be there."""
    found = find_program(name)
    if found is None:
        raise SetupError(f"{name} is not installed; run  make system")
    return found


def usual_version() -> str:
    """Return the version of RocketMQ that development runs against; it is declared once, in pom.xml."""
    version = re.search(r"<rocketmq\.version>(.+?)</", POM.read_text(encoding="utf-8"))
    if version is None:
        raise SetupError(f"{POM.name}: expected <rocketmq.version>")
    return version[1]


def rocketmq_directory(version: str | None = None) -> Path:
    """Return where the jars of a version of RocketMQ belong, the usual one unless `version` says otherwise."""
    return CACHE / f"rocketmq-{version or usual_version()}"


def jars(version: str | None = None) -> Path:
    """Return the directory of RocketMQ's jars, which must have been fetched."""
    directory = rocketmq_directory(version) / "lib"
    if not directory.is_dir():
        command = "make system" if version is None else f"python -m devstack.setup {version}"
        raise SetupError(f"the jars of RocketMQ {version or usual_version()} have not been fetched; run  {command}")
    return directory


@contextmanager
def locked() -> Iterator[None]:
    """Hold the cache's lock, so that two processes do not fetch or compile the same thing at once."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def publish(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` fill a new directory and put it in the place of `target` only when it is complete.

    To be called under the lock. Whoever looks at `target` finds all of it or nothing, even if we are killed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as directory:
        fresh = Path(directory) / "fresh"
        fresh.mkdir()
        fill(fresh)
        if target.exists():
            target.rename(Path(directory) / "old")
        fresh.rename(target)
