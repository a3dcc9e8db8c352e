"""An agent beside each backend: leases jobs for it and has them done, one running and one waiting there for its turn.

Must not know what doing a job means, nor how jobs are kept.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from orchestrator.comfy.place import Place
from orchestrator.comfy.pool import Pool
from orchestrator.comfy.supervision import Backoff, keep_running
from orchestrator.errors import StorageError
from orchestrator.jobs.engine import Lease, Wanted, WorkSource
from orchestrator.pipeline import Work
from orchestrator.telemetry.logs import about

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds before jobs are asked for again after the engine has failed."""
_AT_ONCE = 2
"""One that runs, one that waits at the backend with its inputs uploaded: so the GPU goes from one to the next."""
_IN_HAND = 8
"""Those two, and jobs that have left the backend and whose images are being kept: a slow disk holds up the backend, not
the memory."""


class Agents:
    """The agents of all backends of a pool, from `async with` to its end; `source` gives a backend's jobs by its name.

    `switched` is called with a backend's name when it gets another model than the one before.

    At the end jobs stay where they are, leased and at their backends: the next life of the service takes them up. Those
    at a process of the service's own end with it, by no fault of theirs, and go back to the queue.
    """

    def __init__(
        self,
        pool: Pool,
        source: Callable[[str], WorkSource],
        work: Work,
        backoff: Backoff | None = None,
        switched: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._source = source
        self._work = work
        self._switched = switched
        self._backoff = backoff or Backoff()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for place in self._pool.places:
            name = f'Agent of backend "{place.backend.name}"'
            serve = keep_running(name, partial(self._serve, place), self._backoff)
            self._tasks.append(asyncio.create_task(serve, name=name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in self._pool.places:
            place.backend.leave_all()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()

    async def _serve(self, place: Place) -> None:
        source = self._source(place.backend.name)
        jobs: set[asyncio.Task[None]] = set()
        seats: set[asyncio.Future[None]] = set()
        try:
            while True:
                await place.up.wait()
                lease = await self._next(source, place, jobs, seats)
                if lease is not None:
                    seat = asyncio.get_running_loop().create_future()
                    seats.add(seat)
                    seat.add_done_callback(seats.discard)
                    job = asyncio.create_task(self._do(lease, place, seat), name=f"job {lease.spec.id}")
                    jobs.add(job)
                    job.add_done_callback(jobs.discard)
        finally:
            for job in jobs:
                job.cancel()
            if jobs:
                await asyncio.wait(jobs)

    async def _next(
        self,
        source: WorkSource,
        place: Place,
        jobs: set["asyncio.Task[None]"],
        seats: set["asyncio.Future[None]"],
    ) -> Lease | None:
        """The next job; None when what the backend wants has changed meanwhile. `seats` are taken at the backend."""
        if len(seats) >= _AT_ONCE:
            await asyncio.wait(seats, return_when=asyncio.FIRST_COMPLETED)
            return None
        if len(jobs) >= _IN_HAND:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            return None
        warm = (place.model,) if place.model else ()
        asking = asyncio.create_task(source.lease(Wanted(warm, place.may_run, ahead=bool(seats))))
        down = asyncio.create_task(place.down.wait())
        changes: set[asyncio.Future[Any]] = {asking, down, *seats}
        try:
            await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            down.cancel()
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking})
        try:
            return None if asking.cancelled() else asking.result()
        except StorageError as error:  # which the jobs at work have no part in
            log.error("%s", error.detail)
            await asyncio.sleep(_PAUSE)
            return None

    async def _do(self, lease: Lease, place: Place, seat: "asyncio.Future[None]") -> None:
        before = place.model
        if before != lease.spec.model:
            self._switched(place.backend.name)
        place.take(lease.spec.model)

        def leave() -> None:
            if not seat.done():
                seat.set_result(None)
                place.free()

        try:
            with about(lease.spec.id):
                begun = await self._work.do(lease, place.backend, leave)
            if not begun and place.model == lease.spec.model:
                place.model = before
        except asyncio.CancelledError:
            await self._part(lease, place, at_backend=not seat.done())
            raise
        except Exception:  # the edge of a supervised task: the job is not lost, for its lease runs out
            told = {"job": lease.spec.id}
            log.exception("job %s could not be handed back; it is taken up again", lease.spec.id, extra=told)
            lease.let_go()
        finally:
            leave()

    async def _part(self, lease: Lease, place: Place, *, at_backend: bool) -> None:
        """The service stops in the middle of a job. What a process of its own had of it ends with that process."""
        try:
            if at_backend and place.backend.process is not None:
                await lease.put_back(begun=True)
        except StorageError as error:
            log.error("%s", error.detail)
        lease.let_go()
