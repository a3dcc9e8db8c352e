"""Jobs that a backend shall drop and that it could not be told of: it is told again until it answers.

Knows nothing of why; a job is named by its id, so that telling too late or twice does no harm.
"""

import asyncio
from contextlib import suppress

from orchestrator.comfy.wire import Limits, Wire
from orchestrator.errors import BackendLost

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class Strays:
    """Those of one backend, from the first to `aclose`."""

    def __init__(self, wire: Wire, limits: Limits) -> None:
        self._wire = wire
        self._limits = limits
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, prompt_id: str) -> None:
        """From now on the backend is told to drop this job, with longer and longer pauses."""
        if prompt_id not in self._tasks:
            self._tasks[prompt_id] = asyncio.create_task(self._keep_telling(prompt_id), name=f"stray {prompt_id}")

    async def settle(self, prompt_id: str) -> None:
        """The job is to be sent again: one that strays goes first. Raises BackendLost when it may still stray."""
        task = self._tasks.pop(prompt_id, None)
        if task is None:
            return
        task.cancel()
        try:
            await asyncio.wait({task})
            await self.drop(prompt_id)
        except BaseException:
            self.add(prompt_id)
            raise

    async def drop(self, prompt_id: str) -> None:
        """Takes the job out of the queue, or interrupts it if it runs. Raises BackendLost."""
        await self._wire.delete_queued(prompt_id)
        await self._wire.interrupt(prompt_id)

    async def aclose(self) -> None:
        """Nobody is told any more."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _keep_telling(self, prompt_id: str) -> None:
        pause = min(_FIRST_PAUSE, self._limits.poll)
        while True:
            await asyncio.sleep(pause)
            with suppress(BackendLost, TimeoutError):
                async with asyncio.timeout(self._limits.abandon):
                    await self.drop(prompt_id)
                    break
            pause = min(pause * 2, _LONGEST_PAUSE)
        del self._tasks[prompt_id]
