import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.comfy import tether

PARENT = """
import subprocess, sys, os, time
child = subprocess.Popen([sys.executable, sys.argv[1], str(os.getpid()), "sleep", "60"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def name_of(pid: int) -> str:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except FileNotFoundError:
        return "gone"
    return "gone" if rest.split()[0] == "Z" else name


def until(pid: int, name: str) -> None:
    deadline = time.monotonic() + 30
    while name_of(pid) != name:
        assert time.monotonic() < deadline, name_of(pid)
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_program_ends_with_its_parent_even_when_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tether.__file__], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as said:
        child = int(said.readline())
        until(child, "sleep")
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(30)
        until(child, "gone")


def test_it_does_not_start_for_a_parent_that_is_gone() -> None:
    done = subprocess.run([sys.executable, tether.__file__, "1", "true"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "gone already" in done.stderr
