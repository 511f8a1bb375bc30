"""make bench: measure, print, and write RESULTS.md."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import outbound

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Run every measurement and write what came out."""
    results = [*outbound.plan_and_encode(), *outbound.handler_into_real_broker()]
    table = "\n".join(result.row() for result in results)
    text = (
        "# Results\n\n"
        "`make bench` wrote this. Medians of the runs, with the lowest and highest; compare figures of one run only.\n\n"
        f"{_machine()}\n\n"
        "| measurement | median | lowest | highest | unit |\n|---|---|---|---|---|\n"
        f"{table}\n"
    )
    RESULTS.write_text(text)
    print(text)
    return 0


def _machine() -> str:
    day = datetime.now(UTC).date()
    return (
        f"{day}, {os.cpu_count()} cores {platform.machine()}, {platform.system()}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    sys.exit(main())
