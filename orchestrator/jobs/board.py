"""The jobs of this process, by id: what runs now and how the last ones ended. In memory; gone at a restart."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.jobs.job import Cancelled, Fetching, Job, Queued, Running, State

_KEPT = 1000


class Board:
    """Holds every unfinished job and the newest finished ones."""

    def __init__(self) -> None:
        self._unfinished: dict[str, Job] = {}
        self._finished: OrderedDict[str, Job] = OrderedDict()

    def open(self, job: Job) -> None:
        self._unfinished[job.id] = job

    def find(self, job_id: str) -> Job | None:
        return self._unfinished.get(job_id) or self._finished.get(job_id)

    def unfinished(self) -> Iterator[Job]:
        return iter(tuple(self._unfinished.values()))

    def move(self, job_id: str, state: State) -> None:
        """Takes an unfinished job to its next state; a finished one stays as it ended."""
        job = self._unfinished.get(job_id)
        if job is not None and isinstance(job.state, Queued | Fetching | Running):
            self._unfinished[job_id] = replace(job, state=state)

    def close(self, job_id: str, timings: tuple[tuple[str, float], ...]) -> None:
        """Ends a job with its stages' durations; one that is closed while it still runs was cancelled."""
        job = self._unfinished.pop(job_id)
        if isinstance(job.state, Queued | Fetching | Running):
            job = replace(job, state=Cancelled())
        self._finished[job_id] = replace(job, timings=timings)
        while len(self._finished) > _KEPT:
            self._finished.popitem(last=False)
