"""How a Java program of RocketMQ is run."""

import os
import re
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from .cache import jars, program

# No file in /tmp for jstat, and the collector that starts quickest and is made for heaps of this size.
QUICK_START = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto")
# Only for programs that end soon: the second compiler is what makes a long-running server fast.
SHORT_LIVED = (*QUICK_START, "-XX:TieredStopAtLevel=1", "-Xms32m", "-Xmx256m")

# RocketMQ reaches into the JDK to free mapped files.
_OPENED = (
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
)
_FIRST_WITH_MODULES = 9


def java_command(
    main: str,
    *arguments: str,
    home: Path,
    options: Sequence[str] = (),
    classes: Path | None = None,
    version: str | None = None,
) -> list[str]:
    """Return the command that runs a main class, with RocketMQ on the class path.

    Args:
        main: The class.
        arguments: Of its main method.
        home: What it takes for the user's home; RocketMQ writes logs and stores there. Temporary files go there as well.
        options: Of the JVM; they come last and win.
        classes: One more directory for the class path.
        version: Of RocketMQ, if not the usual one.
    """
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    class_path = [*([str(classes)] if classes else []), str(jars(version) / "*")]
    return [
        program("java"),
        *(_OPENED if _java_version() >= _FIRST_WITH_MODULES else ()),
        f"-Duser.home={home}",
        f"-Djava.io.tmpdir={temporary}",
        # The client builds message ids from the host's address: 32 hex digits with IPv4, as nearly everywhere; 56 with IPv6.
        "-Djava.net.preferIPv4Stack=true",
        *options,
        "-cp",
        os.pathsep.join(class_path),
        main,
        *arguments,
    ]


@lru_cache(maxsize=1)
def _java_version() -> int:
    """Return 8, 11, 17..."""
    answer = subprocess.run((program("java"), "-version"), check=True, capture_output=True, text=True).stderr  # noqa: S603
    found = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(found[1]) if found else _FIRST_WITH_MODULES
