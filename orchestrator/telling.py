"""A download's progress, told by a plain callback, on its way to listeners that are awaited. Must know neither end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from orchestrator.jobs.job import Fetching
from orchestrator.models.speed import Progress

TellState = Callable[[Fetching], Awaitable[None]]

_PAUSE_SECONDS = 0.2


@asynccontextmanager
async def told_by(tell: TellState) -> AsyncGenerator[Callable[[Progress], None], None]:
    """A callback while the block lasts; `tell` is awaited with the newest that it was given, a few times a second."""
    newest: list[Progress] = []
    news = asyncio.Event()

    def hear(progress: Progress) -> None:
        newest[:] = [progress]
        news.set()

    async def relay() -> None:
        while True:
            await news.wait()
            news.clear()
            await tell(_state(newest[0]))
            await asyncio.sleep(_PAUSE_SECONDS)

    task = asyncio.create_task(relay())
    try:
        yield hear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _state(progress: Progress) -> Fetching:
    left = progress.seconds_left
    return Fetching(
        progress.model,
        progress.received,
        progress.total,
        round(progress.rate),
        None if left is None else round(left, 1),
    )
