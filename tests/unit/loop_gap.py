"""How long the event loop stands still while something runs beside it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

LIMIT = 0.050
"""Seconds that nothing may hold up the event loop."""

_TICK = 0.005
_TRIES = 5


async def least_worst_gap(start: Callable[[], Awaitable[object]]) -> float:
    """The longest stand-still in seconds beside `start()`, by a ticker of 5 ms; the least of up to five tries.

    From each gap the longest time is taken off that a thread of this process was ready and the system let others run,
    so that a busy machine does not count as our stall (Linux only; elsewhere it counts).
    """
    gaps = []
    for _ in range(_TRIES):
        gaps.append(await _worst_gap(asyncio.ensure_future(start())))
        if gaps[-1] <= LIMIT:
            break
    return min(gaps)


async def _worst_gap(work: "asyncio.Future[object]") -> float:
    worst, last, waited = 0.0, time.perf_counter(), _run_delays()
    while not work.done():
        await asyncio.sleep(_TICK)
        now, waits = time.perf_counter(), _run_delays()
        kept_waiting = max((delay - waited.get(thread, 0.0) for thread, delay in waits.items()), default=0.0)
        worst = max(worst, now - last - _TICK - kept_waiting)
        last, waited = time.perf_counter(), waits
    await work
    return worst


def _run_delays() -> dict[str, float]:
    """Seconds that each thread of this process has waited for a processor so far."""
    delays = {}
    for status in Path("/proc/self/task").glob("*/schedstat"):
        try:
            delays[status.parent.name] = int(status.read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            continue  # the thread has just ended
    return delays
