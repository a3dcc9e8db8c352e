"""The leases of the SQLite engine in this process: the right to run a job, and what is known of all of them together.

Must not know how a job is found for whoever waits.
"""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from orchestrator.jobs.engine import Retry
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
)
from orchestrator.jobs.listeners import Listeners
from orchestrator.jobs.sqlite import records
from orchestrator.jobs.sqlite.database import Database
from orchestrator.jobs.sqlite.dials import Dials


@dataclass(eq=False)
class Ledger:
    """What this process knows of the jobs in the file. `waiting` is how many of them wait, as far as it knows."""

    database: Database
    listeners: Listeners
    dials: Dials
    clock: Callable[[], float]
    waiting: int = 0
    run_times: RunTimes = field(default_factory=RunTimes)
    leases: "dict[str, SqliteLease]" = field(default_factory=dict)
    freed: dict[str, float] = field(default_factory=dict)
    """When each backend's last job ended (monotonic)."""
    begun: "dict[str, int]" = field(default_factory=dict)
    """Jobs that have begun since that was last written, by the fence of their lease."""

    @property
    def held_back(self) -> Counter[str]:
        """How many of the leased jobs do not run yet, by the state that is told of them: they wait at their backend for
        the job before them, or for a model on its way there."""
        told = (self.listeners.state(job_id) for job_id in self.leases)
        return Counter(state.kind for state in told if state is not None and state.kind != "running")

    def expiry(self) -> tuple[float, float]:
        """Now, and when a job that ends now without an image is forgotten."""
        now = self.clock()
        return now, now + self.dials.kept

    def tell(self, spec: JobSpec, happening: Happening) -> None:
        """Tells whoever listens to the job."""
        self.listeners.tell(spec.id, spec.created, happening)

    async def tell_end(self, job_id: str) -> None:
        """Tells the end of a job that the upkeep ended."""
        found = await self.database.run(lambda db: records.read(db, job_id))
        if found is not None and found.row["end"]:
            self.listeners.tell(job_id, found.row["created"], end_from_json(found.row["end"]))

    def enter(self, lease: "SqliteLease") -> None:
        """The lease begins. One of the same job was another's in between, of which nobody here has heard yet."""
        before = self.leases.get(lease.spec.id)
        if before is not None:
            before.lost = True
            before.cancelled.set()
        self.leases[lease.spec.id] = lease

    def over(self, lease: "SqliteLease") -> None:
        """The lease's job has left its backend."""
        if lease.begun:
            self.freed[lease.backend] = time.monotonic()
        if self.leases.get(lease.spec.id) is lease:
            del self.leases[lease.spec.id]

    def learn(self, lease: "SqliteLease") -> None:
        """How long the job kept its backend busy: without the time that it waited there for the job before it."""
        busy_since = max(lease.began, self.freed.get(lease.backend, 0.0))
        self.run_times.learn(lease.spec.widget, time.monotonic() - busy_since)


