"""Which backend runs which job: one job a backend at a time, first come first served, to whoever has the model loaded.

Owns its backends: opens them, watches their connections, reads their catalogues. Knows nothing of what a job is beyond
the node classes that it needs and the name of its heavy model.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial, reduce
from types import TracebackType

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.place import BackendState, Place
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import BackendLost, NoBackend, QueueFull

__all__ = ["BackendState", "Lease", "Pool"]

log = logging.getLogger(__name__)

_NEWEST_SHARE = 0.2
_UNMEASURED_RUN = 10.0


@dataclass(frozen=True)
class Lease:
    """The use of one backend for one job; `waited` is in seconds."""

    backend: BackendClient
    waited: float


@dataclass(eq=False)
class _Waiter:
    classes: frozenset[str]
    model: str
    place: "asyncio.Future[Place]"


class Pool:
    """The backends of the service. `waiting_limit` jobs may wait; `patience` is how long without any usable backend."""

    def __init__(
        self,
        backends: Sequence[BackendClient],
        *,
        waiting_limit: int,
        patience: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._places = [Place(backend) for backend in backends]
        self._waiting: deque[_Waiter] = deque()
        self._waiting_limit = waiting_limit
        self._patience = patience
        self._backoff = backoff or Backoff()
        self._mean_run: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> "Pool":
        for place in self._places:
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
        for waiter in self._waiting:
            _refuse(waiter, NoBackend("The service is stopping"))
        self._waiting.clear()
        await self._resources.aclose()

    @property
    def ready(self) -> bool:
        """True when a backend is connected and its catalogue is known."""
        return any(place.connection == "ready" for place in self._places)

    def catalog(self) -> Catalog:
        """What the connected backends offer together."""
        read = [place.catalog for place in self._places if place.connection == "ready" and place.catalog]
        return reduce(Catalog.merged, read, Catalog({}))

    def snapshot(self) -> tuple[BackendState, ...]:
        """Every backend as it is now, in the order of the settings."""
        return tuple(place.state for place in self._places)

    def ensure_room(self) -> None:
        """Raises QueueFull when a job that comes now would find no backend idle and no room to wait."""
        if len(self._waiting) >= self._waiting_limit and not any(place.idle for place in self._places):
            raise self.queue_full()

    @asynccontextmanager
    async def lease(
        self, classes: frozenset[str], model: str, *, deadline: float | None = None
    ) -> AsyncGenerator[Lease, None]:
        """A backend that has all the `classes`, for one job whose checkpoint is `model`.

        Waits its turn, at most `deadline` seconds. Raises QueueFull when there is no room to wait, NoBackend when none
        has the classes, none is connected for longer than the pool's patience, or the deadline passes.
        """
        came = time.monotonic()
        place = await self._take(classes, model, deadline)
        began = time.monotonic()
        try:
            yield Lease(place.backend, began - came)
            place.jobs_done += 1
        except BackendLost:
            place.jobs_lost += 1
            raise
        finally:
            self._give_back(place, time.monotonic() - began)

    async def _take(self, classes: frozenset[str], model: str, deadline: float | None) -> Place:
        impossible = self._impossible(classes)
        if impossible is not None:
            raise impossible
        # An idle backend here is one that no job in the queue can use: no turn is jumped.
        place = self._choose(classes, model)
        if place is not None:
            place.take(model)
            return place
        if len(self._waiting) >= self._waiting_limit:
            raise self.queue_full()
        waiter = _Waiter(classes, model, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        return await self._wait(waiter, deadline)

    async def _wait(self, waiter: _Waiter, deadline: float | None) -> Place:
        end = math.inf if deadline is None else time.monotonic() + deadline
        try:
            while not waiter.place.done():
                await asyncio.wait({waiter.place}, timeout=min(self._patience, max(0.0, end - time.monotonic())))
                if not waiter.place.done():
                    self._require_hope(waiter.classes, time.monotonic() < end)
            return waiter.place.result()
        except asyncio.CancelledError:
            if waiter.place.done() and waiter.place.exception() is None:
                self._give_back(waiter.place.result(), None)
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _require_hope(self, classes: frozenset[str], in_time: bool) -> None:
        if not in_time:
            raise NoBackend("No backend became free in time")
        if not any(place.connection == "ready" and place.may_run(classes) for place in self._places):
            raise NoBackend("No backend that can run this is connected")

    def _give_back(self, place: Place, seconds: float | None) -> None:
        place.free()
        if seconds is not None:
            mean = self._mean_run if self._mean_run is not None else seconds
            self._mean_run = mean + _NEWEST_SHARE * (seconds - mean)
        self._dispatch()

    def _dispatch(self) -> None:
        for waiter in tuple(self._waiting):
            if not any(place.idle for place in self._places):
                return
            place = self._choose(waiter.classes, waiter.model)
            if place is not None:
                self._waiting.remove(waiter)
                place.take(waiter.model)
                waiter.place.set_result(place)

    def _choose(self, classes: frozenset[str], model: str) -> Place | None:
        idle = [place for place in self._places if place.idle and place.may_run(classes)]
        # Else one that has nothing loaded, else the one that has been idle longest.
        return min(idle, key=lambda place: (place.model != model, place.model is not None, place.freed), default=None)

    def _impossible(self, classes: frozenset[str]) -> NoBackend | None:
        if any(place.may_run(classes) for place in self._places):
            return None
        missing = sorted((sorted(place.missing(classes)) for place in self._places), key=len)
        if not missing:
            return NoBackend("No backend is configured")
        return NoBackend(f"No backend has the node classes {', '.join(missing[0])}")

    def queue_full(self) -> QueueFull:
        """The error for a job that finds no room, with `retry_after` from the mean run so far."""
        ready = sum(place.connection == "ready" for place in self._places)
        run = _UNMEASURED_RUN if self._mean_run is None else self._mean_run
        text = f"{len(self._waiting)} jobs are waiting already"
        return QueueFull(text, retry_after=max(1.0, run / max(1, ready)))

    async def _watch(self, place: Place) -> None:
        """One connection of one backend, from its opening to its loss."""
        await place.backend.opened()
        place.learn(await place.backend.catalog())
        log.info('Backend "%s" is ready with %d node classes', place.backend.name, place.state.classes)
        for waiter in tuple(self._waiting):
            impossible = self._impossible(waiter.classes)
            if impossible is not None:
                self._waiting.remove(waiter)
                _refuse(waiter, impossible)
        self._dispatch()
        try:
            await place.backend.closed()
        finally:
            place.change("lost")
        raise BackendLost("the connection was lost")


def _refuse(waiter: _Waiter, error: NoBackend) -> None:
    waiter.place.set_exception(error)
