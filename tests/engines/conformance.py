"""What every engine behind `orchestrator.jobs.engine` must do; a class to inherit from, with an engine of one's own.

class TestMyEngine(EngineConformance):
    def open(self, folder, **dials): ...      # an async context manager of an Opened
    def worker(self, folder): ...             # the command of a worker that leases one job, says so, and hangs
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from orchestrator.errors import FieldError, LimitReached, QueueFull
from orchestrator.jobs.engine import Cancellation, JobEngine, Lease, Outbox, Retry, WorkSource
from orchestrator.jobs.job import (
    Cancelled,
    Delivery,
    Ended,
    Event,
    Failed,
    Fetching,
    Happening,
    JobSpec,
    Preview,
    Queued,
    Requeued,
    Running,
    State,
    Succeeded,
)
from tests.engines.jobs import spec, wants

LEASE_SECONDS = 1.0
AFFINITY_SECONDS = 1.0
AVOID_SECONDS = 5.0
RECALL_SECONDS = 0.1
LOST = Failed(code="backend_lost", detail="it is gone")
PICTURE = Succeeded(image="x.png", expires_at=time.time() + 3600)


class Sources(Protocol):
    def __call__(self, backend: str) -> WorkSource: ...


@dataclass(frozen=True)
class Opened:
    """An engine at work, both sides of it."""

    engine: JobEngine
    source: Sources
    outbox: Outbox


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def up_to(kind: type, events: AsyncGenerator[Event, None]) -> AsyncIterator[Event]:
    """The events up to the first of that kind."""
    async with aclosing(events):
        async for event in events:
            yield event
            if isinstance(event.happening, kind):
                return


async def lease(source: WorkSource, *warm: str, **more: object) -> Lease:
    async with asyncio.timeout(10):
        return await source.lease(wants(*warm, **more))  # type: ignore[arg-type]


async def nothing_for(source: WorkSource, *warm: str, **more: object) -> bool:
    """True when the source has no job to give for a while."""
    try:
        async with asyncio.timeout(0.2):
            await source.lease(wants(*warm, **more))  # type: ignore[arg-type]
    except TimeoutError:
        return True
    return False


async def state(engine: JobEngine, job_id: str) -> State:
    job = await engine.get(job_id)
    assert job is not None
    return job.state


async def delivery(engine: JobEngine, job: JobSpec) -> Delivery | None:
    kept = await engine.get(job.id)
    assert kept is not None
    return kept.delivery


async def story(engine: JobEngine, job_id: str, after: int = 0) -> list[Event]:
    async with asyncio.timeout(10):
        return [event async for event in engine.events(job_id, after)]


class EngineConformance:
    """`open` takes `waiting_limit`; the lease, the affinity and the time of avoidance it must set as above."""

    def open(self, folder: Path, *, waiting_limit: int = 100) -> AbstractAsyncContextManager[Opened]:
        raise NotImplementedError

    def worker(self, folder: Path) -> Sequence[str]:
        raise NotImplementedError

    # Keeping

    async def test_a_job_is_kept_as_it_was_submitted(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec(inputs=("a.png",), ignored=("extra",), timings=(("check", 0.5),))
            assert await opened.engine.submit(job)
            kept = await opened.engine.get(job.id)
            assert kept is not None
            assert kept.spec == job
            assert (await lease(opened.source("one"))).spec == job

    async def test_an_unknown_job_is_none_and_has_no_events(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            assert await opened.engine.get("none") is None
            assert await opened.engine.cancel("none") is None
            assert await story(opened.engine, "none") == []

    async def test_the_same_id_is_accepted_once_and_runs_once(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job, source = spec(), opened.source("one")
            accepted = await asyncio.gather(*(opened.engine.submit(job) for _ in range(5)))
            assert sorted(accepted) == [False, False, False, False, True]
            assert await (await lease(source)).done(PICTURE, ())
            assert not await opened.engine.submit(job)
            assert await nothing_for(source)
            assert await state(opened.engine, job.id) == PICTURE

    async def test_a_full_queue_refuses_and_says_when_to_come_again(self, tmp_path: Path) -> None:
        async with self.open(tmp_path, waiting_limit=2) as opened:
            for _ in range(2):
                await opened.engine.submit(spec())
            with pytest.raises(QueueFull) as caught:
                await opened.engine.submit(spec())
            assert caught.value.retry_after >= 1
            await lease(opened.source("one"))
            assert await opened.engine.submit(spec())

    async def test_an_owner_has_so_many_jobs_at_once_and_others_are_not_held_up(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            for fetching in (False, True):
                assert await opened.engine.submit(spec(owner="a"), fetching=fetching, at_once=2)
            held = await lease(opened.source("one"))
            one_more = spec(owner="a")
            for attempt in (opened.engine.submit(one_more, at_once=2), opened.engine.ensure_share("a", 2)):
                with pytest.raises(LimitReached) as caught:
                    await attempt
                assert [field.field for field in caught.value.fields] == ["jobs"]
                assert caught.value.retry_after >= 1
            assert await opened.engine.get(one_more.id) is None
            await opened.engine.ensure_share("a", None)
            await opened.engine.ensure_share("b", 1)
            assert await opened.engine.submit(spec(owner="b"), at_once=1)
            assert not await opened.engine.submit(held.spec, at_once=1)  # known, which is no matter of limits
            await held.done(PICTURE, ())
            await opened.engine.ensure_share("a", 2)
            assert await opened.engine.submit(one_more, at_once=2)

    async def test_jobs_submitted_in_the_same_moment_do_not_pass_an_owners_limit(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            tries = [opened.engine.submit(spec(owner="a"), at_once=3) for _ in range(8)]
            became = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(one is True for one in became) == 3
            assert sum(isinstance(one, LimitReached) for one in became) == 5

    async def test_all_survives_a_restart_of_the_engine(self, tmp_path: Path) -> None:
        waiting, done = spec(), spec()
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(done)
            assert await (await lease(opened.source("one"))).done(PICTURE, (("run", 1.5),))
            await opened.engine.submit(waiting)
        async with self.open(tmp_path) as opened:
            kept = await opened.engine.get(done.id)
            assert kept is not None
            assert (kept.state, kept.timings) == (PICTURE, (("run", 1.5),))
            assert (await lease(opened.source("one"))).spec == waiting

    # Ends

    async def test_listeners_hear_the_whole_story_and_its_end(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec()
            await opened.engine.submit(job)
            heard = asyncio.create_task(story(opened.engine, job.id))
            await asyncio.sleep(0.05)
            held = await lease(opened.source("one"))
            for step in range(1, 4):
                await held.progress(Running(backend="one", node="Sampler", step=step, steps=3))
            await held.done(PICTURE, ())
            events = await heard
            assert isinstance(events[0].happening, Queued)
            steps = [event.happening.step for event in events if isinstance(event.happening, Running)]
            assert steps[-3:] == [1, 2, 3]
            assert events[-1].happening == PICTURE
            numbers = [event.number for event in events]
            assert numbers == sorted(set(numbers))
            missed = await story(opened.engine, job.id, after=numbers[-3])
            assert missed == events[-2:]
            assert await story(opened.engine, job.id, after=numbers[-1]) == []

    async def test_a_listener_that_comes_after_a_restart_is_told_the_end(self, tmp_path: Path) -> None:
        job = spec()
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(job)
            await (await lease(opened.source("one"))).failed(LOST, ())
            last = (await story(opened.engine, job.id))[-1]
        async with self.open(tmp_path) as opened:
            assert [event.happening for event in await story(opened.engine, job.id)] == [last.happening]
            assert await story(opened.engine, job.id, after=last.number) == []

    async def test_an_end_is_final(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec()
            await opened.engine.submit(job)
            held = await lease(opened.source("one"))
            assert await held.failed(LOST, ())
            assert not await held.done(PICTURE, ())
            assert await held.retry(LOST) is Retry.NOT_OURS
            assert await opened.engine.cancel(job.id) is Cancellation.TOO_LATE
            assert await state(opened.engine, job.id) == LOST

    # Previews

    async def test_a_preview_goes_to_those_who_want_it_while_they_listen_and_is_not_kept(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec()
            await opened.engine.submit(job)
            taken = await lease(opened.source("one"))
            assert not taken.watched
            all_heard: list[Happening] = []
            plain: list[Happening] = []

            async def listen(heard: list[Happening], previews: bool) -> None:
                async for event in opened.engine.events(job.id, previews=previews):
                    heard.append(event.happening)  # noqa: PERF401 - as they come

            listening = [asyncio.create_task(listen(all_heard, True)), asyncio.create_task(listen(plain, False))]
            await until(lambda: taken.watched and all_heard and plain)
            for number in range(3):
                await taken.progress(Preview(str(number)))
            await until(lambda: Preview("2") in all_heard)
            late = [event async for event in up_to(Preview, opened.engine.events(job.id, previews=True))]
            assert late[-1].happening == Preview("2")
            await taken.done(PICTURE, ())
            await asyncio.wait(listening)
            assert all_heard[-1] == plain[-1] == PICTURE
            assert not any(isinstance(happening, Preview) for happening in plain)
            again = [event.happening async for event in opened.engine.events(job.id, previews=True)]
            assert not any(isinstance(happening, Preview) for happening in again)

    # Models that come first

    async def test_a_job_that_is_fetching_is_no_backends_until_its_models_are_there(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec()
            assert await opened.engine.submit(job, fetching=True)
            assert await state(opened.engine, job.id) == Fetching()
            assert await nothing_for(opened.source("one"))
            await opened.engine.progress(job, Fetching("m", 5, 10, 1, 5.0))
            assert await state(opened.engine, job.id) == Fetching("m", 5, 10, 1, 5.0)
            assert await opened.engine.unfinished() == {job.id} == await opened.engine.kept()
            assert (await opened.engine.stats()).fetching == 1
            asking = asyncio.create_task(lease(opened.source("one")))
            assert await opened.engine.fetched(job)
            taken = await asking
            assert taken.fetched is not None
            assert taken.fetched >= taken.waited
            assert await taken.done(PICTURE, ())
            assert not await opened.engine.fetched(job)
            kinds = [event.happening.kind for event in await story(opened.engine, job.id)]
            assert kinds[:2] == ["fetching", "queued"]

    async def test_a_job_whose_models_cannot_be_had_ends_as_the_engine_is_told(self, tmp_path: Path) -> None:
        gone = Failed("model_gone", "it is", (FieldError("model", "it is"),))
        async with self.open(tmp_path) as opened:
            job, other = spec(), spec()
            for one in (job, other):
                await opened.engine.submit(one, fetching=True)
            assert await opened.engine.unfetched(job, gone)
            assert not await opened.engine.unfetched(job, LOST)
            assert not await opened.engine.fetched(job)
        async with self.open(tmp_path) as opened:
            assert await state(opened.engine, job.id) == gone
            assert await state(opened.engine, other.id) == Fetching()

    async def test_a_job_that_is_fetching_can_be_cancelled_and_counts_among_the_waiting(self, tmp_path: Path) -> None:
        async with self.open(tmp_path, waiting_limit=1) as opened:
            job = spec()
            await opened.engine.submit(job, fetching=True)
            with pytest.raises(QueueFull):
                await opened.engine.submit(spec())
            assert await opened.engine.cancel(job.id) is Cancellation.DONE
            assert not await opened.engine.fetched(job)
            assert await nothing_for(opened.source("one"))
            assert await state(opened.engine, job.id) == Cancelled()
            assert await opened.engine.submit(spec())

    async def test_patience_begins_when_the_models_are_there(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec(patience=0.4)
            await opened.engine.submit(job, fetching=True)
            await asyncio.sleep(0.8)
            assert await state(opened.engine, job.id) == Fetching()
            await opened.engine.fetched(job)
            await asyncio.sleep(0.2)
            assert isinstance(await state(opened.engine, job.id), Queued)
            assert isinstance((await story(opened.engine, job.id))[-1].happening, Failed)

    # Cancelling

    async def test_a_queued_job_is_cancelled_at_once_and_never_runs(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job, other = spec(), spec()
            await opened.engine.submit(job)
            await opened.engine.submit(other)
            assert await opened.engine.cancel(job.id) is Cancellation.DONE
            assert await state(opened.engine, job.id) == Cancelled()
            assert (await lease(opened.source("one"))).spec.id == other.id
            assert await nothing_for(opened.source("two"))

    async def test_the_holder_of_a_running_job_is_told_to_cancel_it_and_no_other_is(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            for _ in range(2):
                await opened.engine.submit(spec())
            one, two = await lease(opened.source("one")), await lease(opened.source("two"))
            assert await opened.engine.cancel(one.spec.id) is Cancellation.ASKED
            async with asyncio.timeout(5):
                await one.cancelled.wait()
            assert not two.cancelled.is_set()
            assert await one.stopped(())
            assert await state(opened.engine, one.spec.id) == Cancelled()

    async def test_a_job_that_ends_before_its_holder_could_cancel_it_has_ended_well(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec())
            held = await lease(opened.source("one"))
            await opened.engine.cancel(held.spec.id)
            assert await held.done(PICTURE, ())
            assert await state(opened.engine, held.spec.id) == PICTURE

    async def test_a_job_is_cancelled_from_another_process_than_its_holders(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened, self.open(tmp_path) as elsewhere:
            await opened.engine.submit(spec())
            held = await lease(opened.source("one"))
            assert await elsewhere.engine.cancel(held.spec.id) is Cancellation.ASKED
            async with asyncio.timeout(5):
                await held.cancelled.wait()
            assert not held.lost
            assert await held.stopped(())

    async def test_a_job_whose_holder_is_gone_is_cancelled_as_soon_as_its_lease_has_run_out(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            early, late = spec(), spec()
            for job in (early, late):
                await opened.engine.submit(job)
            for _ in range(2):
                (await lease(opened.source("one"))).let_go()
            assert await opened.engine.cancel(early.id) is Cancellation.ASKED
            assert isinstance((await story(opened.engine, early.id))[-1].happening, Cancelled)
            await asyncio.sleep(LEASE_SECONDS)
            assert await opened.engine.cancel(late.id) is Cancellation.DONE
            assert await state(opened.engine, late.id) == Cancelled()
            assert await nothing_for(opened.source("one"))

    # Losses

    async def test_a_lost_job_runs_again_first_and_ends_when_it_was_lost_too_often(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job, source = spec(), opened.source("one")
            await opened.engine.submit(job)
            held = await lease(source)
            await opened.engine.submit(spec())
            for attempt in (1, 2):
                assert (held.spec.id, held.attempt) == (job.id, attempt)
                assert await held.retry(LOST) is Retry.AGAIN
                held = await lease(source)
            assert held.attempt == 3
            assert await held.retry(LOST) is Retry.ENDED
            end = await state(opened.engine, job.id)
            assert isinstance(end, Failed)
            assert end.code == "backend_lost"
            told = [event.happening for event in await story(opened.engine, job.id)]
            assert [event.attempt for event in told if isinstance(event, Requeued)] == [2, 3]

    async def test_a_lost_job_goes_to_another_backend_than_the_one_that_lost_it(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            one, two = opened.source("one"), opened.source("two")
            job = spec()
            await opened.engine.submit(job)
            held = await lease(one)
            asking = asyncio.create_task(lease(one, ahead=False))
            other = asyncio.create_task(lease(two))
            await asyncio.sleep(0.05)  # both wait, the one that loses it first
            assert await held.retry(LOST) is Retry.AGAIN
            assert (await other).spec == job
            asking.cancel()

    async def test_a_lost_job_waits_a_while_for_a_busy_backend_and_holds_up_nobody(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            one, two = opened.source("one"), opened.source("two")
            lost, busy, other = spec(), spec(), spec()
            for job, source in ((lost, one), (busy, two)):
                await opened.engine.submit(job)
                held = await lease(source)
                if job is lost:
                    losing = held
            await losing.retry(LOST)
            assert await nothing_for(one)
            await opened.engine.submit(other)
            assert (await lease(one)).spec == other
            # Nobody else has taken it in time: better there than nowhere.
            async with asyncio.timeout(30):
                assert (await one.lease(wants())).spec == lost

    async def test_a_retry_may_wait(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec())
            await (await lease(opened.source("one"))).retry(LOST, delay=0.7)
            assert await nothing_for(opened.source("one"))
            again = await lease(opened.source("one"))
            assert again.attempt == 2

    async def test_what_a_lost_run_took_is_no_waiting(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec(patience=1.0))
            held = await lease(opened.source("one"))
            await asyncio.sleep(1.2)
            assert await held.retry(LOST) is Retry.AGAIN
            again = await lease(opened.source("one"))
            assert again.attempt == 2
            assert again.waited < 0.5

    async def test_a_job_that_was_put_back_was_not_lost_and_goes_first_to_another_backend(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec())
            held = await lease(opened.source("one"))
            same = asyncio.create_task(lease(opened.source("one")))
            other = asyncio.create_task(lease(opened.source("two")))
            await asyncio.sleep(0.05)  # both wait, the one that had it first
            await held.put_back()
            assert (await other).attempt == 1
            same.cancel()

    async def test_the_time_of_a_lease_counts_as_waiting_until_the_job_has_begun(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            begun, waiting = spec(patience=0.6), spec(patience=0.6)
            for job in (begun, waiting):
                await opened.engine.submit(job)
            held = [await lease(opened.source("one")) for _ in range(2)]
            await asyncio.sleep(0.8)
            for one in held:
                await one.put_back(begun=one.spec == begun)
            assert (await lease(opened.source("one"))).spec == begun
            end = (await story(opened.engine, waiting.id))[-1].happening
            assert isinstance(end, Failed)
            assert end.code == "no_backend"

    async def test_a_job_whose_holders_all_die_ends_when_it_was_lost_too_often(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec()
            await opened.engine.submit(job)
            for attempt in (1, 2, 3):
                held = await lease(opened.source("one"))
                assert held.attempt == attempt
                held.let_go()
            asking = asyncio.create_task(lease(opened.source("one")))
            end = (await story(opened.engine, job.id))[-1].happening
            assert isinstance(end, Failed)
            assert end.code == "backend_lost"
            asking.cancel()

    async def test_a_job_whose_holder_is_gone_and_that_nobody_takes_up_fails_when_its_patience_is_over(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            job = spec(patience=0.5)
            await opened.engine.submit(job)
            (await lease(opened.source("one"))).let_go()
            await asyncio.sleep(LEASE_SECONDS)
            assert isinstance(await state(opened.engine, job.id), Running)  # it may be taken up yet
            end = (await story(opened.engine, job.id))[-1].happening
            assert isinstance(end, Failed)
            assert end.code == "backend_lost"

    async def test_who_has_lost_a_lease_cannot_end_the_job_of_the_next(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec())
            stalled = await lease(opened.source("one"))
            stalled.let_go()
            held = await lease(opened.source("two"))
            assert held.attempt == 2
            assert not await stalled.done(PICTURE, ())
            assert not await stalled.failed(LOST, ())
            assert not await stalled.stopped(())
            assert await stalled.retry(LOST) is Retry.NOT_OURS
            await stalled.put_back()
            assert await held.done(PICTURE, ())

    async def test_a_lease_is_kept_as_long_as_its_holder_lives(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec())
            held = await lease(opened.source("one"))
            await asyncio.sleep(LEASE_SECONDS * 1.5)
            assert await nothing_for(opened.source("two"))
            assert await held.done(PICTURE, ())

    async def test_the_job_of_a_killed_worker_goes_to_another(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec()
            await opened.engine.submit(job)
            worker = await asyncio.create_subprocess_exec(*self.worker(tmp_path), stdout=asyncio.subprocess.PIPE)
            assert worker.stdout is not None
            async with asyncio.timeout(20):
                assert (await worker.stdout.readline()).decode().strip() == job.id
            assert await nothing_for(opened.source("two"))
            worker.send_signal(signal.SIGKILL)
            await worker.communicate()
            held = await lease(opened.source("two"))
            assert (held.spec.id, held.attempt, held.resumed) == (job.id, 2, False)
            assert await held.done(PICTURE, ())

    # Webhooks

    async def test_a_jobs_webhook_is_due_with_its_end_whatever_that_is_and_no_sooner(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            hook, engine, source = "https://a.example/x", opened.engine, opened.source("one")
            done, failed, stopped, lost, quiet = jobs = [spec(webhook=hook) for _ in range(4)] + [spec()]
            for job in jobs:
                await engine.submit(job)
            waiting, unfetched, late = spec(webhook=hook), spec(webhook=hook), spec(webhook=hook, patience=0.3)
            assert await opened.outbox.due(10) == []
            assert await delivery(engine, done) == Delivery("waiting")
            held = {job.id: await lease(source) for job in jobs}
            held = {one.spec.id: one for one in held.values()}
            await held[done.id].done(PICTURE, ())
            await held[failed.id].failed(LOST, ())
            await held[stopped.id].stopped(())
            await held[quiet.id].done(PICTURE, ())
            again = held[lost.id]
            for _ in range(2):
                assert await again.retry(LOST) is Retry.AGAIN
                again = await lease(source)
            assert set(await opened.outbox.due(10)) == {done.id, failed.id, stopped.id}
            assert await again.retry(LOST) is Retry.ENDED
            await engine.submit(unfetched, fetching=True)
            await engine.unfetched(unfetched, LOST)
            await engine.submit(waiting)
            await engine.cancel(waiting.id)
            await engine.submit(late)
            await story(engine, late.id)
            expected = {done.id, failed.id, stopped.id, lost.id, unfetched.id, waiting.id, late.id}
            assert set(await opened.outbox.due(10)) == expected
            assert len(await opened.outbox.due(3)) == 3
            assert await delivery(engine, quiet) is None

    async def test_what_is_due_survives_a_restart_and_is_tried_again_later_until_it_is_told(
        self, tmp_path: Path
    ) -> None:
        job = spec(webhook="https://a.example/x")
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(job)
            await (await lease(opened.source("one"))).done(PICTURE, ())
        async with self.open(tmp_path) as opened:
            assert await opened.outbox.due(10) == [job.id]
            await opened.outbox.postponed(job.id, "answered 500", 0.4)
            assert await opened.outbox.due(10) == []
            pending = await delivery(opened.engine, job)
            assert pending is not None
            assert (pending.state, pending.tries, pending.answer) == ("pending", 1, "answered 500")
            await asyncio.sleep(0.5)
            assert await opened.outbox.due(10) == [job.id]
            await opened.outbox.delivered(job.id, "answered 200")
            assert await opened.outbox.due(10) == []
            assert await delivery(opened.engine, job) == Delivery("delivered", 2, "answered 200")

    async def test_webhooks_are_due_by_turns_of_their_owners_of_each_the_longest_due_first(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            owners = ("mallory", "mallory", "mallory", "alice", "bob", "alice")
            jobs = [spec(webhook="https://a.example/x", owner=owner) for owner in owners]
            for job in jobs:
                await opened.engine.submit(job)
                await opened.engine.cancel(job.id)
                await asyncio.sleep(0.01)  # so that each is due at another moment
            one, two, three, four, five, six = (job.id for job in jobs)
            assert await opened.outbox.due(10) == [one, four, five, two, six, three]
            assert await opened.outbox.due(10, 2) == [one, four, five, two, six]
            assert await opened.outbox.due(2, 2) == [one, four]

    async def test_a_webhook_that_is_given_up_is_due_no_more_and_shown_so(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec(webhook="https://a.example/x")
            await opened.engine.submit(job)
            await opened.engine.cancel(job.id)
            await opened.outbox.given_up(job.id, "answered 410")
            assert await opened.outbox.due(10) == []
            assert await delivery(opened.engine, job) == Delivery("dead", 1, "answered 410")

    # Order

    async def test_jobs_come_in_the_order_of_priority_and_then_of_age(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            jobs = [spec(priority=priority, created=time.time() + n / 1000) for n, priority in enumerate((1, 2, 0, 1))]
            for job in jobs:
                await opened.engine.submit(job)
            source = opened.source("one")
            taken = [(await lease(source)).spec.id for _ in jobs]
            assert taken == [jobs[2].id, jobs[0].id, jobs[3].id, jobs[1].id]

    async def test_owners_take_turns(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            for owner in ("many", "many", "many", "few", "few"):
                await opened.engine.submit(spec(owner=owner))
            source = opened.source("one")
            taken = [(await lease(source)).spec.owner for _ in range(5)]
            assert taken == ["many", "few", "many", "few", "many"]

    async def test_of_any_jobs_taken_each_owner_that_waits_has_had_as_many_as_the_others(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            left = Counter({"a": 12, "b": 7, "c": 3})
            for owner, jobs in left.items():
                for _ in range(jobs):
                    await opened.engine.submit(spec(owner=owner))
            source, had = opened.source("one"), Counter[str]()
            while left.total():
                owner = (await lease(source)).spec.owner
                had[owner] += 1
                left[owner] -= 1
                waiting = [had[one] for one in left if left[one]]
                assert max(waiting, default=0) - min(waiting, default=0) <= 1, had

    async def test_who_comes_late_is_not_behind_what_others_have_piled_up(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            source = opened.source("one")
            for _ in range(10):
                await opened.engine.submit(spec(owner="many"))
            for _ in range(4):
                await lease(source)
            taken = []
            for _ in range(3):  # comes back with one job as soon as the one before is taken
                await opened.engine.submit(spec(owner="few"))
                taken += [(await lease(source)).spec.owner for _ in range(2)]
            assert taken.count("few") == 3
            assert all(one in taken[n : n + 3] for n in range(4) for one in ("few", "many"))

    async def test_what_an_owner_has_piled_up_at_one_priority_does_not_count_at_another(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            for _ in range(5):
                await opened.engine.submit(spec(owner="many", priority=2))
            await opened.engine.submit(spec(owner="other"))
            await opened.engine.submit(spec(owner="many"))
            for _ in range(3):
                await opened.engine.submit(spec(owner="other"))
            source = opened.source("one")
            assert [(await lease(source)).spec.owner for _ in range(3)] == ["other", "many", "other"]

    async def test_a_loaded_model_is_preferred_but_no_job_is_passed_over_for_long(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            cold = spec(model="cold")
            await opened.engine.submit(cold)
            for _ in range(20):
                await opened.engine.submit(spec(model="warm"))
            began, taken, source = time.monotonic(), 0, opened.source("one")
            while True:
                held = await lease(source, "warm")
                if held.spec.id == cold.id:
                    break
                taken += 1
                await held.done(PICTURE, ())
                await asyncio.sleep(0.15)
            assert taken >= 3
            assert AFFINITY_SECONDS * 0.9 <= time.monotonic() - began < AFFINITY_SECONDS + 2

    async def test_jobs_in_front_are_passed_over_at_the_same_time_and_not_one_after_the_other(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            held = [await self._held(opened, backend) for backend in ("one", "two")]
            cold = [spec(model="cold"), spec(model="colder")]
            for one in cold:
                await opened.engine.submit(one)
            for _ in range(20):
                await opened.engine.submit(spec(model="warm"))
            await held[0].done(PICTURE, ())
            # The first claim passes both over; from when their time is up, they go before all others.
            first = await lease(opened.source("one"), "warm")
            assert first.spec.model == "warm"
            await first.done(PICTURE, ())
            await asyncio.sleep(AFFINITY_SECONDS * 1.2)
            taken = []
            for _ in cold:
                held.append(await lease(opened.source("one"), "warm"))
                taken.append(held[-1].spec.id)
                await held[-1].done(PICTURE, ())
            assert taken == [one.id for one in cold]

    async def _held(self, opened: Opened, backend: str) -> Lease:
        await opened.engine.submit(spec(model="warm"))
        return await lease(opened.source(backend))

    async def test_priority_counts_more_than_a_loaded_model(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            urgent = spec(model="cold", priority=0)
            await opened.engine.submit(spec(model="warm"))
            await opened.engine.submit(urgent)
            assert (await lease(opened.source("one"), "warm")).spec.id == urgent.id

    async def test_of_waiting_backends_the_one_with_the_model_gets_the_job(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            waiting = {name: asyncio.create_task(lease(opened.source(name), name)) for name in ("x", "y", "z")}
            await asyncio.sleep(0.1)
            for model in ("y", "z", "x"):
                await opened.engine.submit(spec(model=model))
            for name, waiter in waiting.items():
                assert (await waiter).spec.model == name

    async def test_a_job_goes_only_where_its_nodes_are_and_holds_up_nobody(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec(classes=frozenset({"A", "B"})))
            await opened.engine.submit(spec(classes=frozenset({"A"})))
            held = await lease(opened.source("one"), has=frozenset({"A"}))
            assert held.spec.classes == {"A"}
            assert await nothing_for(opened.source("one"), has=frozenset({"A"}))
            assert (await lease(opened.source("two"), has=frozenset({"A", "B", "C"}))).spec.classes == {"A", "B"}

    async def test_a_busy_backend_takes_nothing_that_an_idle_one_waits_for(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            busy = asyncio.create_task(lease(opened.source("busy"), "a", ahead=True))
            idle = asyncio.create_task(lease(opened.source("idle")))
            await asyncio.sleep(0.1)
            await opened.engine.submit(spec())
            assert not (await idle).cancelled.is_set()
            assert not busy.done()
            for _ in range(2):
                await opened.engine.submit(spec())
            await busy

    async def test_a_busy_backend_takes_a_job_ahead_only_when_there_is_one_for_each_backend(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            for backend in ("one", "two"):
                await self._held(opened, backend)
            ahead = asyncio.create_task(lease(opened.source("one"), ahead=True))
            await opened.engine.submit(spec())
            await asyncio.sleep(0.2)
            assert not ahead.done()
            await opened.engine.submit(spec())
            await ahead

    async def test_a_job_that_has_not_begun_is_asked_back_for_a_backend_that_waits(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            begun, waiting = [await self._held(opened, "busy") for _ in range(2)]
            await begun.progress(Running(backend="busy", node="Sampler"))
            idle = asyncio.create_task(lease(opened.source("idle"), "warm"))
            async with asyncio.timeout(10):
                await waiting.recalled.wait()
            await waiting.put_back()
            taken = await idle
            assert (taken.spec, taken.attempt) == (waiting.spec, 1)
            assert not begun.recalled.is_set()

    async def test_a_job_that_is_asked_back_when_its_patience_is_over_runs_all_the_same(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec(model="warm", patience=0.4))
            held = await lease(opened.source("busy"))
            await asyncio.sleep(0.6)
            await held.put_back(begun=True)
            assert (await lease(opened.source("idle"), "warm")).spec == held.spec

    async def test_a_job_that_was_lost_before_it_began_is_forgiven_once(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            running, unlucky, next_one = jobs = [spec() for _ in range(3)]
            for job in jobs:
                await opened.engine.submit(job)
            held = await lease(opened.source("one"))
            waiting = await lease(opened.source("one"), ahead=True)
            assert (held.spec, waiting.spec, waiting.may_have_begun) == (running, unlucky, False)
            await waiting.put_back(forgiven=True)
            asking = asyncio.create_task(lease(opened.source("one"), ahead=True))
            await asyncio.sleep(0.3)
            assert not asking.done(), "neither it nor the one behind it"
            asking.cancel()
            await held.done(PICTURE, ())
            again = await lease(opened.source("one"))
            assert (again.spec, again.attempt, again.may_have_begun) == (unlucky, 1, True)
            assert (await lease(opened.source("one"), ahead=True)).spec == next_one
            await again.put_back(begun=True)
            again = await lease(opened.source("two"))
            assert (again.spec, again.attempt, again.may_have_begun) == (unlucky, 1, True)
            assert await again.retry(LOST) is Retry.AGAIN
            asking = asyncio.create_task(lease(opened.source("two"), ahead=True))
            await asyncio.sleep(0.3)
            assert not asking.done(), "whatever has happened to it since"
            asking.cancel()
            assert (await lease(opened.source("two"))).attempt == 2

    async def test_a_loaded_model_does_not_pass_over_what_only_idle_backends_take(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            await opened.engine.submit(spec(model="cold"))
            held = await lease(opened.source("one"))
            await held.put_back(forgiven=True)
            await opened.engine.submit(spec(model="warm"))
            assert (await lease(opened.source("one"), "warm")).spec == held.spec

    async def test_a_loaded_model_is_no_reason_to_take_ahead_what_was_lost_before_it_began(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            for model in ("cold", "cold", "warm"):
                await opened.engine.submit(spec(model=model))
            _, lost = [await lease(opened.source("one")) for _ in range(2)]
            waiting = await lease(opened.source("one"), ahead=True)
            await lost.retry(LOST)
            await waiting.put_back(forgiven=True)
            assert (await lease(opened.source("one"), "warm", ahead=True)).spec == lost.spec
            assert (await lease(opened.source("one"), "warm")).spec == waiting.spec

    async def test_one_backend_that_waits_asks_for_one_job(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            held = [await self._held(opened, "busy") for _ in range(3)]
            idle = asyncio.create_task(lease(opened.source("idle"), "warm"))
            await asyncio.sleep(5 * RECALL_SECONDS)
            assert sum(one.recalled.is_set() for one in held) == 1
            idle.cancel()

    async def test_a_job_that_is_cancelled_while_it_is_put_back_has_ended_with_that(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            held = await self._held(opened, "busy")
            assert await opened.engine.cancel(held.spec.id) is Cancellation.ASKED
            await held.put_back()
            assert isinstance(await state(opened.engine, held.spec.id), Cancelled)
            assert await nothing_for(opened.source("idle"), "warm")

    async def test_a_job_that_never_began_says_nothing_of_how_long_its_backend_needs(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            begun, waiting = [await self._held(opened, "busy") for _ in range(2)]
            await begun.progress(Running(backend="busy", node="Sampler"))
            await asyncio.sleep(0.5)
            await waiting.put_back()
            await begun.done(PICTURE, ())
            assert ((await opened.engine.stats()).mean_run or 0.0) >= 0.5

    async def test_no_job_is_asked_back_for_its_own_backend_nor_for_a_busy_one_nor_one_that_cannot_run_it(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as opened:
            held = await self._held(opened, "busy")
            waiting = [
                asyncio.create_task(lease(opened.source("busy"), "warm")),
                asyncio.create_task(lease(opened.source("ahead"), "warm", ahead=True)),
                asyncio.create_task(lease(opened.source("unable"), "warm", has=frozenset())),
            ]
            await asyncio.sleep(2 * AFFINITY_SECONDS)
            assert not held.recalled.is_set()
            for task in waiting:
                task.cancel()

    async def test_a_job_is_asked_back_later_for_a_backend_that_has_another_model(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            held = await self._held(opened, "busy")
            idle = asyncio.create_task(lease(opened.source("idle"), "other"))
            await asyncio.sleep(AFFINITY_SECONDS / 2)
            assert not held.recalled.is_set()
            async with asyncio.timeout(10):
                await held.recalled.wait()
            idle.cancel()

    async def test_a_waiting_backend_that_gives_up_takes_no_job_with_it(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            waiter = asyncio.create_task(lease(opened.source("one")))
            await asyncio.sleep(0.05)
            submitting = asyncio.create_task(opened.engine.submit(spec()))
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.wait({waiter, submitting})
            if waiter.cancelled():
                assert (await lease(opened.source("two"))).attempt == 1

    async def test_a_job_that_waits_longer_than_it_may_fails(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            job = spec(patience=0.3)
            await opened.engine.submit(job)
            end = (await story(opened.engine, job.id))[-1].happening
            assert isinstance(end, Failed)
            assert end.code == "no_backend"
            assert await nothing_for(opened.source("one"))

    async def test_place_and_time_left_are_told(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            jobs = [spec(created=time.time() + n / 1000) for n in range(4)]
            for job in jobs:
                await opened.engine.submit(job)
            assert await state(opened.engine, jobs[2].id) == Queued(place=2)
            held = await lease(opened.source("one"))
            await asyncio.sleep(0.2)
            await held.done(PICTURE, ())
            waits = await state(opened.engine, jobs[3].id)
            assert isinstance(waits, Queued)
            assert waits.place == 2
            assert waits.eta is not None
            assert 0.4 <= waits.eta <= 2
            stats = await opened.engine.stats()
            assert (stats.queued, stats.running) == (3, 0)
            assert stats.mean_run == pytest.approx(0.2, abs=0.1)

    async def test_the_time_that_a_job_waited_at_its_backend_is_not_told_as_its_run(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as opened:
            for _ in range(5):
                await opened.engine.submit(spec())
            held = [await lease(opened.source("one")) for _ in range(5)]
            for one in held:
                await asyncio.sleep(0.2)
                await one.done(PICTURE, ())
            assert (await opened.engine.stats()).mean_run == pytest.approx(0.2, abs=0.1)


__all__ = ["AFFINITY_SECONDS", "LEASE_SECONDS", "Ended", "EngineConformance", "Opened"]
