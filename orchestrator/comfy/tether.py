"""Becomes another program that ends when its parent does: `python tether.py PARENT_PID PROGRAM [ARGUMENT …]`.

ComfyUI has no such option of its own, and a GPU that a dead service's child still holds is lost until somebody looks.
Linux alone can do it without a process in between; elsewhere the program is started all the same, and outlives a
service that is killed. A script of its own, not a module of the service: it is run before anything is imported.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, program: list[str]) -> None:
    """Never returns: this process is the program from here on, with the same id."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(f"process {parent} is gone already")  # it died before it could be watched
    os.execvp(program[0], program)  # noqa: S606 - the operator's own ComfyUI, and no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
