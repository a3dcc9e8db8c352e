import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from orchestrator.errors import StorageError
from orchestrator.jobs.engine import Cancellation
from orchestrator.jobs.job import Happening, JobSpec, Queued, Running, Succeeded
from orchestrator.jobs.sqlite import Dials, SqliteEngine, claims, records
from orchestrator.jobs.sqlite.database import MIGRATIONS, Database
from tests.engines.conformance import (
    AFFINITY_SECONDS,
    AVOID_SECONDS,
    LEASE_SECONDS,
    PICTURE,
    RECALL_SECONDS,
    EngineConformance,
    Opened,
    lease,
    nothing_for,
)
from tests.engines.jobs import spec, wants


def opened(folder: Path, **more: int) -> SqliteEngine:
    dials = Dials(
        affinity=AFFINITY_SECONDS, avoid=AVOID_SECONDS, recall=RECALL_SECONDS, lease=LEASE_SECONDS, tick=0.05, **more
    )
    return SqliteEngine(folder / "jobs.sqlite", dials)


class TestSqliteEngine(EngineConformance):
    def open(self, folder: Path, *, waiting_limit: int = 100) -> AbstractAsyncContextManager[Opened]:
        @asynccontextmanager
        async def both_sides() -> AsyncGenerator[Opened, None]:
            async with opened(folder, waiting_limit=waiting_limit) as engine:
                yield Opened(engine, engine.source, engine.outbox)

        return both_sides()

    def worker(self, folder: Path) -> Sequence[str]:
        return [sys.executable, "-m", "tests.engines.test_sqlite", str(folder)]


async def left_leased(folder: Path) -> JobSpec:
    """A job that a service which is gone has leased for the backend "one"."""
    job = spec()
    async with opened(folder) as engine:
        await engine.submit(job)
        await lease(engine.source("one"))
    return job


async def is_still_ones(engine: SqliteEngine) -> bool:
    """Whether the job that was left goes to no other backend, and to its own as the same run."""
    assert await nothing_for(engine.source("two"))
    held = await lease(engine.source("one"))
    return (held.attempt, held.resumed) == (1, True)


async def test_after_a_restart_a_leased_job_goes_to_its_own_backend_first_and_counts_as_not_lost(
    tmp_path: Path,
) -> None:
    await left_leased(tmp_path)
    async with opened(tmp_path) as engine:
        assert await engine.adopt(grace=60) == 1
        assert await is_still_ones(engine)


async def test_after_a_restart_a_job_whose_backend_does_not_come_back_goes_elsewhere(tmp_path: Path) -> None:
    await left_leased(tmp_path)
    async with opened(tmp_path) as engine:
        await engine.adopt(grace=0.3)
        held = await lease(engine.source("two"))
        assert (held.attempt, held.resumed) == (2, False)


async def left_waiting(folder: Path, *, begun: bool) -> JobSpec:
    """A job that a service which is gone has leased ahead for the backend "one", and that one has begun or not."""
    first, second = spec(), spec()
    async with opened(folder) as engine:
        for job in (first, second):
            await engine.submit(job)
        running = await lease(engine.source("one"))
        held = await lease(engine.source("one"), ahead=True)
        assert (running.may_have_begun, held.may_have_begun) == (True, False)
        await running.done(Succeeded("x.png", 2e9), ())
        if begun:
            held.begin()
            await asyncio.sleep(0.3)
    return second


@pytest.mark.parametrize("begun", [True, False])
async def test_after_a_restart_it_is_known_whether_a_job_had_begun_at_its_backend(tmp_path: Path, begun: bool) -> None:
    await left_waiting(tmp_path, begun=begun)
    for _ in range(2):  # a second restart changes nothing
        async with opened(tmp_path) as engine:
            await engine.adopt(grace=60)
            held = await lease(engine.source("one"))
            assert (held.attempt, held.resumed, held.may_have_begun) == (1, True, begun)


