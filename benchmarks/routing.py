"""How jobs go to backends that take long to change their checkpoint: the engine's ranking on a simulated clock.

python -m benchmarks.routing [--jobs 2000] [--seeds 3]

The claims are the engine's own, on a database in memory; only time and the backends are simulated. Each backend holds
one checkpoint, runs one job and has one waiting. Jobs are drawn from 30 checkpoints by Zipf's law and come either all
at once or as a Poisson stream that keeps the backends busy. Beside it: first come first served by the backend that is
free, and round-robin; both without a job that waits at the backend, which spares them mistakes. The lower bound is
what no schedule can beat: every run, and one change for each checkpoint, spread evenly, and not before the last job.
"""

import argparse
import heapq
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.report import figure
from orchestrator.jobs.engine import Wanted
from orchestrator.jobs.job import JobSpec, Succeeded, spec_to_json
from orchestrator.jobs.sqlite import claims, records
from orchestrator.jobs.sqlite.database import MIGRATIONS

_CHECKPOINTS, _BACKENDS = 30, 8
_SWITCH = 10.0
_RUN = (4.0, 6.0)
_LOAD = 0.8
"""Share of the backends' time that a stream's runs need, changes of the checkpoint aside."""
_AFFINITY = 30.0


@dataclass(frozen=True)
class Arrival:
    """A job as it comes: when, for which checkpoint, and how many seconds its run takes."""

    number: int
    time: float
    model: str
    run: float


@dataclass
class Told:
    """What became of all jobs under one policy."""

    switches: int = 0
    end: float = 0.0
    """When the last job had ended, in seconds from the first's arrival."""
    started: dict[int, float] = field(default_factory=dict)
    """Job to the moment at which a backend began with it."""
    passed_over: float = 0.0
    """The most seconds from a job's being passed over for the first time until a backend took it."""


@dataclass(eq=False)
class _Backend:
    name: str
    loaded: str = ""
    free_at: float = 0.0

    def take(self, job: Arrival, now: float, told: Told) -> float:
        """Runs the job as soon as it can; when it has ended."""
        begin = max(now, self.free_at)
        switch = _SWITCH if job.model != self.loaded else 0.0
        told.switches += switch > 0
        told.started[job.number] = begin
        self.loaded, self.free_at = job.model, begin + switch + job.run
        told.end = max(told.end, self.free_at)
        return self.free_at


def arrivals(jobs: int, seed: int, *, at_once: bool) -> list[Arrival]:
    """So many jobs, in the order in which they come."""
    draw = random.Random(seed)
    weights = [1 / rank for rank in range(1, _CHECKPOINTS + 1)]
    models = draw.choices([f"model {n}" for n in range(_CHECKPOINTS)], weights, k=jobs)
    rate = _LOAD * _BACKENDS / (sum(_RUN) / 2)
    now, coming = 0.0, []
    for number, model in enumerate(models):
        now += 0.0 if at_once else draw.expovariate(rate)
        coming.append(Arrival(number, now, model, draw.uniform(*_RUN)))
    return coming


def lower_bound(coming: Sequence[Arrival]) -> float:
    """Seconds before which no schedule can be through."""
    work = sum(job.run for job in coming) + _SWITCH * len({job.model for job in coming})
    return max(work / _BACKENDS, max(job.time + job.run for job in coming))


def first_come(coming: Sequence[Arrival]) -> Told:
    """The oldest job to the backend that is free first."""
    told, backends = Told(), [_Backend(f"b{n}") for n in range(_BACKENDS)]
    for job in coming:
        min(backends, key=lambda backend: backend.free_at).take(job, job.time, told)
    return told


def round_robin(coming: Sequence[Arrival]) -> Told:
    """Each job to the next backend, busy or not."""
    told, backends = Told(), deque(_Backend(f"b{n}") for n in range(_BACKENDS))
    for job in coming:
        backends[0].take(job, job.time, told)
        backends.rotate(-1)
    return told


