"""The Python client in front of the service: a job from submission to its image, faults on the way, errors."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from orchestrator import client as service
from orchestrator.client import AsyncClient, Client
from orchestrator.errors import (
    InvalidParameters,
    JobCancelled,
    JobEnded,
    JobNotFound,
    JobUnfinished,
    KeyNeeded,
    KeyReused,
    QueueFull,
    ServiceUnreachable,
    UnknownWidget,
)
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.cutting import CuttingProxy, cutting_proxy
from tests.integration.callers import a_key
from tests.integration.pictures import box_mask, plain, png, values
from tests.integration.services import Service, ready

SECONDS = 30.0


def address(client: Any) -> str:
    return str(client.make_url("")).rstrip("/")


@pytest.fixture
async def slow() -> AsyncIterator[FakeComfyUI]:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=0.6, steps=4) as backend:
        yield backend


@asynccontextmanager
async def calling(started: Any, **more: Any) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address(await ready(started)), **more) as client:
        yield client


@asynccontextmanager
async def cut(started: Any) -> AsyncIterator[tuple[CuttingProxy, AsyncClient]]:
    await ready(started)
    async with cutting_proxy(started.server.port) as proxy, AsyncClient(proxy.url) as client:
        yield proxy, client


async def test_a_job_from_files_to_its_image(slow: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png(plain()))
    started = await start(slow.url)
    async with calling(started) as client:
        asked = values(image=tmp_path / "in.png", mask=png(box_mask()), clip_skip=None)
        job = await client.submit("inpaint", asked, output_format="png")
        assert not job.has_ended
        told = [state async for state in client.progress(job)]
        assert isinstance(told[-1], service.Succeeded)
        assert service.Running in {type(state) for state in told}
        done = await client.wait(job, SECONDS)
        assert (done.id, done.widget, done.seed) == (job.id, "inpaint", 1)
        assert "run" in done.timings
        assert done.links["self"].endswith(job.id)


async def test_the_image_comes_as_bytes_and_as_a_file(service_url: str, tmp_path: Path) -> None:
    async with AsyncClient(service_url) as client:
        job = await client.run("inpaint", values(), output_format="png", seconds=120)
        image = await client.download(job, tmp_path / "out.png")
        assert (tmp_path / "out.png").read_bytes() == image == await client.download(job.id)
        assert Image.open(io.BytesIO(image)).format == "PNG"


async def test_without_an_event_loop_of_ones_own(slow: FakeComfyUI, start: Service) -> None:
    url = address(await ready(await start(slow.url)))

    def synchronous() -> tuple[list[str], str]:
        with Client(url) as client:
            assert "inpaint" in {entry.name for entry in client.widgets()}
            job = client.submit("inpaint", values())
            told = [type(state).__name__ for state in client.progress(job)]
            return told, client.wait(job, SECONDS).id + client.job(job).id

    told, ids = await asyncio.to_thread(synchronous)
    assert told[-1] == "Succeeded"
    assert ids[:36] == ids[36:]


async def test_a_progress_that_is_left_early_leaves_nothing_open(slow: FakeComfyUI, start: Service) -> None:
    url = address(await ready(await start(slow.url)))

    def synchronous() -> str:
        with Client(url) as client:
            job = client.submit("inpaint", values())
            for _ in client.progress(job):
                break
            return type(client.wait(job, SECONDS).state).__name__

    assert await asyncio.to_thread(synchronous) == "Succeeded"


async def test_a_submission_whose_answer_is_lost_is_one_job(slow: FakeComfyUI, start: Service) -> None:
    async with cut(await start(slow.url)) as (proxy, client):
        proxy.swallow_answers = 2
        job = await client.submit("inpaint", values())
        await client.wait(job, SECONDS)
        assert proxy.connections >= 3
        assert len(slow.prompts) == 1


async def test_a_stream_that_breaks_goes_on_where_it_was(slow: FakeComfyUI, start: Service) -> None:
    async with cut(await start(slow.url)) as (proxy, client):
        job = await client.submit("inpaint", values())
        await client.close()
        proxy.cut_after = [500, 300]
        steps = [state async for state in client.progress(job) if isinstance(state, service.Running)]
        assert proxy.connections >= 4
        assert len(steps) == len(set(steps))
        assert isinstance((await client.job(job)).state, service.Succeeded)


async def test_a_service_that_stays_away_is_said_to_be_unreachable(slow: FakeComfyUI, start: Service) -> None:
    async with cut(await start(slow.url)) as (proxy, _), AsyncClient(proxy.url, attempts=2) as client:
        proxy.swallow_answers = 2
        with pytest.raises(ServiceUnreachable):
            await client.submit("inpaint", values())


async def test_what_answers_there_may_be_something_else() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/widgets", page)
    async with TestServer(app) as server, AsyncClient(str(server.make_url(""))) as client:
        with pytest.raises(ServiceUnreachable, match="not this service"):
            await client.widgets()
        with pytest.raises(ServiceUnreachable, match="not this service"):
            await client.widget("inpaint")


async def test_each_bad_parameter_is_named(slow: FakeComfyUI, start: Service, tmp_path: Path) -> None:
    async with calling(await start(slow.url)) as client:
        with pytest.raises(InvalidParameters) as refused:
            await client.submit("inpaint", values(steps=0, cfg_scale="high"))
        assert {complaint.field for complaint in refused.value.fields} == {"steps", "cfg_scale"}
        with pytest.raises(InvalidParameters) as unread:
            await client.submit("inpaint", values(mask=tmp_path / "none.png"))
        assert [complaint.field for complaint in unread.value.fields] == ["mask"]
        with pytest.raises(UnknownWidget):
            await client.widget("no/such")
        with pytest.raises(JobNotFound):
            await client.job("00000000-0000-4000-8000-000000000000")
        with pytest.raises(JobNotFound):
            await anext(client.progress("00000000-0000-4000-8000-000000000000"))


async def test_a_job_is_cancelled_and_a_second_time_is_no_fault(slow: FakeComfyUI, start: Service) -> None:
    slow.run_seconds = 60
    async with calling(await start(slow.url)) as client:
        job = await client.submit("inpaint", values())
        with pytest.raises(JobUnfinished):
            await client.wait(job, 0.2)
        with pytest.raises(JobUnfinished):
            await client.download(job)
        assert isinstance((await client.cancel(job)).state, service.Cancelled)
        assert isinstance((await client.cancel(job)).state, service.Cancelled)
        with pytest.raises(JobCancelled):
            await client.wait(job, SECONDS)


async def test_what_has_ended_cannot_be_cancelled(fake: FakeComfyUI, start: Service) -> None:
    async with calling(await start(fake.url)) as client:
        job = await client.run("inpaint", values(), seconds=SECONDS)
        with pytest.raises(JobEnded):
            await client.cancel(job)


async def test_a_run_that_is_cancelled_takes_its_job_with_it(slow: FakeComfyUI, start: Service) -> None:
    slow.run_seconds = 60
    async with calling(await start(slow.url)) as client:
        running = asyncio.create_task(client.run("inpaint", values(), idempotency_key="mine"))
        async with asyncio.timeout(SECONDS):
            while not slow.prompts:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running}, timeout=SECONDS)
        assert running.cancelled()
        job = await client.submit("inpaint", values(), idempotency_key="mine")
        assert isinstance(job.state, service.Cancelled)


async def test_a_key_for_another_request_and_a_full_queue_are_errors_of_their_own(
    slow: FakeComfyUI, start: Service
) -> None:
    slow.run_seconds = 60
    async with calling(await start(slow.url, queue_limit=1)) as client:
        await client.submit("inpaint", values(), idempotency_key="one")
        with pytest.raises(KeyReused):
            await client.submit("inpaint", values(seed=2), idempotency_key="one")
        more = asyncio.gather(*(client.submit("inpaint", values(seed=seed)) for seed in range(3, 8)))
        with pytest.raises(QueueFull) as full:
            await more
        assert full.value.retryable
        assert full.value.retry_after >= 1


async def test_a_failed_job_raises_what_it_failed_with(slow: FakeComfyUI, start: Service) -> None:
    slow.faults.raise_in = "A1111Sampler"
    async with calling(await start(slow.url)) as client:
        job = await client.submit("inpaint", values())
        ends = [state async for state in client.progress(job)]
        assert isinstance(ends[-1], service.Failed)
        with pytest.raises(type(ends[-1].error)):
            await client.wait(job, SECONDS)


async def test_a_key_goes_to_the_service_and_without_one_the_error_says_so(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    key = a_key(tmp_path, "somebody")["Authorization"].removeprefix("Bearer ")
    started = await start(fake.url, api_keys="required")
    async with calling(started) as stranger, calling(started, api_key=key) as caller:
        with pytest.raises(KeyNeeded):
            await stranger.submit("inpaint", values())
        job = await caller.run("inpaint", values(), seconds=SECONDS)
        with pytest.raises(KeyNeeded):
            await anext(stranger.progress(job))


async def test_a_misspelt_parameter_is_told_and_warned_of_where_it_was_written(
    fake: FakeComfyUI, start: Service
) -> None:
    started = await start(fake.url)
    async with calling(started) as client:
        with pytest.warns(service.IgnoredParameters, match="inpaint has no such parameters: stepz, säed") as warned:
            job = await client.submit("inpaint", values(stepz=9, säed=1))
        assert [one.filename for one in warned] == [__file__]
        assert job.ignored == ("stepz", "säed")
        assert (await client.wait(job, SECONDS)).ignored == job.ignored
        with pytest.warns(service.IgnoredParameters):
            assert (await client.run("inpaint", values(stepz=9), seconds=SECONDS)).ignored == ("stepz",)

    def synchronous() -> list[str]:
        with Client(address(started)) as client:
            with pytest.warns(service.IgnoredParameters) as at_submit:
                client.submit("inpaint", values(stepz=9))
            with pytest.warns(service.IgnoredParameters) as at_run:
                client.run("inpaint", values(stepz=9), seconds=SECONDS)
            return [one.filename for one in (*at_submit, *at_run)]

    assert await asyncio.to_thread(synchronous) == [__file__, __file__]


async def test_files_may_come_in_any_form_and_nothing_else_is_sent_as_one(
    fake: FakeComfyUI, start: Service, tmp_path: Path
) -> None:
    (tmp_path / "in.png").write_bytes(png(plain()))
    mask = io.BytesIO()
    box_mask().save(mask, "PNG")  # and stands at its end now
    async with calling(await start(fake.url)) as client:
        with (tmp_path / "in.png").open("rb") as image:
            for _ in range(2):
                await client.run("inpaint", values(image=image, mask=mask), seconds=SECONDS)
        before = len(fake.prompts)
        with pytest.raises(TypeError, match="image is of type Image"):
            await client.submit("inpaint", values(image=plain()))
        assert len(fake.prompts) == before
        with pytest.raises(InvalidParameters) as refused:
            await client.submit("inpaint", values(image=str(tmp_path / "in.png")))
        (complaint,) = refused.value.fields
        assert complaint.field == "image"
        assert "give its name as a pathlib.Path" in complaint.message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9 does not answer: connection refused"),
        ("http://no-such-host.invalid", "http://no-such-host.invalid does not answer: its name is not known"),
        ("localhost:9", "localhost:9 is no address of a service: write http://HOST:PORT"),
    ],
)
async def test_a_service_that_is_not_there_is_said_so_in_plain_words(url: str, said: str) -> None:
    async with AsyncClient(url, attempts=1) as client:
        with pytest.raises(ServiceUnreachable) as away:
            await client.widgets()
    assert away.value.detail == said


async def test_ctrl_c_in_a_run_without_an_event_loop_cancels_its_job(slow: FakeComfyUI, start: Service) -> None:
    slow.run_seconds = 60
    url = address(await ready(await start(slow.url)))

    class Interrupted(Client):
        def wait(self, job: service.Job | str, seconds: float | None = None) -> service.Job:
            raise KeyboardInterrupt

    def synchronous() -> service.Job:
        with Interrupted(url) as client:
            with pytest.raises(KeyboardInterrupt):
                client.run("inpaint", values(), idempotency_key="mine")
            return client.submit("inpaint", values(), idempotency_key="mine")

    assert isinstance((await asyncio.to_thread(synchronous)).state, service.Cancelled)


async def test_a_widget_is_described(fake: FakeComfyUI, start: Service) -> None:
    async with calling(await start(fake.url)) as client:
        widget = await client.widget("inpaint")
        named = {parameter.name: parameter for parameter in widget.parameters}
        assert (named["mask"].kind, named["mask"].required) == ("mask", True)
        assert (named["steps"].minimum, named["steps"].maximum, named["steps"].default) == (1, 150, 25)
        assert "Euler a" in named["sampler"].options
