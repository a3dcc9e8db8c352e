"""The SQLite engine as the API's side sees it, and the upkeep behind it."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.errors import FieldError, LimitReached, QueueFull, StorageError
from orchestrator.jobs.engine import Cancellation, Stats
from orchestrator.jobs.job import (
    Cancelled,
    Ended,
    Event,
    Failed,
    Fetching,
    Happening,
    Job,
    JobSpec,
    Preview,
    Queued,
    Running,
    State,
    end_from_json,
    spec_from_json,
    timings_from_json,
)
from orchestrator.jobs.listeners import Listeners, Observe, number_at
from orchestrator.jobs.sqlite import records
from orchestrator.jobs.sqlite.database import Database
from orchestrator.jobs.sqlite.dials import Dials
from orchestrator.jobs.sqlite.lease import Ledger
from orchestrator.jobs.sqlite.outbox import SqliteOutbox, delivery
from orchestrator.jobs.sqlite.source import Desk, SqliteSource

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
"""How often a listener of a queued job is told its new place."""
_SWEEP_SECONDS = 30.0


class SqliteEngine:
    """A JobEngine, and its WorkSources, from `async with` to its end. `clock` gives seconds since the epoch.

    One service a file: what one process tells its listeners, another does not hear.
    """

    def __init__(
        self,
        path: Path,
        dials: Dials | None = None,
        clock: Callable[[], float] = time.time,
        observe: Observe = lambda *_: None,
    ) -> None:
        self._dials = dials or Dials()
        self._clock = clock
        self._database = Database(path)
        self._listeners = Listeners(clock, observe)
        self._ledger = Ledger(self._database, self._listeners, self._dials, clock)
        self._desk = Desk(self._ledger)
        self._upkeep: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        self._ledger.waiting = await self._database.run(records.waiting)
        self._upkeep = asyncio.create_task(self._keep_up(), name="job upkeep")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._upkeep = self._upkeep, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._database.__aexit__(kind, error, trace)

    @property
    def outbox(self) -> SqliteOutbox:
        """The webhooks that are to be told."""
        return SqliteOutbox(self._database, self._clock, self._dials.kept)

    def source(self, backend: str) -> SqliteSource:
        """Where the backend of that name takes its jobs from; it keeps the name over a restart."""
        return SqliteSource(self._desk, backend)

    async def adopt(self, grace: float) -> int:
        """To be called at the start of a service: whatever is leased was leased by a process that is gone.

        For `grace` seconds such a job goes to the backend of its name alone, where it may still run; then to any.
        """
        until = self._clock() + grace
        return await self._database.run(lambda db: records.adopt(db, until))

    async def submit(self, spec: JobSpec, *, fetching: bool = False, at_once: int | None = None) -> bool:
        """Accepts a job. False: the id is known. Raises LimitReached, QueueFull and StorageError."""
        became = await self._desk.submit(spec, "fetching" if fetching else "queued", at_once)
        if became == "at its share":
            raise self._share_taken(at_once)
        if became == "full":
            raise self.queue_full()
        return became == "new"

    async def progress(self, spec: JobSpec, happening: Fetching) -> None:
        """Tells listeners how far a job's model has come."""
        self._ledger.tell(spec, happening)

    async def fetched(self, spec: JobSpec) -> bool:
        """The models of a job that was fetching are there: it is queued."""
        # Told before it is written: who leases the job in the same moment tells what comes after.
        self._ledger.tell(spec, Queued())
        return await self._desk.fetched(spec.id)

    async def unfetched(self, spec: JobSpec, end: Failed) -> bool:
        """The models of a job that was fetching cannot be had: it ends."""
        times = self._ledger.expiry()
        kept = await self._database.run(lambda db: records.unfetched(db, spec.id, end, *times))
        if kept:
            self._ledger.waiting -= 1
            self._ledger.tell(spec, end)
        return kept

    def ensure_room(self) -> None:
        """Raises QueueFull when a job that comes now would find no room, as far as is known without asking."""
        if self._ledger.waiting >= self._dials.waiting_limit:
            raise self.queue_full()

    async def ensure_share(self, owner: str, at_once: int | None) -> None:
        """Raises LimitReached when the owner has that many unfinished jobs."""
        if at_once is not None and await self._database.run(lambda db: records.unfinished_of(db, owner)) >= at_once:
            raise self._share_taken(at_once)

    def _share_taken(self, at_once: int | None) -> LimitReached:
        complaint = FieldError("jobs", f"at most {at_once} at once")
        wait = max(1.0, self._ledger.run_times.wait(0, self._desk.backends))
        return LimitReached(f"This API key has {at_once} jobs that have not ended", [complaint], retry_after=wait)

    def queue_full(self) -> QueueFull:
        """The error for a job that finds no room, with `retry_after` from what the newest jobs took."""
        wait = max(1.0, self._ledger.run_times.wait(0, self._desk.backends))
        return QueueFull(f"{self._ledger.waiting} jobs are waiting already", retry_after=wait)

    async def get(self, job_id: str) -> Job | None:
        """The job as it stands."""
        now = self._clock()

        def look(db: sqlite3.Connection) -> records.Found | None:
            records.forget_expired(db, now)  # so that nobody is told of an image that is gone, swept or not
            return records.read(db, job_id)

        found = await self._database.run(look)
        return None if found is None else self._job(found)

    async def cancel(self, job_id: str) -> Cancellation | None:
        """Cancels this job and no other."""
        times, held = self._ledger.expiry(), job_id in self._ledger.leases
        became = await self._database.run(lambda db: records.cancel(db, job_id, held, *times))
        if became is None:
            return None
        cancellation, row = became
        if cancellation is Cancellation.DONE:
            self._ledger.waiting -= row["state"] != "running"
            self._listeners.tell(job_id, row["created"], Cancelled())
        lease = self._ledger.leases.get(job_id)
        if cancellation is Cancellation.ASKED and lease is not None:
            lease.cancelled.set()
        return cancellation

    async def events(self, job_id: str, after: int = 0, *, previews: bool = False) -> AsyncGenerator[Event, None]:
        """What happened since `after`, and what happens from now, to the terminal state."""
        job = await self.get(job_id)
        if job is None:
            return
        with self._listeners.watching(job_id) if previews else nullcontext():
            async with aclosing(self._told(job, after, previews)) as events:
                async for event in events:
                    yield event

    async def _told(self, job: Job, after: int, previews: bool) -> AsyncGenerator[Event, None]:
        job_id, created, number = job.id, job.spec.created, after
        last: Happening | None = None
        told = self._listeners.since(job_id, created, number, previews)
        if not told and job.ended is not None and 0 < after >= number_at(created, job.ended):
            return  # the end was heard, perhaps before a restart
        while True:
            if not told and job.state != last:
                told = [Event(max(number + 1, self._listeners.number(job_id, created)), job.state)]
            for event in told:
                number, last = event.number, last if isinstance(event.happening, Preview) else event.happening
                yield event
                if isinstance(last, Ended):
                    return
            told = await self._listeners.heard(job_id, created, number, _LOOK_SECONDS, previews)
            if not told:
                now = await self.get(job_id)
                if now is None:
                    return
                job = now
                told = self._listeners.since(job_id, created, number, previews)

    async def stats(self) -> Stats:
        """Depth and speed of the queue."""
        counts = (records.fetching, records.queued, records.running)
        return self._desk.stats(*await self._database.run(lambda db: tuple(count(db) for count in counts)))

    async def forget_expired(self) -> int:
        """Deletes the jobs whose images are gone; done now and then by itself. How many there were."""
        now = self._clock()
        return await self._database.run(lambda db: records.forget_expired(db, now))

    async def unfinished(self) -> frozenset[str]:
        """The ids of the jobs that have not ended."""
        return await self._database.run(records.unfinished)

    async def kept(self) -> frozenset[str]:
        """The ids of all jobs that are remembered."""
        return await self._database.run(records.kept)

    def _job(self, found: records.Found) -> Job:
        spec, row = spec_from_json(found.spec), found.row
        timings = spec.timings + (timings_from_json(row["timings"]) if row["timings"] else ())
        told = (timings, row["ended"], delivery(row), row["backend"])
        return Job(spec, self._state(spec, found), row["losses"] + 1, *told)

    def _state(self, spec: JobSpec, found: records.Found) -> State:
        if found.row["end"]:
            return end_from_json(found.row["end"])
        if found.row["state"] == "fetching":
            told = self._listeners.state(spec.id)
            return told if isinstance(told, Fetching) else Fetching()
        if found.row["state"] == "running":
            return self._listeners.state(spec.id) or Running(backend=found.row["backend"])
        eta = self._ledger.run_times.until_done(spec.widget, found.place, self._desk.backends)
        return Queued(place=found.place, eta=None if eta is None else round(eta, 1))

    async def _keep_up(self) -> None:
        renewed = swept = time.monotonic()
        while True:
            await asyncio.sleep(self._dials.tick)
            now = time.monotonic()
            try:
                if now - renewed >= self._dials.lease / 3:
                    await self._renew()
                    renewed = now
                if now - swept >= _SWEEP_SECONDS:
                    await self.forget_expired()
                    swept = now
                await self._give_up_late()
                await self._desk.match()
                self._desk.recall()
            except StorageError as error:
                log.error("%s", error.detail)
            except Exception:
                log.exception("the upkeep of jobs failed; it is tried again")

    async def _renew(self) -> None:
        held = dict(self._ledger.leases)
        fences = {job_id: lease.fence for job_id, lease in held.items()}
        until = self._clock() + self._dials.lease
        kept = await self._database.run(lambda db: records.renew(db, fences, until))
        for job_id, lease in held.items():
            if self._ledger.leases.get(job_id) is not lease:
                continue
            lease.lost = job_id not in kept
            if lease.lost or kept[job_id]:
                lease.cancelled.set()

    async def _give_up_late(self) -> None:
        reason = Failed(code="no_backend", detail="No backend became free in time")
        times = self._ledger.expiry()
        begun, self._ledger.begun = self._ledger.begun, {}

        def write(db: sqlite3.Connection) -> Sequence[str]:
            records.begun(db, begun)
            return records.give_up_late(db, reason, *times)

        try:
            late = await self._database.run(write)
        except StorageError:
            self._ledger.begun = begun | self._ledger.begun
            raise
        gone = Failed(code="backend_lost", detail="Its backend did not come back, and no other became free in time")
        held = frozenset(self._ledger.leases)
        orphans = await self._database.run(lambda db: records.give_up_orphans(db, gone, held, *times))
        for job_id in (*late, *orphans):
            await self._ledger.tell_end(job_id)
