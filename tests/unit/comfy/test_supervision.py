import asyncio
import logging
import time
from itertools import pairwise

from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import BackendLost

SOON = Backoff(first=0.01, limit=0.01)


async def run_until(runs: asyncio.Semaphore, count: int, step, backoff: Backoff = SOON) -> None:
    """Runs until `step` has released `runs` so many times."""
    task = asyncio.create_task(keep_running("Thing", step, backoff))
    async with asyncio.timeout(10):
        for _ in range(count):
            await runs.acquire()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_step_that_fails_is_run_again_later_each_time_up_to_the_limit():
    times: list[float] = []
    runs = asyncio.Semaphore(0)

    async def step() -> None:
        times.append(time.monotonic())
        runs.release()
        raise BackendLost("gone")

    await run_until(runs, 6, step, Backoff(first=0.02, limit=0.1, calm=10))
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] >= 0.02
    assert gaps[1] >= 0.04
    assert all(gap >= 0.1 for gap in gaps[3:])


async def test_a_calm_run_starts_the_backoff_anew():
    times: list[float] = []
    runs = asyncio.Semaphore(0)

    async def step() -> None:
        times.append(time.monotonic())
        runs.release()
        await asyncio.sleep(0.05)

    await run_until(runs, 6, step, Backoff(first=0.01, limit=10.0, calm=0.04))
    assert times[-1] - times[0] < 2


async def test_the_same_expected_failure_is_told_once(caplog):
    runs = asyncio.Semaphore(0)

    async def step() -> None:
        runs.release()
        raise BackendLost("gone")

    await run_until(runs, 4, step)
    assert [record.getMessage() for record in caplog.records] == ["Thing: gone"]
    assert caplog.records[0].levelno == logging.WARNING


async def test_an_unforeseen_failure_is_logged_with_its_trace_and_does_not_end_the_task(caplog):
    runs = asyncio.Semaphore(0)

    async def step() -> None:
        runs.release()
        raise ZeroDivisionError

    await run_until(runs, 3, step)
    assert caplog.records[0].exc_info
