"""What is freed is there for the next job."""

import ctypes
import subprocess
import sys

import pytest

_JOBS = """
import resource, sys, threading
from orchestrator.allocation import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def job():
    held = [bytes(size) for size in (500_000, 376_000, 787_000, 376_000)]

def jobs():
    for _ in range(5):
        job()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        job()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)

thread = threading.Thread(target=jobs)
thread.start()
thread.join()
"""


def faults_of_a_job(how: str) -> int:
    # The program is ours.
    told = subprocess.run([sys.executable, "-c", _JOBS, how], stdout=subprocess.PIPE, check=True)
    return int(told.stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc"
)
def test_a_jobs_buffers_are_not_given_back_to_the_kernel_and_taken_again() -> None:
    assert faults_of_a_job("keep") < 10 < faults_of_a_job("leave")
