"""What a thousand jobs leave on a backend's disk, and that no job ever sees another's picture."""

import asyncio
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.execution import ImageRef
from orchestrator.comfy.following import NotBegun
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.results import KEPT_RESULTS, Results
from orchestrator.comfy.uploads import KEPT_SLOTS, Uploads
from orchestrator.comfy.wire import Upload, Wire
from orchestrator.errors import BackendError, BackendLost
from tests.comfyui.backends import REPOSITORY, embedded_arguments, started
from tests.fakes.comfyui import FakeComfyUI, plain_png
from tests.integration.pictures import plain, png
from tests.unit.comfy.graphs import QUICK, client_of, picture_graph
from tests.unit.comfy.test_client import new_id, until

JOBS = 1000


def picture(number: int) -> Upload:
    return Upload(f"{number:064x}.png", png(plain((number % 251, number // 251, 7), (16, 16))))


def echo(reference: str, last: str) -> Graph:
    """The picture as it was sent, through the node that ends a graph."""
    last_node = {"class_type": last, "inputs": {"images": ["1", 0]}, "_meta": {"title": "Result"}}
    if last == "SaveImage":
        last_node["inputs"] = {"images": ["1", 0], "filename_prefix": "job"}
    return Graph.from_api({"1": {"class_type": "LoadImage", "inputs": {"image": reference}}, "9": last_node})


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[BackendClient]:
    """As a process of its own: the folders that packs see are one for a whole process."""
    with started(embedded_arguments(folder / "models", folder), folder, REPOSITORY) as backend:
        async with BackendClient(backend.url, name="embedded", kind="embedded") as client:
            yield client


def files(folder: Path) -> list[Path]:
    return [file for kind in ("input", "output", "temp") for file in (folder / kind).rglob("*") if file.is_file()]


async def run_many(client: BackendClient, jobs: int, last: str, folder: Path) -> int:
    """Runs so many jobs, two at a time, each with a picture of its own; the most files seen in the folders."""
    await client.opened()
    at_once = asyncio.Semaphore(2)  # as many as a backend is given
    most = 0

    async def run(number: int) -> None:
        nonlocal most
        sent = picture(number)
        async with at_once:
            data = await client.run(echo(sent.reference, last), new_id(), "9", deadline=60, uploads=[sent])
        assert pixel(data) == (number % 251, number // 251, 7)
        if number % 50 == 49:
            most = max(most, len(await asyncio.to_thread(files, folder)))

    await asyncio.gather(*(run(number) for number in range(jobs)))
    assert client.drops_results
    return most


@pytest.mark.parametrize("last", ["A1111TemporaryImage", "SaveImage"])
async def test_a_thousand_jobs_leave_a_bounded_number_of_files_and_each_has_its_own_picture(
    last: str, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    async with embedded(tmp_path) as client:
        most = await run_many(client, JOBS, last, tmp_path)
        assert 0 < most <= KEPT_SLOTS + KEPT_RESULTS + 4  # what is being deleted just now may still be there
    assert len(await asyncio.to_thread(files, tmp_path)) <= KEPT_SLOTS


def pixel(data: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(data)) as image:
        return tuple(image.convert("RGB").getpixel((3, 3)))  # type: ignore[arg-type]


async def test_a_slot_is_not_written_over_while_a_job_of_an_earlier_life_needs_it() -> None:
    async with FakeComfyUI(run_seconds=1.0) as fake:
        old, new = picture(1), picture(2)
        async with client_of(fake.url) as client:
            client.leave_all()
            job = asyncio.create_task(
                client.run(picture_graph(old.reference), new_id(), "9", deadline=20, uploads=[old])
            )
            await until(lambda: fake.engine.queue()["queue_running"])
            job.cancel()
            await asyncio.wait({job})
        async with client_of(fake.url) as client:
            assert await client.run(picture_graph(new.reference), new_id(), "9", deadline=20, uploads=[new])
        assert fake.requests("POST /upload/image") == ["00.png", "01.png"]
        async with client_of(fake.url) as client:  # that job is over by now
            assert await client.run(picture_graph(new.reference), new_id(), "9", deadline=20, uploads=[new])
        assert fake.requests("POST /upload/image") == ["00.png", "01.png", "00.png"]


async def test_the_queue_is_read_only_while_it_may_hold_jobs_whose_end_is_not_known() -> None:
    async with FakeComfyUI() as fake, Wire(fake.url, name="fake", headers=None, limits=QUICK) as wire:
        uploads = Uploads(wire, settling=0.3)

        async def job(number: int, *, lost: bool = False) -> int:
            """How often the queue has been read once it is over."""
            with suppress(BackendError):
                async with uploads.held([picture(number)], f"job {number}"):
                    if lost:
                        raise BackendLost("nobody knows")
            return len(fake.requests("GET /queue"))

        assert [await job(1), await job(2)] == [1, 2]  # jobs of an earlier life may still come
        await asyncio.sleep(0.3)
        assert [await job(3), await job(4), await job(5)] == [3, 3, 3]
        assert [await job(6, lost=True), await job(7)] == [3, 4]
        await asyncio.sleep(0.3)
        assert [await job(8), await job(9)] == [5, 5]


async def test_a_picture_that_was_on_its_way_when_the_backend_was_restarted_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it arrived before or after the folder was emptied, nobody can tell."""
    async with FakeComfyUI() as fake, Wire(fake.url, name="fake", headers=None, limits=QUICK) as wire:
        uploads, upload = Uploads(wire), wire.upload

        async def upload_over_a_restart(data: bytes, folder: str, name: str) -> None:
            await upload(data, folder, name)
            monkeypatch.setattr(wire, "upload", upload)
            uploads.forget_all()

        monkeypatch.setattr(wire, "upload", upload_over_a_restart)
        sent = []
        for _ in range(3):
            async with uploads.held([picture(1)], "one"):
                sent.append(len(fake.requests("POST /upload/image")))
        assert sent == [1, 2, 2]


async def test_a_slot_is_not_written_over_while_a_job_that_was_given_up_needs_it() -> None:
    async with FakeComfyUI(run_seconds=0.6) as fake, Wire(fake.url, name="fake", headers=None, limits=QUICK) as wire:
        uploads = Uploads(wire, kept=1, settling=0.0)
        async with uploads.held([picture(1)], "one"):
            pass
        with suppress(BackendLost):
            async with uploads.held([picture(2)], "two") as files:
                graph = picture_graph(picture(2).reference).renamed(files).to_api()
                await wire.submit(graph, "two", "somebody")
                raise BackendLost("it is there all the same")
        async with uploads.held([picture(3)], "three"):
            pass
        await until(lambda: not fake.engine.queue()["queue_running"])
        async with uploads.held([picture(4)], "four"):
            pass
        assert fake.requests("POST /upload/image") == ["00.png", "00.png", "01.png", "00.png"]


async def test_a_slot_that_an_earlier_life_gave_to_a_job_is_kept_though_the_job_holds_another_by_now() -> None:
    """What is at the backend may run first, and its end is taken for the job's."""
    async with FakeComfyUI(run_seconds=0.6) as fake, Wire(fake.url, name="fake", headers=None, limits=QUICK) as wire:
        earlier = Uploads(wire)
        async with earlier.held([picture(0)], "zero"), earlier.held([picture(1)], "one") as files:
            await wire.submit(picture_graph(picture(1).reference).renamed(files).to_api(), "one", "somebody")
        uploads = Uploads(wire, kept=1)
        async with uploads.held([picture(1)], "one"), uploads.held([picture(2)], "two"):
            assert fake.requests("POST /upload/image") == ["00.png", "01.png", "00.png", "02.png"]


async def test_more_pictures_at_once_than_slots_are_all_sent_and_their_files_used_again() -> None:
    many = [picture(number) for number in range(KEPT_SLOTS + 4)]
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        for pictures in (many, [picture(n) for n in range(100, 100 + len(many))]):
            await client.run(picture_graph(pictures[0].reference), new_id(), "9", deadline=20, uploads=pictures)
        sent = fake.requests("POST /upload/image")
        assert len(sent) == 2 * len(many)
        assert len(set(sent)) == len(many)


async def test_two_services_at_one_backend_have_files_of_their_own() -> None:
    async with FakeComfyUI() as fake:
        for mark in ("a", "b"):
            async with BackendClient(fake.url, name="fake", mark=mark) as client:
                one = picture(1)
                await client.run(picture_graph(one.reference), new_id(), "9", deadline=20, uploads=[one])
        assert {key for key in fake.files if key[2] == "00.png"} == {
            ("temp", "orchestrator/a", "00.png"),
            ("temp", "orchestrator/b", "00.png"),
        }


async def test_a_job_of_more_results_than_are_kept_keeps_them_until_the_next() -> None:
    async with FakeComfyUI() as fake, Wire(fake.url, name="fake", headers=None, limits=QUICK) as wire:
        results = Results(wire, kept=2)
        results.note("many", [ImageRef(f"{n}.png", "", "output") for n in range(5)])
        await asyncio.sleep(0.05)
        assert not fake.requests("POST /orchestrator/results")
        results.note("one", [ImageRef("last.png", "", "output")])
        await until(lambda: fake.requests("POST /orchestrator/results"))
        [body] = fake.requests("POST /orchestrator/results")
        assert (body["prompt_id"], [file["filename"] for file in body["files"]]) == (
            "many",
            ["0.png", "1.png", "2.png", "3.png"],
        )


async def test_results_are_remembered_when_only_the_socket_was_lost() -> None:
    async with FakeComfyUI() as fake:
        async with client_of(fake.url) as client:
            await client.run(picture_graph(), new_id(), "9", deadline=20)
            fake.drop_sockets()
            await until(lambda: len(fake.client_ids) == 2)
        assert len(fake.requests("POST /orchestrator/results")) == 1  # at the end, when the client is closed


async def test_a_backend_without_the_pack_keeps_results_and_is_asked_no_more_than_once() -> None:
    async with FakeComfyUI(drops_results=False, result_png=plain_png()) as fake, client_of(fake.url) as client:
        for _ in range(KEPT_RESULTS + 5):
            await client.run(picture_graph(), new_id(), "9", deadline=20)
        await until(lambda: client.drops_results is False)


async def test_a_result_that_is_gone_is_not_named_by_the_cache_again() -> None:
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.lose_pictures = True
        with pytest.raises(Exception, match="404"):
            await client.run(picture_graph(), new_id(), "9", deadline=20)
        assert fake.requests("POST /free")


async def test_through_faults_and_restarts_of_the_service_every_picture_that_comes_back_is_the_jobs_own() -> None:
    """The backend hands out what lies in the slot when the job runs; a slot written over too early would show."""
    draw = random.Random(11)
    right = 0
    async with FakeComfyUI(run_seconds=0.02) as fake:
        fake.paint = lambda prompt: fake.files[("temp", "orchestrator", slot_of(prompt))]

        async def one(client: BackendClient, prompt_id: str, number: int, resume: bool) -> None:
            nonlocal right
            sent = picture(number)
            uploads = () if resume else (sent,)
            try:
                data = await client.run(
                    picture_graph(sent.reference), prompt_id, "9", deadline=5, uploads=uploads, resume=resume
                )
            except (BackendError, NotBegun):
                return  # lost or withdrawn, which is allowed
            assert data == sent.data
            right += 1

        left: dict[str, int] = {}
        for life in range(6):
            async with client_of(fake.url, grace=0.2, abandon=0.2) as client:
                await client.opened()
                resumed = [asyncio.create_task(one(client, job, number, True)) for job, number in left.items()]
                fresh = {new_id(): 100 * life + number for number in range(40)}
                jobs = {job: asyncio.create_task(one(client, job, number, False)) for job, number in fresh.items()}
                for _ in range(8):
                    await asyncio.sleep(draw.uniform(0.0, 0.1))
                    break_something(fake, draw)
                client.leave_all()  # what is at the backend stays there, as when the service is killed
                left = {job: fresh[job] for job in list(jobs)[::2]}
                for job in left:
                    jobs[job].cancel()
                ended = [*resumed, *jobs.values()]
                await asyncio.wait(ended)
                assert not [job for job in ended if not job.cancelled() and job.exception()]
    assert right >= 30


def slot_of(prompt: dict[str, Any]) -> str:
    return str(prompt["1"]["inputs"]["image"]).removeprefix("orchestrator/").removesuffix(" [temp]")


def break_something(fake: FakeComfyUI, draw: random.Random) -> None:
    match draw.randrange(4):
        case 0:
            fake.drop_sockets()
        case 1:
            fake.faults.fail("POST /queue", times=2)  # a job that cannot be withdrawn stays there
        case 2:
            fake.faults.fail(draw.choice(("POST /upload", "POST /prompt", "GET /history")), after_acting=True)
        case 3:
            fake.faults.delays = draw.choice(({}, {"POST /upload": 0.05}, {"GET /queue": 0.05}))
