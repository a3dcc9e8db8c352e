"""The files that our jobs left at one backend: all but the newest are deleted there, once they have been collected.

Speaks to the pack `orchestrator_results` there, and to the embedded backend, which has its route; at a backend without
it they stay, and `can_drop` says so. Knows nothing of jobs.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable

from orchestrator.comfy.execution import ImageRef
from orchestrator.comfy.wire import Wire
from orchestrator.errors import BackendError

log = logging.getLogger(__name__)

KEPT_RESULTS = 16
"""ComfyUI answers a graph that it ran just before from its cache, and names the old files: so those must be there."""


class Results:
    """The result files of one backend, from `note` to `aclose`."""

    def __init__(self, wire: Wire, kept: int = KEPT_RESULTS) -> None:
        self._wire = wire
        self._kept = kept
        self._files: OrderedDict[ImageRef, str] = OrderedDict()
        """The prompt that named each last, the oldest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.can_drop: bool | None = None
        """Whether the backend deletes results; None before that was tried."""

    def note(self, prompt_id: str, files: Iterable[ImageRef]) -> None:
        """A job left these and they have been collected. Returns at once; old ones are deleted in the background."""
        new = tuple(files)
        for file in new:
            self._files[file] = prompt_id
            self._files.move_to_end(file)
        old = [self._files.popitem(last=False) for _ in range(len(self._files) - max(self._kept, len(new)))]
        if old and self.can_drop is not False:
            task = asyncio.create_task(self._drop(old), name="drop results")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def ask_again(self) -> None:
        """The backend may have been restarted, with other packs. The files may be there all the same."""
        self.can_drop = None

    async def aclose(self) -> None:
        """Deletes what is left, as far as the backend answers."""
        if self._files and self.can_drop is not False:
            await self._drop(list(self._files.items()))
        self._files.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _drop(self, files: list[tuple[ImageRef, str]]) -> None:
        by_prompt: dict[str, list[ImageRef]] = {}
        for file, prompt_id in files:
            by_prompt.setdefault(prompt_id, []).append(file)
        try:
            for prompt_id, named in by_prompt.items():
                self.can_drop = await self._wire.drop_results(prompt_id, named)
                if not self.can_drop:
                    return
        except BackendError as error:
            log.debug("results stay: %s", error)