async def test_a_job_that_had_not_begun_goes_elsewhere_as_the_same_try(tmp_path: Path) -> None:
    await left_waiting(tmp_path, begun=False)
    async with opened(tmp_path) as engine:
        await engine.adopt(grace=0.3)
        held = await lease(engine.source("two"))
        assert (held.attempt, held.resumed, held.may_have_begun, held.waited) == (1, False, True, 0.0)


async def test_whoever_waits_gets_a_job_at_once_whether_it_comes_before_with_or_after_the_waiting(
    tmp_path: Path,
) -> None:
    """No tick helps here: an empty queue is not looked into, so nobody may be overlooked on that account."""
    async with SqliteEngine(tmp_path / "jobs.sqlite", Dials(tick=600.0)) as engine:
        for turn in range(60):
            source = engine.source(f"backend {turn % 3}")
            submitting = asyncio.create_task(engine.submit(spec()))
            for _ in range(turn % 20):
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                held = await source.lease(wants("a"))
            await submitting
            assert await held.done(Succeeded("x.png", 2e9), ())


async def test_an_empty_queue_is_not_looked_into_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []

    def match(*given: Any) -> claims.Matched:
        rounds.append(1)
        return claims_match(*given)

    claims_match = claims.match
    monkeypatch.setattr(claims, "match", match)
    async with SqliteEngine(tmp_path / "jobs.sqlite", Dials(tick=600.0)) as engine:
        for _ in range(5):
            assert await nothing_for(engine.source("one"))
        assert len(rounds) == 1
        await engine.submit(spec())
        await lease(engine.source("one"))
        assert len(rounds) == 3


async def test_a_job_that_is_cancelled_before_its_backend_comes_back_is_cancelled_there(tmp_path: Path) -> None:
    job = await left_leased(tmp_path)
    async with opened(tmp_path) as engine:
        await engine.adopt(grace=60)
        assert await engine.cancel(job.id) is Cancellation.ASKED
        held = await lease(engine.source("one"))
        assert held.resumed
        assert held.cancelled.is_set()


async def test_a_job_that_may_still_run_is_not_begun_anew_when_its_backend_gives_up_as_it_is_given_it(
    tmp_path: Path,
) -> None:
    await left_leased(tmp_path)
    async with opened(tmp_path) as engine:
        await engine.adopt(grace=60)
        await (await engine.source("one").lease(wants())).release()
        assert await is_still_ones(engine)


async def test_a_clock_that_is_set_takes_no_job_from_a_holder_that_lives(tmp_path: Path) -> None:
    ahead = [0.0]
    dials = Dials(lease=30, tick=0.05)
    async with SqliteEngine(tmp_path / "jobs.sqlite", dials, clock=lambda: time.time() + ahead[0]) as engine:
        await engine.submit(spec(patience=20))
        held = await lease(engine.source("one"))
        ahead[0] = 40.0
        for backend in ("one", "two"):
            assert await nothing_for(engine.source(backend))
        assert await engine.cancel(held.spec.id) is Cancellation.ASKED
        assert not held.lost
        assert await held.done(PICTURE, ())


async def test_a_holder_hears_that_its_job_is_anothers(tmp_path: Path) -> None:
    ahead = Dials(lease=30, tick=0.05)
    async with (
        opened(tmp_path) as engine,
        SqliteEngine(tmp_path / "jobs.sqlite", ahead, clock=lambda: time.time() + 3600) as other,
    ):
        await engine.submit(spec())
        held = await lease(engine.source("one"))
        assert (await lease(other.source("two"))).attempt == 2
        async with asyncio.timeout(5):
            await held.cancelled.wait()
        assert held.lost


