"""The SQLite engine as it stands beside a backend: waiting backends, and leases. Must not know what a backend is."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from orchestrator.jobs.engine import Retry, Stats, Wanted
from orchestrator.jobs.estimate import RunTimes
from orchestrator.jobs.job import (
    Cancelled,
    Ended,
    Failed,
    Happening,
    JobSpec,
    Queued,
    Requeued,
    Running,
    Succeeded,
    Timings,
    end_from_json,
    spec_from_json,
    spec_to_json,
)
from orchestrator.jobs.listeners import Listeners
from orchestrator.jobs.sqlite import claims, records
from orchestrator.jobs.sqlite.database import Database
from orchestrator.jobs.sqlite.dials import Dials
from orchestrator.jobs.sqlite.recent import Recent

T = TypeVar("T")


@dataclass(eq=False)
class _Waiter:
    backend: str
    wanted: Wanted
    since: float
    lease: "asyncio.Future[SqliteLease]"


@dataclass(eq=False)
class Desk:
    """Where waiting backends and jobs meet. `waiting` is how many jobs wait, as far as this process knows."""

    database: Database
    listeners: Listeners
    dials: Dials
    clock: Callable[[], float]
    recent: Recent
    waiting: int = 0
    run_times: RunTimes = field(default_factory=RunTimes)
    leases: "dict[str, SqliteLease]" = field(default_factory=dict)
    freed: dict[str, float] = field(default_factory=dict)
    """When each backend's last job ended (monotonic)."""
    held_elsewhere: bool = True
    """Whether jobs may be leased that nobody here holds: a process that is gone had them, or another has them."""
    _waiters: list[_Waiter] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def backends(self) -> int:
        """How many wait for a job or have one."""
        return len({waiter.backend for waiter in self._waiters} | {lease.backend for lease in self.leases.values()})

    def expiry(self) -> tuple[float, float]:
        """Now, and when a job that ends now without an image is forgotten."""
        now = self.clock()
        return now, now + self.dials.kept

    async def wait(self, backend: str, wanted: Wanted) -> "SqliteLease":
        """A lease for this backend, when there is a job for it."""
        waiter = _Waiter(backend, wanted, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            # A round that goes on does not know of this waiter yet. What other processes submit is seen at a tick.
            if self.waiting or self.held_elsewhere or self._turn.locked():
                await self.match()
            return await asyncio.shield(waiter.lease)
        except asyncio.CancelledError:
            if waiter.lease.done():
                await waiter.lease.result().release()
                await self.match()
            raise
        finally:
            waiter.lease.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def submit(
        self, spec: JobSpec, state: Literal["fetching", "queued"], at_once: int | None = None
    ) -> records.Became:
        """Writes the job, and hands it out at once where somebody waits for it."""
        text, limit = spec_to_json(spec), self.dials.waiting_limit
        became, given_up = await asyncio.shield(
            self._match(lambda db: records.insert(db, spec, text, limit, state, at_once))
        )
        await self._tell_ends(given_up)
        return became

    async def fetched(self, job_id: str) -> bool:
        """Queues a job whose models are there, and hands it out at once where somebody waits for it."""
        now = self.clock()
        became, given_up = await asyncio.shield(self._match(lambda db: records.fetched(db, job_id, now)))
        await self._tell_ends(given_up)
        return became

    async def match(self) -> None:
        """Hands out what there is for those who wait."""
        # To the end even when whoever asked is cancelled: a claim that is made must reach its waiter.
        _, given_up = await asyncio.shield(self._match(lambda _: None))
        await self._tell_ends(given_up)

    async def _match(self, first: Callable[[sqlite3.Connection], T]) -> tuple[T, Sequence[str]]:
        """Does `first`, then claims in the same transaction. Answers the jobs that were given up, too."""
        async with self._turn:
            waiters = [waiter for waiter in self._waiters if not waiter.lease.done()]
            offers = [claims.Offer(n, waiter.backend, waiter.wanted, waiter.since) for n, waiter in enumerate(waiters)]
            backends, dials = self.backends, self.dials
            terms = claims.Terms(
                self.clock(),
                lease=dials.lease,
                affinity=dials.affinity,
                kept=dials.kept,
                avoid=dials.avoid,
                held=frozenset(self.leases),
            )

            def write(db: sqlite3.Connection) -> tuple[T, claims.Matched, int, int]:
                done = first(db)
                return done, claims.match(db, offers, backends, terms), records.waiting(db), records.running(db)

            done, matched, self.waiting, running = await self.database.run(write)
            for grant in matched.grants:
                await self._hand_over(waiters[grant.offer], grant)
            self.held_elsewhere = running > len(self.leases)
            return done, matched.given_up

    async def _hand_over(self, waiter: _Waiter, grant: claims.Grant) -> None:
        lease = SqliteLease(self, spec_from_json(grant.spec), grant.row, resumed=grant.resumed)
        before = self.leases.get(lease.spec.id)
        if before is not None:  # it was another's in between, of which nobody here has heard yet
            before.lost = True
            before.cancelled.set()
        self.leases[lease.spec.id] = lease
        if grant.row["cancel"]:
            lease.cancelled.set()
        if waiter.lease.done():  # it gave up while the claim was made
            await lease.release()
            return
        ahead = waiter.wanted.ahead and not grant.taken_over
        eta = self.run_times.until_done(lease.spec.widget, 0, 1)
        self.tell(lease.spec, Queued(eta=eta) if ahead else Running(backend=waiter.backend))
        waiter.lease.set_result(lease)

    def tell(self, spec: JobSpec, happening: Happening) -> None:
        """Tells whoever listens to the job."""
        self.listeners.tell(spec.id, spec.created, happening)

    async def _tell_ends(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            await self.tell_end(job_id)

    async def tell_end(self, job_id: str) -> None:
        """Tells the end of a job that the upkeep ended."""
        found = await self.database.run(lambda db: records.read(db, job_id))
        if found is not None and found.row["end"]:
            self.listeners.tell(job_id, found.row["created"], end_from_json(found.row["end"]))

    def over(self, lease: "SqliteLease") -> None:
        """The lease's job has left its backend."""
        self.freed[lease.backend] = time.monotonic()
        if self.leases.get(lease.spec.id) is lease:
            del self.leases[lease.spec.id]

    def learn(self, lease: "SqliteLease") -> None:
        """How long the job kept its backend busy: without the time that it waited there for the job before it."""
        busy_since = max(lease.began, self.freed.get(lease.backend, 0.0))
        self.run_times.learn(lease.spec.widget, time.monotonic() - busy_since)

    def stats(self, fetching: int, queued: int, running: int) -> Stats:
        """With these counts."""
        return Stats(fetching, queued, running, self.backends, self.run_times.mean)


class SqliteSource:
    """A WorkSource: what the backend of that name takes its jobs from."""

    def __init__(self, desk: Desk, backend: str) -> None:
        self._desk = desk
        self._backend = backend

    async def lease(self, wanted: Wanted) -> "SqliteLease":
        """The job that suits best, when there is one."""
        return await self._desk.wait(self._backend, wanted)


class SqliteLease:
    """A Lease. `fence` is its number among the job's leases: only the newest may end the job."""

    def __init__(self, desk: Desk, spec: JobSpec, row: sqlite3.Row, *, resumed: bool) -> None:
        self.spec = spec
        self.attempt: int = row["losses"] + 1
        self.resumed = resumed
        created, fetched = row["created"], row["fetched"]
        self.fetched: float | None = None if fetched is None else max(0.0, fetched - created)
        # A run that was lost is none of it: `available` is from when it could be leased again.
        self.waited: float = max(0.0, row["leased"] - max(fetched or created, row["available"]))
        self.cancelled = asyncio.Event()
        self.lost = False
        self.fence: int = row["fence"]
        self.backend: str = row["backend"]
        self.began = time.monotonic()
        self._desk = desk

    @property
    def watched(self) -> bool:
        """True while somebody would be told of previews."""
        return self._desk.listeners.is_watched(self.spec.id)

    async def progress(self, happening: Happening) -> None:
        """Tells listeners."""
        self._desk.tell(self.spec, happening)

    async def done(self, result: Succeeded, timings: Timings) -> bool:
        """The job has its image. False when the lease was lost."""
        self._desk.learn(self)
        return await self._end(result, timings, result.expires_at)

    async def failed(self, end: Failed, timings: Timings) -> bool:
        """The job failed for good."""
        return await self._end(end, timings)

    async def stopped(self, timings: Timings) -> bool:
        """The job was cancelled."""
        return await self._end(Cancelled(), timings)

    async def retry(self, reason: Failed, delay: float = 0.0) -> Retry:
        """The job is queued again, or ends with `reason` when it was lost too often."""
        if self.attempt > records.MOST_LOSSES:
            text = f"{reason.detail} (lost {self.attempt} times, not run again)"
            return Retry.ENDED if await self.failed(Failed(reason.code, text), ()) else Retry.NOT_OURS
        if not await self._requeue(self._desk.clock() + delay, lost=True, begun=True):
            return Retry.NOT_OURS
        self._desk.tell(self.spec, Requeued(reason=reason.detail, attempt=self.attempt + 1))
        self._desk.tell(self.spec, Queued())
        await self._desk.match()
        return Retry.AGAIN

    def let_go(self) -> None:
        """The lease is renewed no more."""
        self._desk.over(self)

    async def put_back(self, *, begun: bool = False) -> None:
        """The job is queued again, for a time not for this backend."""
        if await self._requeue(self._desk.clock(), lost=False, begun=begun):
            self._desk.tell(self.spec, Queued())
        await self._desk.match()

    async def release(self) -> None:
        """As if it had never been leased, and without looking who could take the job instead."""
        if self.resumed:  # it may still run where it was, or have its image: nobody else is to begin it anew
            job_id, fence, until = self.spec.id, self.fence, self._desk.clock() + self._desk.dials.lease
            await self._desk.database.run(lambda db: records.leave(db, job_id, fence, until))
            self._desk.over(self)
        elif await self._requeue(None, lost=False, begun=False):
            self._desk.tell(self.spec, Queued())

    async def _requeue(self, available: float | None, *, lost: bool, begun: bool) -> bool:
        job_id, fence, now = self.spec.id, self.fence, self._desk.clock()
        kept = await self._desk.database.run(
            lambda db: records.requeue(db, job_id, fence, now, available, lost=lost, begun=begun)
        )
        self._desk.over(self)
        self._desk.waiting += kept
        return kept

    async def _end(self, state: Ended, timings: Timings, expires: float | None = None) -> bool:
        now, forgotten = self._desk.expiry()
        expires = forgotten if expires is None else expires
        job_id, fence = self.spec.id, self.fence

        def write(db: sqlite3.Connection) -> records.Found | None:
            kept = records.end(db, job_id, state, timings, now, expires, fence)
            return records.read(db, job_id) if kept else None

        found = await self._desk.database.run(write)
        self._desk.over(self)
        if found is not None:
            self._desk.recent.add(found)
            self._desk.tell(self.spec, state)
        return found is not None