class SqliteLease:
    """A Lease. `fence` is its number among the job's leases: only the newest may end the job."""

    def __init__(
        self,
        ledger: Ledger,
        hand_out: Callable[[], Awaitable[None]],
        spec: JobSpec,
        row: sqlite3.Row,
        *,
        taken_over: bool,
        resumed: bool,
    ) -> None:
        """`hand_out` is awaited when the job may be another's, so that whoever waits for one gets it at once.

        `taken_over`: from a holder that is gone; `resumed`: at this very backend.
        """
        self.spec = spec
        self.attempt: int = row["losses"] + 1
        self.resumed = resumed
        self.first: bool = row["fence"] == 1
        created, fetched = row["created"], row["fetched"]
        self.fetched: float | None = None if fetched is None else max(0.0, fetched - created)
        leased = ledger.clock() if resumed and not row["begun"] else row["leased"]
        # A run that was lost is none of it: `available` is from when it could be leased again.
        waited = max(0.0, leased - max(fetched or created, row["available"]))
        self.waited: float = 0.0 if taken_over and not resumed else waited  # it is the try before this one that waited
        self.cancelled = asyncio.Event()
        self.lost = False
        self.recalled = asyncio.Event()
        self.begun = False
        self.fence: int = row["fence"]
        self.backend: str = row["backend"]
        self.may_have_begun = bool(row["begun"])
        self.began = time.monotonic()
        self._ledger = ledger
        self._hand_out = hand_out

    @property
    def watched(self) -> bool:
        """True while somebody would be told of previews."""
        return self._ledger.listeners.is_watched(self.spec.id)

    def begin(self) -> None:
        """The backend has begun the job; written with the next look for what time has brought."""
        self.begun = True
        if not self.may_have_begun:
            self.may_have_begun = True
            self._ledger.begun[self.spec.id] = self.fence

    async def progress(self, happening: Happening) -> None:
        """Tells listeners."""
        if isinstance(happening, Running):
            self.begin()
        self._ledger.tell(self.spec, happening)

    async def done(self, result: Succeeded, timings: Timings) -> bool:
        """The job has its image. False when the lease was lost."""
        self.begun = True
        self._ledger.learn(self)
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
        if not await self._requeue(self._ledger.clock() + delay, lost=True, begun=True):
            return Retry.NOT_OURS
        self._ledger.tell(self.spec, Requeued(reason=reason.detail, attempt=self.attempt + 1))
        self._ledger.tell(self.spec, Queued())
        await self._hand_out()
        return Retry.AGAIN

    def let_go(self) -> None:
        """The lease is renewed no more."""
        self._ledger.over(self)

    async def put_back(self, *, begun: bool = False, delay: float = 0.0, forgiven: bool = False) -> None:
        """The job is queued again, for a time not for this backend."""
        if await self._requeue(self._ledger.clock() + delay, lost=False, begun=begun or forgiven, forgiven=forgiven):
            self._ledger.tell(self.spec, Queued())
        await self._hand_out()

    async def release(self) -> None:
        """As if it had never been leased, and without looking who could take the job instead.

        Should that not be written, the lease runs out: nobody does the job.
        """
        try:
            if self.resumed:  # it may still run where it was, or have its image: nobody else is to begin it anew
                job_id, fence, until = self.spec.id, self.fence, self._ledger.clock() + self._ledger.dials.lease
                await self._ledger.database.run(lambda db: records.leave(db, job_id, fence, until))
            elif await self._requeue(None, lost=False, begun=False):
                self._ledger.tell(self.spec, Queued())
        finally:
            self._ledger.over(self)

    async def _requeue(self, available: float | None, *, lost: bool, begun: bool, forgiven: bool = False) -> bool:
        """False when the lease is not the newest, or the job was cancelled in that moment and has ended with that."""
        job_id, fence, (now, forgotten) = self.spec.id, self.fence, self._ledger.expiry()

        def write(db: sqlite3.Connection) -> tuple[bool, bool]:
            if records.is_cancelled(db, job_id):
                return False, records.end(db, job_id, Cancelled(), (), now, forgotten, fence)
            how = records.Return(available, lost=lost, begun=begun, forgiven=forgiven)
            return records.requeue(db, job_id, fence, now, how), False

        kept, ended = await self._ledger.database.run(write)
        self._ledger.over(self)
        self._ledger.waiting += kept
        if ended:
            self._ledger.tell(self.spec, Cancelled())
        return kept

    async def _end(self, state: Ended, timings: Timings, expires: float | None = None) -> bool:
        now, forgotten = self._ledger.expiry()
        expires = forgotten if expires is None else expires
        job_id, fence = self.spec.id, self.fence
        kept = await self._ledger.database.run(lambda db: records.end(db, job_id, state, timings, now, expires, fence))
        self._ledger.over(self)
        if kept:
            self._ledger.tell(self.spec, state)
        return kept