class _Ours:
    """The engine's claims, as `agents` and the engine's desk use them."""

    def __init__(self, coming: Sequence[Arrival]) -> None:
        self.told = Told()
        self._coming = {str(job.number): job for job in coming}
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.row_factory = sqlite3.Row
        for migration in MIGRATIONS:
            self._db.executescript(migration)
        self._backends = [_Backend(f"b{n}") for n in range(_BACKENDS)]
        self._held: dict[str, int] = dict.fromkeys((backend.name for backend in self._backends), 0)
        self._since: dict[str, float] = dict.fromkeys(self._held, 0.0)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0

    def run(self) -> Told:
        """From the first arrival to the last end."""
        for job in self._coming.values():
            self._at(job.time, lambda now, job=job: self._arrive(job, now))  # type: ignore[misc]
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
            if not self._events or self._events[0][0] > now:
                self._match(now)
        return self.told

    def _at(self, time: float, happen: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, self._number, happen))

    def _arrive(self, job: Arrival, now: float) -> None:
        spec = _spec(job, now)
        records.insert(self._db, spec, spec_to_json(spec), 10**9, "queued")

    def _match(self, now: float) -> None:
        free = [backend for backend in self._backends if self._held[backend.name] < 2]
        offers = [
            claims.Offer(n, backend.name, self._wanted(backend), self._since[backend.name])
            for n, backend in enumerate(free)
        ]
        terms = claims.Terms(now, lease=1e9, affinity=_AFFINITY, kept=1e9)
        since = dict(self._db.execute("SELECT id, passed FROM jobs WHERE passed IS NOT NULL").fetchall())
        for grant in claims.match(self._db, offers, _BACKENDS, terms).grants:
            backend, job = free[grant.offer], self._coming[grant.row["id"]]
            self.told.passed_over = max(self.told.passed_over, now - since.get(grant.row["id"], now))
            self._held[backend.name] += 1
            end = backend.take(job, now, self.told)
            self._at(end, lambda now, backend=backend, job=job: self._end(backend, job, now))  # type: ignore[misc]
            self._at(now, lambda _: None)  # whoever holds one now wants another ahead

    def _wanted(self, backend: _Backend) -> Wanted:
        warm = (backend.loaded,) if backend.loaded else ()
        return Wanted(warm, lambda _: True, ahead=self._held[backend.name] > 0)

    def _end(self, backend: _Backend, job: Arrival, now: float) -> None:
        self._held[backend.name] -= 1
        self._since[backend.name] = now
        records.end(self._db, str(job.number), Succeeded("", 1e9), (), now, 1e12)


def ours(coming: Sequence[Arrival]) -> Told:
    """The engine's claims."""
    return _Ours(coming).run()


def longest_extra_wait(told: Told, fair: Told) -> float:
    """Seconds by which a job began later than it would have if the oldest went first, at the most."""
    return max(told.started[number] - started for number, started in fair.started.items())


def _spec(job: Arrival, now: float) -> JobSpec:
    return JobSpec(
        id=str(job.number),
        widget="txt2img",
        seed=1,
        graph={},
        output_node="1",
        output_format="jpeg",
        model=job.model,
        classes=frozenset({"KSampler"}),
        created=now + job.number * 1e-9,
        deadline=1e9,
        patience=1e9,
        image="",
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for at_once in (True, False):
        for seed in range(1, options.seeds + 1):
            _measure(arrivals(options.jobs, seed, at_once=at_once), seed, "all at once" if at_once else "as a stream")


def _measure(coming: Sequence[Arrival], seed: int, come: str) -> None:
    jobs, bound = len(coming), lower_bound(coming)
    policies = {"engine": ours(coming), "first_come": first_come(coming), "round_robin": round_robin(coming)}
    about = {"jobs_come": come, "seed": seed, "backends": _BACKENDS, "checkpoints": _CHECKPOINTS, "switch_s": _SWITCH}
    for name, told in policies.items():
        waits = sorted(told.started[job.number] - job.time for job in coming)
        figure(f"routing_{name}_time_by_bound", told.end / bound, "ratio", jobs, **about)
        figure(f"routing_{name}_switches", told.switches, "switches", jobs, **about)
        figure(f"routing_{name}_wait_p50", waits[jobs // 2], "s", jobs, **about)
        figure(f"routing_{name}_wait_max", waits[-1], "s", jobs, **about)
    best = min(policies["first_come"].switches, policies["round_robin"].switches)
    figure("routing_switches_by_best_other", policies["engine"].switches / best, "ratio", jobs, **about)
    extra = longest_extra_wait(policies["engine"], policies["first_come"])
    figure("routing_longest_extra_wait", extra, "s", jobs, affinity_s=_AFFINITY, **about)
    passed_over = policies["engine"].passed_over
    figure("routing_longest_passed_over", passed_over, "s", jobs, affinity_s=_AFFINITY, **about)


if __name__ == "__main__":
    main()
