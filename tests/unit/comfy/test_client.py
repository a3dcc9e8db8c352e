import asyncio
import time
from uuid import uuid4

import pytest

from orchestrator.comfy.client import Upload
from orchestrator.comfy.execution import Progress
from orchestrator.comfy.following import NotBegun
from orchestrator.errors import BackendTimeout, ExecutionFailed, GraphRejected, JobInterrupted
from tests.fakes.comfyui import FakeComfyUI, plain_png
from tests.unit.comfy.graphs import client_of, into, picture_graph


def new_id() -> str:
    return str(uuid4())


async def test_a_run_gives_the_bytes_of_the_output_nodes_first_image():
    png = plain_png(8, 8)
    async with FakeComfyUI(result_png=png) as fake, client_of(fake.url) as client:
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == png


async def test_the_callers_id_is_the_prompt_id_and_the_sockets_id_the_client_id():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        prompt_id = new_id()
        await client.run(picture_graph(), prompt_id, "9", deadline=5)
        body = fake.requests("POST /prompt")[0]
        assert (body["prompt_id"], body["client_id"]) == (prompt_id, fake.client_ids[0])
        assert body["prompt"]["4"]["_meta"] == {"title": "Sampler"}


async def test_an_undisturbed_run_needs_three_requests():
    async with FakeComfyUI() as fake, client_of(fake.url, poll=2.0) as client:
        await client.opened()
        await client.run(picture_graph(), new_id(), "9", deadline=5)
        assert [seen.request for seen in fake.seen] == ["POST /prompt", "GET /history", "GET /view"]


async def test_a_run_returns_at_once_when_the_job_ends():
    async with FakeComfyUI(run_seconds=0.3) as fake, client_of(fake.url, poll=60) as client:
        await client.opened()
        started = time.monotonic()
        await client.run(picture_graph(), new_id(), "9", deadline=50)
        assert time.monotonic() - started < 2


async def test_progress_tells_the_node_and_its_steps():
    told: list[Progress] = []
    async with FakeComfyUI(run_seconds=0.2, steps=4) as fake, client_of(fake.url) as client:
        await client.run(picture_graph(), new_id(), "9", deadline=5, on_progress=into(told))
    assert any(progress.node_title == "Sampler" and progress.steps == 4 for progress in told)
    assert [progress.nodes_done for progress in told] == sorted(progress.nodes_done for progress in told)
    assert told[-1].nodes_total == 6


async def test_a_slow_consumer_of_progress_does_not_stop_the_reading():
    heard: list[int] = []

    async def dawdle(progress: Progress) -> None:
        time.sleep(0.02)
        heard.append(progress.step)

    async with FakeComfyUI(run_seconds=0.1, steps=30) as fake, client_of(fake.url) as client:
        await client.run(picture_graph(), new_id(), "9", deadline=5, on_progress=dawdle)
    assert len(heard) < 60


async def test_two_jobs_at_once_each_get_their_own_end():
    async with FakeComfyUI(run_seconds=0.05) as fake, client_of(fake.url) as client:
        runs = [client.run(picture_graph(), new_id(), "9", deadline=5) for _ in range(5)]
        assert await asyncio.gather(*runs) == [fake.result_png] * 5


async def test_a_refused_graph_names_node_title_and_input():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        with pytest.raises(GraphRejected, match=r'"Picture" \(LoadImage\): input image: .*Invalid image file'):
            await client.run(picture_graph("orchestrator/gone.png [temp]"), new_id(), "9", deadline=5)
        assert not fake.requests("POST /interrupt")


async def test_a_class_that_the_backend_lacks_is_refused_by_title():
    async with FakeComfyUI(catalog_json={}) as fake, client_of(fake.url) as client:
        with pytest.raises(GraphRejected, match=r'"Picture" \(LoadImage\): Cannot execute because node LoadImage'):
            await client.run(picture_graph(), new_id(), "9", deadline=5)


async def test_a_node_that_raises_is_named_with_its_text():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.raise_in = "KSampler"
        with pytest.raises(ExecutionFailed) as caught:
            await client.run(picture_graph(), new_id(), "9", deadline=5)
        assert caught.value.detail == '"Sampler" (KSampler): RuntimeError: it broke'


async def test_an_output_node_without_an_image_is_a_failure():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        with pytest.raises(ExecutionFailed, match=r'"Sampler" \(KSampler\): .* no image'):
            await client.run(picture_graph(), new_id(), "4", deadline=5)


async def test_a_job_that_somebody_interrupts_ends_as_interrupted():
    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        run = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=20))
        await until(lambda: fake.engine.queue()["queue_running"])
        fake.interrupt()
        with pytest.raises(JobInterrupted):
            await run


