"""Where waiting backends and jobs meet in the SQLite engine. Must not know what a backend is, nor how a job ends."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from orchestrator.errors import StorageError
from orchestrator.jobs.engine import Stats, Wanted
from orchestrator.jobs.job import JobSpec, Queued, Running, spec_from_json, spec_to_json
from orchestrator.jobs.sqlite import claims, records
from orchestrator.jobs.sqlite.lease import Ledger, SqliteLease

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_DOUBLINGS = 10


@dataclass(eq=False)
class _Waiter:
    backend: str
    wanted: Wanted
    since: float
    lease: asyncio.Future[SqliteLease]


@dataclass(eq=False)
class Desk:
    """Hands out jobs, to those who wait for one and as jobs come."""

    ledger: Ledger
    held_elsewhere: bool = True
    """Whether jobs may be leased that nobody here holds: a process that is gone had them, or another has them."""
    _waiters: list[_Waiter] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def backends(self) -> int:
        """How many wait for a job or have one."""
        busy = {lease.backend for lease in self.ledger.leases.values()}
        return len(busy | {waiter.backend for waiter in self._waiters})

    async def wait(self, backend: str, wanted: Wanted) -> SqliteLease:
        """A lease for this backend, when there is a job for it."""
        waiter = _Waiter(backend, wanted, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            # A round that goes on does not know of this waiter yet. What other processes submit is seen at a tick.
            if self.ledger.waiting or self.held_elsewhere or self._turn.locked():
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
        text, limit = spec_to_json(spec), self.ledger.dials.waiting_limit
        became, given_up = await asyncio.shield(
            self._match(lambda db: records.insert(db, spec, text, limit, state, at_once))
        )
        await self._tell_ends(given_up)
        return became

    async def fetched(self, job_id: str) -> bool:
        """Queues a job whose models are there, and hands it out at once where somebody waits for it."""
        now = self.ledger.clock()
        became, given_up = await asyncio.shield(self._match(lambda db: records.fetched(db, job_id, now)))
        await self._tell_ends(given_up)
        return became

    async def match(self) -> None:
        """Hands out what there is for those who wait."""
        # To the end even when whoever asked is cancelled: a claim that is made must reach its waiter.
        _, given_up = await asyncio.shield(self._match(lambda _: None))
        await self._tell_ends(given_up)

    def recall(self) -> None:
        """Asks a job back for each backend that waits while there is one that has not begun at another.

        Which was not to be known when the job was given there. Not at once, and later each time that a job comes back:
        it may be about to begin, and moving about it would never come to the head of anybody's line.
        """
        now, dials = time.monotonic(), self.ledger.dials
        leases = [lease for lease in self.ledger.leases.values() if not lease.begun]
        asked = sum(lease.recalled.is_set() for lease in leases)
        idle = [waiter for waiter in self._waiters if not (waiter.lease.done() or waiter.wanted.ahead)]
        for waiter in idle[asked:]:
            for lease in leases:
                suits = not waiter.wanted.warm or lease.spec.model in waiter.wanted.warm
                patience = dials.recall if suits else max(dials.recall, dials.affinity)
                if (
                    lease.backend != waiter.backend
                    and not lease.recalled.is_set()
                    and now - lease.began >= patience * 2 ** min(lease.fence - 1, _MOST_DOUBLINGS)
                    and waiter.wanted.can(lease.spec.classes)
                ):
                    lease.recalled.set()
                    break

    async def _match(self, first: Callable[[sqlite3.Connection], T]) -> tuple[T, Sequence[str]]:
        """Does `first`, then claims in the same transaction. Answers the jobs that were given up, too."""
        async with self._turn:
            waiters = [waiter for waiter in self._waiters if not waiter.lease.done()]
            offers = [claims.Offer(n, waiter.backend, waiter.wanted, waiter.since) for n, waiter in enumerate(waiters)]
            backends, dials = self.backends, self.ledger.dials
            terms = claims.Terms(
                self.ledger.clock(),
                lease=dials.lease,
                affinity=dials.affinity,
                kept=dials.kept,
                avoid=dials.avoid,
                held=frozenset(self.ledger.leases),
            )

            def write(db: sqlite3.Connection) -> tuple[T, claims.Matched, int, int]:
                done = first(db)
                return done, claims.match(db, offers, backends, terms), records.waiting(db), records.running(db)

            done, matched, self.ledger.waiting, running = await self.ledger.database.run(write)
            for grant in matched.grants:
                await self._hand_over(waiters[grant.offer], grant)
            self.held_elsewhere = running > len(self.ledger.leases)
            return done, matched.given_up

    async def _hand_over(self, waiter: _Waiter, grant: claims.Grant) -> None:
        spec, taken = spec_from_json(grant.spec), {"taken_over": grant.taken_over, "resumed": grant.resumed}
        lease = SqliteLease(self.ledger, self.match, spec, grant.row, **taken)
        self.ledger.enter(lease)
        if grant.row["cancel"]:
            lease.cancelled.set()
        if waiter.lease.done():  # it gave up while the claim was made
            try:
                await lease.release()
            except StorageError as error:  # the other grants are still to be handed over
                log.error("%s", error.detail)
            return
        ahead = waiter.wanted.ahead and not grant.taken_over
        eta = self.ledger.run_times.until_done(lease.spec.widget, 0, 1)
        self.ledger.tell(lease.spec, Queued(eta=eta) if ahead else Running(backend=waiter.backend))
        waiter.lease.set_result(lease)

    async def _tell_ends(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            await self.ledger.tell_end(job_id)

    def stats(self, fetching: int, queued: int, running: int) -> Stats:
        """With these counts, by what is written."""
        held = self.ledger.held_back
        running = max(0, running - held.total())
        queued, fetching = queued + held["queued"], fetching + held["fetching"]
        return Stats(fetching, queued, running, self.backends, self.ledger.run_times.mean)


class SqliteSource:
    """A WorkSource: what the backend of that name takes its jobs from."""

    def __init__(self, desk: Desk, backend: str) -> None:
        self._desk = desk
        self._backend = backend

    async def lease(self, wanted: Wanted) -> SqliteLease:
        """The job that suits best, when there is one."""
        return await self._desk.wait(self._backend, wanted)
