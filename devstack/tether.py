"""Become another program that is killed when the process that started it dies: `tether.py PARENT_PID COMMAND...`.

Run as a script, without the package. A `preexec_fn` in subprocess would save 20 ms, but it runs Python between fork and
exec, which may deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; it survives exec, unless the program changes its user


def main(parent_pid: int, command: list[str]) -> None:
    """Ask the kernel for SIGKILL at the parent's death, then exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:
        sys.exit("the parent died before the tether was fastened")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
    os.execvp(command[0], command)  # noqa: S606 - becoming a program without a shell is the purpose


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
