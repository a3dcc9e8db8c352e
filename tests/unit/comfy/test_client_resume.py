"""A job that outlives the client that sent it: left at its backend, and taken up by another client."""

import asyncio

import aiohttp
import pytest

from orchestrator.comfy.execution import Progress
from orchestrator.comfy.following import NotBegun
from orchestrator.errors import BackendLost, BackendTimeout
from tests.fakes.comfyui import FakeComfyUI
from tests.unit.comfy.graphs import client_of, into, picture_graph
from tests.unit.comfy.test_client import new_id, until


async def cut_off(fake: FakeComfyUI, prompt_id: str, *, leave: bool) -> None:
    """A run that is cancelled while the backend works on it."""
    async with client_of(fake.url) as client:
        before = len(fake.prompts)
        run = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=5))
        await until(lambda: len(fake.prompts) > before)
        if leave:
            client.leave_all()
        run.cancel()
        await asyncio.wait({run})


async def test_a_run_that_is_cancelled_is_cancelled_at_the_backend_unless_it_is_to_be_left_there():
    async with FakeComfyUI(run_seconds=0.3) as fake:
        await cut_off(fake, new_id(), leave=True)
        assert not fake.requests("POST /interrupt")
        await cut_off(fake, new_id(), leave=False)
        assert fake.requests("POST /interrupt")


async def test_one_job_may_be_left_and_another_not():
    async with FakeComfyUI(run_seconds=0.3) as fake, client_of(fake.url) as client:
        left, dropped = new_id(), new_id()
        runs = [asyncio.create_task(client.run(picture_graph(), job, "9", deadline=5)) for job in (left, dropped)]
        await until(lambda: len(fake.prompts) == 2)
        client.leave(left)
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)
        assert fake.requests("POST /queue") == [{"delete": [dropped]}]


@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["still running", "ended meanwhile"])
async def test_another_client_takes_a_left_job_up_and_sends_nothing(pause: float):
    async with FakeComfyUI(run_seconds=0.3) as fake:
        prompt_id = new_id()
        await cut_off(fake, prompt_id, leave=True)
        await asyncio.sleep(pause)
        async with client_of(fake.url) as client:
            png = await client.run(picture_graph(), prompt_id, "9", deadline=5, resume=True)
        assert png == fake.result_png
        assert len(fake.prompts) == 1


async def test_a_job_that_the_backend_has_forgotten_is_lost():
    async with FakeComfyUI(run_seconds=0.3) as fake:
        prompt_id = new_id()
        await cut_off(fake, prompt_id, leave=True)
        await fake.restart()
        async with client_of(fake.url) as client:
            with pytest.raises(BackendLost, match="before the service was restarted"):
                await client.run(picture_graph(), prompt_id, "9", deadline=5, resume=True)
        assert len(fake.prompts) == 1


async def test_the_deadline_begins_anew_when_the_backend_begins():
    async with FakeComfyUI(run_seconds=0.4, steps=2) as fake, client_of(fake.url) as client:
        await client.opened()
        # The second waits for 0.4 s and runs for 0.4 s: more than its deadline in all, less in each.
        runs = [client.run(picture_graph(), new_id(), "9", deadline=0.7) for _ in range(2)]
        assert await asyncio.gather(*runs) == [fake.result_png] * 2
        fake.engine.run_seconds = 30
        with pytest.raises(BackendTimeout):
            await client.run(picture_graph(), new_id(), "9", deadline=0.3)


async def test_a_job_whose_beginning_is_not_heard_is_seen_to_run_and_has_its_whole_deadline_from_there():
    told: list[Progress] = []
    async with FakeComfyUI(run_seconds=0.8) as fake, client_of(fake.url) as client:
        await client.opened()
        first, second = new_id(), new_id()
        runs = [asyncio.create_task(client.run(picture_graph(), first, "9", deadline=5))]
        await until(lambda: len(fake.prompts) == 1)
        runs.append(asyncio.create_task(client.run(picture_graph(), second, "9", deadline=1.2, on_progress=into(told))))
        await until(lambda: len(fake.prompts) == 2)
        fake.drop_sockets()  # what is said of the two goes to a client id that nobody has any more
        await until(lambda: second in client.at_work)
        assert await asyncio.gather(*runs) == [fake.result_png] * 2
        assert told


async def test_a_job_that_waits_when_it_is_taken_up_has_its_whole_deadline_from_when_it_begins():
    async with FakeComfyUI(run_seconds=0.8) as fake:
        first, second = new_id(), new_id()
        for one in (first, second):
            await cut_off(fake, one, leave=True)
        async with client_of(fake.url) as client:
            again = [client.run(picture_graph(), one, "9", deadline=1.2, resume=True) for one in (first, second)]
            assert await asyncio.gather(*again) == [fake.result_png] * 2


async def test_a_job_that_does_not_begin_within_its_deadline_is_withdrawn_and_did_not_time_out():
    async with FakeComfyUI(run_seconds=5) as fake, client_of(fake.url) as client:
        foreign = {"prompt": picture_graph().to_api(), "prompt_id": new_id(), "client_id": "somebody"}
        async with aiohttp.ClientSession() as session, session.post(f"{fake.url}/prompt", json=foreign) as answer:
            assert answer.status == 200
        with pytest.raises(NotBegun, match="busy with other jobs"):
            await client.run(picture_graph(), new_id(), "9", deadline=0.4)
        queue = fake.engine.queue()
        assert [item[1] for item in queue["queue_running"] + queue["queue_pending"]] == [foreign["prompt_id"]]
        assert (client.tally.lost, client.tally.failed) == (0, 0)


async def test_an_earlier_run_of_a_job_that_ends_does_not_take_the_later_one_with_it():
    async with FakeComfyUI(run_seconds=0.5) as fake, client_of(fake.url) as client:
        prompt_id = new_id()
        earlier = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=5))
        await until(lambda: prompt_id in client.at_work)
        client.leave(prompt_id)
        later = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=5, resume=True))
        await asyncio.sleep(0.05)
        earlier.cancel()
        await asyncio.wait({earlier})
        assert prompt_id in client.at_work + client.waiting
        assert await later == fake.result_png
