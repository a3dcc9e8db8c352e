"""Keeps a task running: what ends or fails is started again, later each time. Knows nothing of what it runs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from orchestrator.errors import OrchestratorError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backoff:
    """Seconds before another try: `first`, doubled up to `limit`; after a run of `calm` seconds, `first` again."""

    first: float = 0.1
    limit: float = 1.0
    calm: float = 2.0


async def keep_running(name: str, step: Callable[[], Awaitable[None]], backoff: Backoff) -> None:
    """Runs `step` again and again until cancelled. A failure of a known kind is one line in the log, told once."""
    delay, told = backoff.first, ""
    while True:
        started = time.monotonic()
        try:
            await step()
        except (OrchestratorError, OSError) as error:
            if str(error) != told:
                log.warning("%s: %s", name, error)
            told = str(error)
        except Exception:
            log.exception("%s failed and will be started again", name)
        if time.monotonic() - started >= backoff.calm:
            delay, told = backoff.first, ""
        await asyncio.sleep(delay)
        delay = min(delay * 2, backoff.limit)


@asynccontextmanager
async def repeated(name: str, step: Callable[[], Awaitable[None]], *, every: float) -> AsyncIterator[None]:
    """While it is open, a task beside it runs `step` at once and then after every pause of so many seconds."""
    task = asyncio.create_task(keep_running(name, step, Backoff(every, every)), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
