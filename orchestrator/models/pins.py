"""The pins of this process: one lock a file, however many jobs need it. Knows nothing of what a file is for."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from orchestrator.models.layout import Place
from orchestrator.models.locks import FileLock
from orchestrator.models.shelf import Shelf

_PAUSE_SECONDS = 0.02


@dataclass(eq=False)
class _Pin:
    lock: FileLock
    holders: int = 0


class Pins:
    """Keeps files of `shelf` from being deleted. A descriptor a file, since thousands of jobs may wait for a few."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._pins: dict[Place, _Pin] = {}

    async def pin(self, place: Place) -> AbstractContextManager[None]:
        """Waits while somebody is deleting the file; it stays until the answer, which is entered at once, is left."""
        while (lock := self._shelf.try_pin(place)) is None:  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(_PAUSE_SECONDS)
        if place in self._pins:
            lock.close()  # the file counts as used now, and one lock is enough
        else:
            self._pins[place] = _Pin(lock)
        return self._held(place)

    @contextmanager
    def _held(self, place: Place) -> Iterator[None]:
        pin = self._pins[place]
        pin.holders += 1
        try:
            yield
        finally:
            pin.holders -= 1
            if not pin.holders:
                del self._pins[place]
                pin.lock.close()
