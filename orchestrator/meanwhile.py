"""Work that goes on beside a block of code and does not outlive it. Must not know what the work is."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def meanwhile(work: Iterable[Coroutine[Any, Any, T]]) -> AsyncGenerator[list[asyncio.Task[T]], None]:
    """Begins all of it; the block awaits the tasks that it needs, and what is left at its end is cancelled.

    What a task raises is heard by whoever awaits it, and otherwise by nobody: the block has failed for another reason.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
