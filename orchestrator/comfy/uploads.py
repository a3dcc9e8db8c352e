"""Which pictures a backend already has, so that none is sent twice in one life of the backend.

A backend empties its temp folder when it starts, so the memory ends with the socket. Knows nothing of jobs.
"""

import asyncio
from collections.abc import Iterable
from weakref import WeakValueDictionary

from orchestrator.comfy.wire import Upload, Wire

_MOST_REMEMBERED = 10_000


class Uploads:
    """The pictures sent to one backend since `forget_all`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sent: set[str] = set()
        self._life = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, picture: Upload) -> None:
        """Sends the picture unless the backend has it. Raises BackendLost, or GraphRejected when it is not taken."""
        if picture.name in self._sent:
            return
        # One sender a name: writing a file again while a job reads it would show that job half a picture.
        lock = self._locks.setdefault(picture.name, asyncio.Lock())
        async with lock:
            if picture.name in self._sent:
                return
            life = self._life
            await self._wire.upload(picture)
            if life == self._life and len(self._sent) < _MOST_REMEMBERED:
                self._sent.add(picture.name)

    def forget(self, names: Iterable[str]) -> None:
        """These pictures are gone from the backend."""
        self._sent.difference_update(names)

    def forget_all(self) -> None:
        """The backend may have been restarted."""
        self._life += 1
        self._sent.clear()
