"""The backends of the service: opened, their connections watched, their catalogues read, their states to be seen.

Knows nothing of jobs; who runs what is settled between `orchestrator.agents` and the engine that keeps the jobs.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial, reduce
from types import TracebackType

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.place import BackendState, Place
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import BackendLost, NoBackend

__all__ = ["BackendState", "Pool"]

log = logging.getLogger(__name__)

_LOST = "the connection was lost"
_QUARANTINE = 600.0
"""Seconds after which a backend whose device failed, and that nobody has restarted, is tried again."""


class Pool:
    """The backends, open from `async with` to its end."""

    def __init__(self, backends: Sequence[BackendClient], *, backoff: Backoff | None = None) -> None:
        self.places = tuple(Place(backend) for backend in backends)
        self._backoff = backoff or Backoff()
        self._tasks: list[asyncio.Task[None]] = []
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> "Pool":
        for place in self.places:
            await self._resources.enter_async_context(place.backend)
            name = f'Backend "{place.backend.name}"'
            watch = keep_running(name, partial(self._watch, place), self._backoff)
            self._tasks.append(asyncio.create_task(watch, name=name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        await self._resources.aclose()

    @property
    def ready(self) -> bool:
        """True when a backend is connected and its catalogue is known."""
        return any(place.connection == "ready" for place in self.places)

    def catalog(self) -> Catalog:
        """What the connected backends offer together."""
        read = [place.catalog for place in self.places if place.connection == "ready" and place.catalog]
        return reduce(Catalog.merged, read, Catalog({}))

    def snapshot(self) -> tuple[BackendState, ...]:
        """Every backend as it is now, in the order of the settings."""
        return tuple(place.state for place in self.places)

    def require_ready(self) -> None:
        """Raises NoBackend when none is connected."""
        if not self.ready:
            raise NoBackend("No backend is connected")

    def require(self, classes: frozenset[str]) -> None:
        """Raises NoBackend, naming what lacks, when no backend has all these node classes."""
        lack = self.lack(classes)
        if lack:
            raise NoBackend(lack)

    def lack(self, classes: frozenset[str]) -> str:
        """Why no backend can run such a graph, naming the fewest node classes that lack; empty when one may."""
        if any(place.may_run(classes) for place in self.places):
            return ""
        missing = sorted((sorted(place.missing(classes)) for place in self.places), key=len)
        return f"No backend has the node classes {', '.join(missing[0])}" if missing else "No backend is configured"

    async def _watch(self, place: Place) -> None:
        """One connection of one backend, from its opening to its loss."""
        await place.backend.opened()
        place.learn(await place.backend.catalog())
        log.info('Backend "%s" is ready with %d node classes', place.backend.name, place.state.classes)
        if place.backend.kind == "embedded":
            log.info("Open %s in a browser to draw workflows", place.backend.url)
        fault = ""
        try:
            fault = await place.backend.out_of_use()
            if fault:
                log.error('Backend "%s" gets no more jobs until it is started anew: %s', place.backend.name, fault)
                place.change("quarantined", fault)
                await place.backend.mend(_QUARANTINE)
        finally:
            place.change("lost", fault or _LOST)
        raise BackendLost(fault or _LOST)
