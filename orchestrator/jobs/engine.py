"""The seam between those who want jobs run and those who run them; an engine is whatever keeps the jobs between them.

`JobEngine` is what the API's side sees, `WorkSource` what stands beside a backend; `tests/engines/conformance.py` is
what an engine has to pass. Jobs are plain JSON and pictures go by reference, so the two sides may be two machines.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from orchestrator.jobs.job import Ended, Event, Failed, Fetching, Happening, Job, JobSpec, Succeeded, Timings


class Cancellation(Enum):
    """What became of the wish to cancel a job."""

    DONE = "done"
    """It was queued, or whoever ran it is gone, and has ended."""
    ASKED = "asked"
    """It is at a backend, which is being told. Its end, as `events` tells it, says whether that was in time."""
    TOO_LATE = "too late"
    """It had ended before."""


@dataclass(frozen=True)
class Stats:
    """How much there is to do; each job counts as `JobEngine.get` tells it."""

    fetching: int
    """Wait for a model that is on its way."""
    queued: int
    running: int
    """At a backend, or on the way, unless it waits there for the job before it."""
    workers: int
    """Backends that take jobs."""
    mean_run: float | None
    """Seconds that the newest jobs took at their backends; None as long as there was none."""


class Retry(Enum):
    """What became of a job that was lost."""

    AGAIN = "again"
    """It is queued again."""
    ENDED = "ended"
    """It was lost too often, and has failed."""
    NOT_OURS = "not ours"
    """The lease was lost: the job is another's."""


class JobEngine(Protocol):
    """Keeps jobs until they have ended and their images have expired. Every method raises StorageError."""

    async def submit(self, spec: JobSpec, *, fetching: bool = False, at_once: int | None = None) -> bool:
        """Accepts a job; from then on it ends in exactly one terminal state. False: the id is known, nothing is done.

        One that is `fetching` is no backend's before `fetched`. Raises LimitReached when the owner has `at_once` jobs
        that have not ended, and QueueFull; both with `retry_after` in seconds.
        """

    async def progress(self, spec: JobSpec, happening: Fetching) -> None:
        """Tells listeners how far a job's model has come. Cheap; what is told may be lost in a crash."""

    async def fetched(self, spec: JobSpec) -> bool:
        """The models of a job that was fetching are there: it is queued. False when it has ended meanwhile."""

    async def unfetched(self, spec: JobSpec, end: Failed) -> bool:
        """The models of a job that was fetching cannot be had: it ends. False when it has ended meanwhile."""

    def ensure_room(self) -> None:
        """Raises QueueFull when `submit` most likely would; asked before any work is done for a job."""

    async def ensure_share(self, owner: str, at_once: int | None) -> None:
        """Raises LimitReached when `submit` would, as things are; asked before any work is done for a job."""

    async def get(self, job_id: str) -> Job | None:
        """The job as it stands; None when there is no such job (any more)."""

    async def cancel(self, job_id: str) -> Cancellation | None:
        """Cancels this job and no other; None when there is none."""

    def events(self, job_id: str, after: int = 0, *, previews: bool = False) -> AsyncGenerator[Event, None]:
        """What happened since the event number `after`, and what happens from now; ends with the terminal state.

        The events of a job that ended long ago, and those from before a restart, shrink to the state as it is. Nothing
        comes for an unknown job, nor to those who have heard the end. With `previews` the newest preview is told, too.
        """

    async def unfinished(self) -> frozenset[str]:
        """The ids of the jobs that have not ended."""

    async def kept(self) -> frozenset[str]:
        """The ids of all jobs that `get` knows."""

    async def stats(self) -> Stats:
        """Depth and speed of the queue."""


class Outbox(Protocol):
    """The webhooks that are still to be told. A job with one is due when it ends, and kept until that is settled.

    Every method raises StorageError.
    """

    async def due(self, most: int, each: int | None = None) -> Sequence[str]:
        """The ids of at most so many jobs whose webhooks are to be told now, at most `each` of one owner: owners by
        turns, of each the longest due first."""

    async def delivered(self, job_id: str, answer: str) -> None:
        """It was told; `answer` says in words what came of it."""

    async def postponed(self, job_id: str, answer: str, delay: float) -> None:
        """It could not be told, and is due again after so many seconds."""

    async def given_up(self, job_id: str, answer: str) -> None:
        """It could not be told, and is not due any more."""


@dataclass(frozen=True)
class Wanted:
    """What a backend would like to run next."""

    warm: Sequence[str]
    """The models that it has loaded: their jobs are preferred, for a time."""
    can: Callable[[frozenset[str]], bool]
    """Whether it has these node classes."""
    ahead: bool = False
    """True when it is still busy and wants the job for after that. Given only when there is work for all who are
    not."""


class Lease(Protocol):
    """The right to run one job at one backend. It is renewed in the background until the job is handed back."""

    spec: JobSpec
    attempt: int
    """Which run this is, from 1."""
    resumed: bool
    """True when the job was at this very backend already and may still run there, or have ended there."""
    first: bool
    """True when nobody has had the job before."""
    fetched: float | None
    """Seconds from the job's submission until its models were there; None when they were there before."""
    waited: float
    """Seconds from then, or since the try before this one, to this lease; of a job that is taken up where it had begun,
    to the lease under which it had."""
    may_have_begun: bool
    """False while the job waits at its backend for another and is not known to have begun."""
    cancelled: asyncio.Event
    """Set when somebody wants the job cancelled, or when the lease was lost."""
    lost: bool
    """True when the job is another's by now: what it does at its backend is that one's affair."""
    recalled: asyncio.Event
    """Set when the job has waited at its backend while another, that could run it, waits for work: who can take it back
    puts it back, and who cannot clears this."""

    @property
    def watched(self) -> bool:
        """True while somebody would be told of previews."""

    def begin(self) -> None:
        """The backend has begun the job. Cheap; in a crash of the next moment it is not known."""

    async def progress(self, happening: Happening) -> None:
        """Tells listeners. Cheap; what is told may be lost in a crash. From the first Running on the job has begun."""

    async def done(self, result: Succeeded, timings: Timings) -> bool:
        """The job has its image. False when the lease was lost: drop the result."""

    async def failed(self, end: Failed, timings: Timings) -> bool:
        """The job failed by its own fault, or for good; it does not run again."""

    async def stopped(self, timings: Timings) -> bool:
        """The job was cancelled and runs no more."""

    async def retry(self, reason: Failed, delay: float = 0.0) -> Retry:
        """The job was lost by no fault of its own: it is queued again, or ends with `reason` when that was too often.

        `delay` is in seconds. The time of this lease does not count as waiting.
        """

    def let_go(self) -> None:
        """Nothing could be said of the job: the lease is renewed no more, and the job goes to who asks after that."""

    async def put_back(self, *, begun: bool = False, delay: float = 0.0, forgiven: bool = False) -> None:
        """The job is queued again and was not lost; for a time it is not for this backend, where there is another.

        The time of the lease counts as waiting, unless the job had `begun`, has to leave for no reason of its own, or
        is forgiven. `delay` is in seconds. `forgiven`: its backend was lost before it was known to have begun the job.
        From now on the job goes to idle backends alone, where it begins at once, so that none is forgiven twice.
        """


class WorkSource(Protocol):
    """What one backend takes its jobs from."""

    async def lease(self, wanted: Wanted) -> Lease:
        """The job that suits best; waits, without a deadline, until there is one. May be cancelled at any time."""


__all__ = ["Cancellation", "Ended", "JobEngine", "Lease", "Outbox", "Retry", "Stats", "Wanted", "WorkSource"]
