"""Run `mqbridge` with its workers under cProfile: `python -m benchmarks.profiled FILE run --rules ...`.

FILE gets a line "seconds path function" for each function: its own time, and that of the functions outside the project that it called
itself. Functions written in C count as their caller's; otherwise small ones would look expensive. (A sampling thread was tried: on
a busy machine it gets its turn when the worker waits, and so sees mostly waiting.)
"""

import cProfile
import os
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import CodeType

from mqbridge_cli.main import main

_WORKER = "worker-"
_ROOT = str(Path(__file__).resolve().parent.parent) + os.sep
_NOT_OURS = f"{_ROOT}.venv{os.sep}"

_profiles: list[cProfile.Profile] = []
_run = threading.Thread.run


def _profiled_run(thread: threading.Thread) -> None:
    if not thread.name.startswith(_WORKER):
        _run(thread)
        return
    profile = cProfile.Profile(builtins=False)
    _profiles.append(profile)
    profile.runcall(_run, thread)


def _own_times() -> dict[str, float]:
    times: defaultdict[str, float] = defaultdict(float)
    for profile in _profiles:
        for entry in profile.getstats():
            place = _place(entry.code)
            if place:
                outside = sum(each.inlinetime for each in entry.calls or () if not _place(each.code))
                times[place] += entry.inlinetime + outside
    return times


def _place(code: CodeType | str) -> str:
    if isinstance(code, str) or not code.co_filename.startswith(_ROOT) or code.co_filename.startswith(_NOT_OURS):
        return ""
    return f"{code.co_filename.removeprefix(_ROOT)} {code.co_qualname}"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    threading.Thread.run = _profiled_run  # type: ignore[assignment,method-assign]  # cProfile is started in the thread it sees
    status = main(sys.argv[2:])
    target.write_text("".join(f"{seconds:.6f} {place}\n" for place, seconds in _own_times().items()), encoding="utf-8")
    sys.exit(status)
