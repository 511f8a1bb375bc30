"""The Java that the benchmarks compare with: RocketMQ's own producer, and Apache Camel with one route."""

import hashlib
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devstack.cache import CACHE, jars, locked, program, publish
from devstack.errors import CommandError, SetupError
from devstack.jvm import java_command

__all__ = ["camel_command", "camel_version", "send_bench_command"]

_HERE = Path(__file__).resolve().parent
_POM = _HERE / "camel" / "pom.xml"
_MAVEN_TIMEOUT_S = 900


def send_bench_command(*arguments: str) -> list[str]:
    """Return the command of SendBench, on a JVM with its own defaults."""
    classes = _compiled(_HERE / "java" / "SendBench.java", jars())
    return java_command("SendBench", *arguments, home=CACHE / "java-home", classes=classes)


def camel_command(*arguments: str) -> list[str]:
    """Return the command of CamelBridge, on a JVM with its own defaults."""
    home = CACHE / "java-home"
    home.mkdir(parents=True, exist_ok=True)
    lib = _camel_jars()
    classes = _compiled(_HERE / "camel" / "CamelBridge.java", lib)
    return [
        program("java"),
        f"-Duser.home={home}",  # the RocketMQ client writes its log there
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        f"{classes}:{lib}/*",
        "CamelBridge",
        *arguments,
    ]


def camel_version() -> str:
    """Return the version that pom.xml names."""
    found = re.search(r"<camel\.version>(.+?)</", _POM.read_text(encoding="utf-8"))
    if found is None:
        raise SetupError(f"{_POM.name}: expected <camel.version>")
    return found[1]


def _camel_jars() -> Path:
    """Return the directory of Camel's jars; fetch them if they are not there."""
    key = hashlib.sha256(_POM.read_bytes()).hexdigest()[:8]
    target = CACHE / f"camel-{camel_version()}-{key}"
    if not target.exists():
        with locked():
            if not target.exists():
                publish(target, _fetch)
    return target / "lib"


def _fetch(directory: Path) -> None:
    print("fetching Apache Camel's jars with Maven (50 MB, once)")
    # -C: fail on a checksum that does not match, instead of warning.
    options = ("-q", "-B", "-C", "-Dstyle.color=never", "-f", str(_POM))
    goal = ("dependency:copy-dependencies", f"-DoutputDirectory={directory / 'lib'}")
    _run((program("mvn"), *options, *goal), "Maven could not fetch Camel's jars")


def _compiled(source: Path, libraries: Path) -> Path:
    """Return the directory of a source's classes; compile it if the source or the libraries have changed."""
    content = hashlib.sha256(str(libraries).encode() + source.read_bytes()).hexdigest()[:16]
    target = CACHE / "java-classes" / content
    if not target.exists():
        with locked():
            if not target.exists():
                publish(target, lambda directory: _compile(source, libraries, directory))
    return target


def _compile(source: Path, libraries: Path, directory: Path) -> None:
    options = ("-encoding", "UTF-8", "-nowarn", "-proc:none", "-cp", f"{libraries}/*", "-d", str(directory))
    _run((program("javac"), *options, str(source)), "javac")


def _run(command: Sequence[str], failure: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands
            command, check=False, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{failure}: not finished after {_MAVEN_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise CommandError(f"{failure}:\n{(done.stdout + done.stderr).strip()}")
