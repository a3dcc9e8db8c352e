"""Agents between a pool of fake backends and an engine: who gets how many jobs, and what a stop leaves behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import aiohttp
import pytest

from orchestrator.agents import Agents
from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.pool import Pool
from orchestrator.errors import StorageError
from orchestrator.images.inputs import InputFiles
from orchestrator.images.links import LinkSigner
from orchestrator.images.store import ImageStore, StoredImage, new_name
from orchestrator.images.threads import PictureThreads
from orchestrator.jobs.engine import Lease
from orchestrator.jobs.job import Running, Succeeded
from orchestrator.jobs.sqlite import Dials, SqliteEngine
from orchestrator.models.finder import ModelFinder
from orchestrator.models.outlet import Outlet
from orchestrator.models.shelf import Shelf
from orchestrator.pipeline import Work
from orchestrator.provisions import Provisions
from orchestrator.rendering import Stopped, render
from orchestrator.supplying import ModelSupplier
from tests.engines.jobs import spec, wants
from tests.fakes.comfyui import FakeComfyUI
from tests.unit.comfy.graphs import AT_ONCE, QUICK, picture_graph


def job(**more: object):
    graph = picture_graph()
    return spec(graph=graph.to_api(), classes=graph.classes, output_format="png", image=new_name(), **more)


@asynccontextmanager
async def at_work(
    folder: Path,
    *fakes: FakeComfyUI,
    work: type[Work] = Work,
    keep: type[ImageStore] = ImageStore,
    lease: float = 30.0,
    recall: float = 1.0,
) -> AsyncIterator[SqliteEngine]:
    clients = [BackendClient(fake.url, name=f"b{n}", limits=QUICK, backoff=AT_ONCE) for n, fake in enumerate(fakes)]
    async with (
        PictureThreads() as threads,
        keep(folder / "images", limit_bytes=10**8, floor_bytes=0) as store,
        SqliteEngine(folder / "jobs.sqlite", Dials(tick=0.05, lease=lease, recall=recall)) as engine,
        Pool(clients, backoff=AT_ONCE) as pool,
    ):
        await engine.adopt(grace=10)
        shelf = Shelf(folder / "models")
        supplier = ModelSupplier(Outlet(shelf), LinkSigner(b"secret", "http://models.example", "models"), 10.0)
        async with (
            Provisions(InputFiles(folder / "inputs"), ModelFinder(shelf), engine) as provisions,
            Agents(pool, engine.source, work(provisions, supplier, threads, store), AT_ONCE),
        ):
            yield engine


async def ended(engine: SqliteEngine, job_id: str) -> object:
    async with asyncio.timeout(20):
        return [event async for event in engine.events(job_id)][-1].happening


async def until(fake: FakeComfyUI, prompts: int) -> None:
    async with asyncio.timeout(10):
        while len(fake.prompts) < prompts:
            await asyncio.sleep(0.01)


async def test_a_backend_has_one_job_running_and_one_waiting_and_no_third(tmp_path: Path) -> None:
    async with FakeComfyUI(run_seconds=1.0) as fake, at_work(tmp_path, fake) as engine:
        jobs = [job() for _ in range(4)]
        for one in jobs:
            await engine.submit(one)
        await until(fake, 2)
        await asyncio.sleep(0.2)
        queue = fake.engine.queue()
        assert [len(queue[name]) for name in ("queue_running", "queue_pending")] == [1, 1]
        stats = await engine.stats()
        assert (stats.queued, stats.running) == (3, 1)
        states = [await engine.get(one.id) for one in jobs[:2]]
        assert [isinstance(state.state, Running) for state in states if state] == [True, False]
        for one in jobs:
            assert isinstance(await ended(engine, one.id), Succeeded)


async def test_no_job_waits_at_a_busy_backend_while_another_is_idle(tmp_path: Path) -> None:
    async with (
        FakeComfyUI(run_seconds=0.6) as one,
        FakeComfyUI(run_seconds=0.6) as two,
        at_work(tmp_path, one, two) as engine,
    ):
        jobs = [job(model="same") for _ in range(2)]
        for each in jobs:
            await engine.submit(each)
        for each in jobs:
            assert isinstance(await ended(engine, each.id), Succeeded)
        assert (len(one.prompts), len(two.prompts)) == (1, 1)


async def test_a_job_that_waits_behind_a_long_one_goes_to_a_backend_that_has_become_idle(tmp_path: Path) -> None:
    async with (
        FakeComfyUI(run_seconds=30.0) as slow,
        FakeComfyUI(run_seconds=0.3) as quick,
        at_work(tmp_path, slow, quick, recall=0.2) as engine,
    ):
        jobs = [job(model="same") for _ in range(4)]
        for each in jobs:
            await engine.submit(each)
        await until(slow, 2)
        ends = [asyncio.create_task(ended(engine, each.id)) for each in jobs]
        done, running = await asyncio.wait(ends, timeout=10)
        assert (len(done), len(running)) == (3, 1), "one still waits behind the long one"
        assert all(isinstance(task.result(), Succeeded) for task in done)
        states = [await engine.get(each.id) for each in jobs]
        assert not slow.requests("POST /interrupt"), "what had begun goes on"
        assert {state.attempt for state in states if state} == {1}
        for task in running:
            task.cancel()


async def test_a_job_behind_a_strangers_goes_to_a_backend_that_is_idle(tmp_path: Path) -> None:
    async with FakeComfyUI(run_seconds=30.0) as shared, FakeComfyUI() as ours:
        async with aiohttp.ClientSession(shared.url) as stranger:
            (await stranger.post("/prompt", json={"prompt": picture_graph().to_api()})).raise_for_status()
        async with at_work(tmp_path, shared, ours, recall=0.2) as engine:
            jobs = [job(model="same") for _ in range(2)]
            for each in jobs:
                await engine.submit(each)
            async with asyncio.timeout(10):
                for each in jobs:
                    assert isinstance(await ended(engine, each.id), Succeeded)
        assert not shared.requests("POST /interrupt")


async def test_jobs_go_where_their_model_is_loaded(tmp_path: Path) -> None:
    async with FakeComfyUI() as one, FakeComfyUI() as two, at_work(tmp_path, one, two) as engine:
        places: dict[str, set[str]] = {"x": set(), "y": set()}
        for model in "xyyxxyxy":
            await asyncio.sleep(0.1)  # so that the backend of the job before is idle again
            each = job(model=model)
            await engine.submit(each)
            heard = [event.happening async for event in engine.events(each.id)]
            places[model] |= {event.backend for event in heard if isinstance(event, Running)}
        assert sorted(map(sorted, places.values())) == [["b0"], ["b1"]]


async def test_a_stop_leaves_the_jobs_where_they_are_and_the_next_start_takes_them_up(tmp_path: Path) -> None:
    jobs = [job(), job()]
    async with FakeComfyUI(run_seconds=0.5) as fake:
        async with at_work(tmp_path, fake) as engine:
            for one in jobs:
                await engine.submit(one)
            await until(fake, 2)
        assert not fake.requests("POST /interrupt")
        async with at_work(tmp_path, fake) as engine:
            for one in jobs:
                assert isinstance(await ended(engine, one.id), Succeeded)
        assert len(fake.prompts) == 2


async def test_a_job_that_only_waited_at_a_backend_that_ended_with_the_service_was_not_lost(tmp_path: Path) -> None:
    ran, waited = job(), job()
    async with FakeComfyUI(run_seconds=0.5) as fake:
        async with at_work(tmp_path, fake) as engine:
            for one in (ran, waited):
                await engine.submit(one)
            await until(fake, 2)
        await fake.restart()
        async with at_work(tmp_path, fake) as engine:
            for one, attempt in ((ran, 2), (waited, 1)):
                assert isinstance(await ended(engine, one.id), Succeeded)
                told = await engine.get(one.id)
                assert told is not None
                assert told.attempt == attempt


class KeepsNothingYet(ImageStore):
    """As on a disk that has stopped answering for a while."""

    answers: ClassVar[asyncio.Event]

    async def put(self, data: bytes, content_type: str, name: str | None = None) -> StoredImage:
        await self.answers.wait()
        return await super().put(data, content_type, name)


async def test_a_backend_does_not_wait_for_the_images_of_its_last_jobs_to_be_kept_but_not_all_jobs_pile_up(
    tmp_path: Path,
) -> None:
    KeepsNothingYet.answers = asyncio.Event()
    async with FakeComfyUI() as fake, at_work(tmp_path, fake, keep=KeepsNothingYet) as engine:
        jobs = [job() for _ in range(12)]
        for one in jobs:
            await engine.submit(one)
        await until(fake, 8)
        await asyncio.sleep(0.3)
        assert len(fake.prompts) == 8
        KeepsNothingYet.answers.set()
        for one in jobs:
            assert isinstance(await ended(engine, one.id), Succeeded)


class FailsOnce(Work):
    """Cannot write what became of the first job, as on a full disk."""

    failed: ClassVar[list[str]] = []

    async def do(self, lease: Lease, backend: BackendClient, leave: Callable[[], None]) -> None:
        if not self.failed:
            self.failed.append(lease.spec.id)
            raise StorageError
        await super().do(lease, backend, leave)


async def test_a_job_whose_end_could_not_be_written_is_taken_up_again(tmp_path: Path) -> None:
    async with FakeComfyUI() as fake, at_work(tmp_path, fake, work=FailsOnce, lease=0.5) as engine:
        one = job()
        await engine.submit(one)
        assert isinstance(await ended(engine, one.id), Succeeded)
        assert FailsOnce.failed == [one.id]


class CannotSayOnce:
    """A lease whose end cannot be written the first time, as on a full disk."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def __getattr__(self, name: str) -> object:
        return getattr(self._lease, name)

    async def done(self, result: Succeeded, timings: object) -> bool:
        raise StorageError