async def test_a_holder_hears_that_its_job_has_come_back_to_another_of_the_same_process(tmp_path: Path) -> None:
    dials = Dials(lease=3000, tick=0.05)  # so that no renewal tells it
    async with (
        SqliteEngine(tmp_path / "jobs.sqlite", dials) as engine,
        SqliteEngine(tmp_path / "jobs.sqlite", dials, clock=lambda: time.time() + 3600) as other,
    ):
        await engine.submit(spec(patience=7200))
        held = await lease(engine.source("one"))
        await (await other.source("two").lease(wants())).release()
        again = await lease(engine.source("one"))
        assert (held.lost, held.cancelled.is_set()) == (True, True)
        assert (again.lost, again.cancelled.is_set()) == (False, False)


async def test_a_backend_that_gives_up_as_it_is_given_a_job_puts_it_back(tmp_path: Path) -> None:
    def observe(job_id: str, created: float, happening: Happening) -> None:
        if isinstance(happening, Running):
            asyncio.get_running_loop().call_soon(waiter.cancel)

    async with SqliteEngine(tmp_path / "jobs.sqlite", Dials(tick=0.05), observe=observe) as engine:
        waiter = asyncio.create_task(lease(engine.source("one")))
        await asyncio.sleep(0.05)
        job = spec()
        await engine.submit(job)
        await asyncio.wait({waiter})
        assert waiter.cancelled()
        kept = await engine.get(job.id)
        assert kept is not None
        assert isinstance(kept.state, Queued)


async def test_jobs_are_forgotten_with_their_images(tmp_path: Path) -> None:
    now = [1000.0]
    async with SqliteEngine(tmp_path / "jobs.sqlite", Dials(tick=0.02, kept=50), clock=lambda: now[0]) as engine:
        job = spec(created=1000.0)
        await engine.submit(job)
        await engine.cancel(job.id)
        assert await engine.forget_expired() == 0
        now[0] = 1050.0
        assert await engine.forget_expired() == 1
        assert await engine.get(job.id) is None


async def test_a_job_whose_webhook_is_not_told_yet_outlives_its_image_and_one_given_up_is_kept_to_be_asked_for(
    tmp_path: Path,
) -> None:
    now = [1000.0]
    async with SqliteEngine(tmp_path / "jobs.sqlite", Dials(tick=0.02, kept=50), clock=lambda: now[0]) as engine:
        job = spec(created=1000.0, webhook="https://a.example/x")
        await engine.submit(job)
        await engine.cancel(job.id)
        now[0] = 80000.0
        assert await engine.forget_expired() == 0
        await engine.outbox.given_up(job.id, "answered 500")
        assert await engine.forget_expired() == 0
        now[0] = 80050.0
        assert await engine.forget_expired() == 1


async def test_a_file_of_a_newer_version_is_refused_with_a_reason(tmp_path: Path) -> None:
    async with Database(tmp_path / "jobs.sqlite") as database:
        await database.run(lambda db: db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}"))
    with pytest.raises(StorageError, match="newer version"):
        async with Database(tmp_path / "jobs.sqlite"):
            pass


async def test_a_file_that_is_no_database_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match="cannot be used"):
        async with Database(tmp_path / "jobs.sqlite"):
            pass


async def test_nobody_else_may_read_the_jobs_those_of_an_earlier_version_included(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").touch(mode=0o644)
    async with opened(tmp_path) as engine:
        await engine.submit(spec())
        files = list(tmp_path.glob("jobs.sqlite*"))
        assert {file.name for file in files} == {"jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def _hold_one(folder: Path) -> None:
    async with opened(folder) as engine:
        held = await engine.source("worker").lease(wants())
        print(held.spec.id, flush=True)
        await asyncio.sleep(60)


async def test_a_lease_whose_release_cannot_be_written_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as engine:
        await engine.submit(one := spec())
        held = await lease(engine.source("one"))
        with monkeypatch.context() as patch:
            patch.setattr(records, "requeue", Mock(side_effect=StorageError("full")))
            with pytest.raises(StorageError):
                await held.release()
        assert (await lease(engine.source("two"))).spec == one


if __name__ == "__main__":
    asyncio.run(_hold_one(Path(sys.argv[1])))
