"""Make sure that the programs and jars of the devstack are here: `python -m devstack.setup [ROCKETMQ_VERSION]`.

Quick and silent when there is nothing to do. Installs Debian packages only where it may do so without asking.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .cache import POM, find_program, locked, program, publish, rocketmq_directory, usual_version
from .errors import SetupError

PACKAGES = {
    "mosquitto": "mosquitto",
    "mosquitto_sub": "mosquitto-clients",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "mvn": "maven",
}
# The package starts a mosquitto of its own, which nobody asked for. policy-rc.d is the administrator's file, so we only
# claim the single-user runlevel, in which invoke-rc.d starts nothing; where that is ignored, a mosquitto on port 1883
# runs, which the devstack does not touch and does not collide with.
_APT_ENVIRONMENT = ("DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
_APT_INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
_MAVEN_TIMEOUT_S = 900
_STAMP = "stamp"


def missing_programs(find: Callable[[str], str | None] = find_program) -> list[str]:
    """Return the names of the programs that are not installed."""
    return [name for name in PACKAGES if find(name) is None]


def packages_for(programs: list[str]) -> list[str]:
    """Return the Debian packages that bring the programs."""
    return sorted({PACKAGES[name] for name in programs})


def ensure(version: str | None = None) -> None:
    """Install what is missing and fetch RocketMQ's jars once, of the usual version unless `version` says otherwise.

    Raises:
        SetupError: something is missing and we may not or cannot install it; the text says what to run.
    """
    missing = missing_programs()
    if missing:
        _install(missing)
    stamp = rocketmq_directory(version) / _STAMP
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    if _content(stamp) == wanted:
        return
    with locked():
        if _content(stamp) != wanted:  # another process may have been quicker
            publish(rocketmq_directory(version), lambda directory: _fetch_jars(directory, version, wanted))


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def _install(programs: list[str]) -> None:
    packages = packages_for(programs)
    lack = f"not installed: {', '.join(programs)}"
    if shutil.which("apt-get") is None:
        raise SetupError(f"{lack}; install mosquitto with its clients, a JDK (11 or newer) and Maven, then try again")
    if os.geteuid() == 0:
        become_root: tuple[str, ...] = ()
    elif shutil.which("sudo") and _succeeds(("sudo", "-n", "true")):
        become_root = ("sudo", "-n")
    else:
        raise SetupError(f"{lack}; run  sudo apt-get install -y {' '.join(packages)}  and try again")
    _say(f"{lack}; installing {' '.join(packages)}")
    as_root = (*become_root, "env", *_APT_ENVIRONMENT)
    subprocess.run((*as_root, "apt-get", "update", "-q"), check=False, stdout=sys.stderr)  # noqa: S603 - may be stale yet sufficient
    subprocess.run((*as_root, *_APT_INSTALL, *packages), check=False, stdout=sys.stderr)  # noqa: S603 - judged by what follows
    still_missing = missing_programs()
    if still_missing:
        raise SetupError(f"apt-get did not bring {', '.join(still_missing)}; its messages are above")


def _fetch_jars(directory: Path, version: str | None, stamp: str) -> None:
    version = version or usual_version()
    _say(f"fetching the jars of RocketMQ {version} with Maven (28 MB, 94 MB for 5.x, once)")
    command = (
        program("mvn"),
        "-q",
        "-B",
        "-C",  # fail on a checksum that does not match, instead of warning
        "-Dstyle.color=never",
        f"-Drocketmq.version={version}",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={directory / 'lib'}",
    )
    try:
        done = subprocess.run(  # noqa: S603
            command, check=False, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"Maven did not finish within {_MAVEN_TIMEOUT_S} s; is its repository reachable?") from error
    if done.returncode != 0 or not any((directory / "lib").glob("rocketmq-broker-*.jar")):
        raise SetupError(
            f"Maven could not fetch the jars of RocketMQ {version}:\n{(done.stdout + done.stderr).strip()}"
        )
    (directory / _STAMP).write_text(stamp, encoding="ascii")


def _succeeds(command: tuple[str, ...]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0  # noqa: S603


def _say(text: str) -> None:
    print(f"devstack: {text}", file=sys.stderr)


if __name__ == "__main__":
    try:
        ensure(*sys.argv[1:2])
    except SetupError as error:
        _say(str(error))
        sys.exit(2)