class SaysNothingOnce(Work):
    """Has the image of the first job kept, and fails to say so."""

    runs: ClassVar[list[str]] = []

    async def do(self, lease: Lease, backend: BackendClient, leave: Callable[[], None]) -> None:
        self.runs.append(lease.spec.id)
        await super().do(CannotSayOnce(lease) if len(self.runs) == 1 else lease, backend, leave)


async def test_an_image_that_was_kept_before_its_end_could_be_written_is_not_made_again(tmp_path: Path) -> None:
    async with FakeComfyUI() as fake, at_work(tmp_path, fake, work=SaysNothingOnce, lease=0.5) as engine:
        one = job()
        await engine.submit(one)
        assert isinstance(await ended(engine, one.id), Succeeded)
        assert SaysNothingOnce.runs == [one.id] * 2
        assert len(fake.requests("POST /prompt")) == len(fake.requests("GET /view")) == 1


@pytest.mark.parametrize("lost", [True, False])
async def test_a_job_that_is_to_stop_is_cancelled_at_its_backend_unless_it_is_anothers_by_now(
    tmp_path: Path, lost: bool
) -> None:
    shelf = Shelf(tmp_path / "models")
    supplier = ModelSupplier(Outlet(shelf), LinkSigner(b"secret", "http://models.example", "models"), 10.0)
    async with (
        FakeComfyUI(run_seconds=30) as fake,
        BackendClient(fake.url, name="b", limits=QUICK, backoff=AT_ONCE) as client,
        SqliteEngine(tmp_path / "jobs.sqlite") as engine,
        Provisions(InputFiles(tmp_path / "inputs"), ModelFinder(shelf), engine) as provisions,
    ):
        await engine.submit(job())
        held = await engine.source("b").lease(wants())
        rendering = asyncio.create_task(render(held, client, provisions, supplier))
        await until(fake, 1)
        held.lost = lost
        held.cancelled.set()
        with pytest.raises(Stopped):
            await rendering
        assert bool(fake.requests("POST /interrupt")) is not lost


async def test_agents_that_stop_hold_no_lease_and_the_next_take_the_job_up(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "models")
    supplier = ModelSupplier(Outlet(shelf), LinkSigner(b"secret", "http://models.example", "models"), 10.0)
    async with (
        FakeComfyUI(run_seconds=1.0) as fake,
        PictureThreads() as threads,
        ImageStore(tmp_path / "images", limit_bytes=10**8, floor_bytes=0) as store,
        SqliteEngine(tmp_path / "jobs.sqlite", Dials(tick=0.05, lease=0.5)) as engine,
        Provisions(InputFiles(tmp_path / "inputs"), ModelFinder(shelf), engine) as provisions,
    ):
        one, work = job(), Work(provisions, supplier, threads, store)
        for _ in range(2):
            client = BackendClient(fake.url, name="b", limits=QUICK, backoff=AT_ONCE)
            async with Pool([client], backoff=AT_ONCE) as pool, Agents(pool, engine.source, work, AT_ONCE):
                if await engine.submit(one):
                    await until(fake, 1)
                    continue
                assert isinstance(await ended(engine, one.id), Succeeded)
        assert len(fake.prompts) == 1