async def test_cancelling_a_waiting_job_leaves_the_running_one_alone():
    async with FakeComfyUI(run_seconds=0.5) as fake, client_of(fake.url) as client:
        first = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=5))
        await until(lambda: fake.engine.queue()["queue_running"])
        second_id = new_id()
        second = asyncio.create_task(client.run(picture_graph(), second_id, "9", deadline=5))
        await until(lambda: fake.engine.queue()["queue_pending"])
        await client.cancel(second_id)
        with pytest.raises(JobInterrupted):
            await second
        assert await first == fake.result_png


async def test_cancelling_a_running_job_interrupts_it():
    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        prompt_id = new_id()
        run = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=20))
        await until(lambda: fake.engine.queue()["queue_running"])
        await client.cancel(prompt_id)
        with pytest.raises(JobInterrupted):
            await run


async def test_a_job_that_waits_is_withdrawn_and_one_that_has_begun_is_left_alone():
    async with FakeComfyUI(run_seconds=0.5) as fake, client_of(fake.url) as client:
        ids = [new_id(), new_id()]
        runs = [asyncio.create_task(client.run(picture_graph(), one, "9", deadline=5)) for one in ids]
        async with asyncio.timeout(5):
            while not (client.at_work and client.waiting and len(fake.prompts) == 2):
                await asyncio.sleep(0.01)
        for one in (*ids, new_id()):
            await client.withdraw(one)
        ends = await asyncio.gather(*runs, return_exceptions=True)
        assert {type(end) for end in ends} == {NotBegun, bytes}
        assert not fake.requests("POST /interrupt")


async def test_the_deadline_cancels_the_job_at_the_backend():
    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        prompt_id = new_id()
        with pytest.raises(BackendTimeout, match=r"longer than 0\.3 s"):
            await client.run(picture_graph(), prompt_id, "9", deadline=0.3)
        assert fake.requests("POST /queue") == [{"delete": [prompt_id]}]
        assert fake.requests("POST /interrupt") == [{"prompt_id": prompt_id}]
        await until(lambda: not fake.engine.queue()["queue_running"])


async def test_a_cancelled_caller_cancels_the_job_at_the_backend():
    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        run = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=20))
        await until(lambda: fake.engine.queue()["queue_running"])
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: not fake.engine.queue()["queue_running"])


async def test_a_caller_cancelled_while_the_graph_is_on_its_way_still_leaves_nothing_behind():
    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        fake.faults.delays["POST /prompt"] = 0.2
        run = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=20))
        await asyncio.sleep(0.1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert fake.prompts
        await until(lambda: not any(fake.engine.queue().values()))


async def test_a_consumer_of_progress_that_raises_cancels_the_job_too():
    async def fail(_: Progress) -> None:
        raise ZeroDivisionError

    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        with pytest.raises(ZeroDivisionError):
            await client.run(picture_graph(), new_id(), "9", deadline=20, on_progress=fail)
        await until(lambda: not fake.engine.queue()["queue_running"])


async def test_a_picture_goes_to_the_temp_folder_once_and_the_graph_finds_it():
    picture = Upload("abc.png", plain_png())
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        for _ in range(3):
            graph = picture_graph(picture.reference)
            await client.run(graph, new_id(), "9", deadline=5, uploads=[picture])
        assert fake.requests("POST /upload/image") == ["00.png"]
        assert fake.files["temp", "orchestrator", "00.png"] == picture.data
        assert fake.prompts[0]["1"]["inputs"]["image"] == "orchestrator/00.png [temp]"


async def test_the_same_picture_is_sent_once_even_by_two_jobs_at_the_same_time():
    picture = Upload("abc.png", plain_png())
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        await client.opened()
        graph = picture_graph(picture.reference)
        await asyncio.gather(*(client.run(graph, new_id(), "9", deadline=5, uploads=[picture]) for _ in range(4)))
        assert fake.requests("POST /upload/image") == ["00.png"]


async def test_a_picture_that_has_gone_from_the_backend_is_sent_again_once():
    picture = Upload("abc.png", plain_png())
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        await client.opened()
        graph = picture_graph(picture.reference)
        await client.run(graph, new_id(), "9", deadline=5, uploads=[picture])
        fake.files.clear()
        assert await client.run(graph, new_id(), "9", deadline=5, uploads=[picture]) == fake.result_png
        assert len(fake.requests("POST /upload/image")) == 2


async def test_a_picture_that_the_backend_does_not_take_is_a_refusal():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.fail("POST /upload", 413)
        with pytest.raises(GraphRejected, match="HTTP 413"):
            await client.run(picture_graph(), new_id(), "9", deadline=5, uploads=[Upload("abc.png", b"x")])


async def test_the_catalogue_and_life_signs_are_read():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        assert "KSampler" in (await client.catalog()).classes
        assert await client.alive()
        await client.free()
        assert fake.requests("POST /free") == [{"unload_models": True, "free_memory": True}]
        await fake.stop()
        assert not await client.alive()


async def until(condition, seconds: float = 30.0) -> None:
    """Polls, because a fake has no event for each of its states."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
