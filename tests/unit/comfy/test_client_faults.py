"""The client against a backend that misbehaves: every job still ends, and truly."""

import asyncio
import time
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

from orchestrator.comfy.client import Upload
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.wire import Listed, Wire
from orchestrator.errors import BackendLost, ExecutionFailed
from tests.fakes.comfyui import FakeComfyUI, plain_png
from tests.unit.comfy.graphs import client_of, into, picture_graph
from tests.unit.comfy.test_client import new_id, until


async def test_a_socket_dropped_at_any_message_loses_no_job():
    # 6 nodes make about 22 messages; the numbers past the last one drop nothing and do no harm.
    for number in range(1, 24):
        async with FakeComfyUI(run_seconds=0.01, steps=2) as fake, client_of(fake.url) as client:
            await client.opened()
            fake.faults.drop_at = number
            assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png, number


async def test_each_new_socket_has_a_fresh_client_id():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        for count in range(1, 5):
            await until(lambda count=count: len(fake.client_ids) == count and fake.sockets)
            fake.drop_sockets()
        await until(lambda: len(fake.client_ids) == 5)
        assert len(set(fake.client_ids)) == 5
        assert client.connected or await client.opened() is None


async def test_progress_comes_again_for_jobs_submitted_after_a_drop():
    told = []
    async with FakeComfyUI(run_seconds=0.3, steps=3) as fake, client_of(fake.url) as client:
        await client.opened()
        fake.drop_sockets()
        await until(lambda: len(fake.client_ids) == 2)
        await client.opened()
        await client.run(picture_graph(), new_id(), "9", deadline=5, on_progress=into(told))
    assert any(progress.steps == 3 for progress in told)


async def test_the_status_broadcast_alone_ends_a_run_without_waiting_for_the_poll():
    own = {"execution_start", "execution_cached", "executing", "progress_state", "executed", "execution_success"}
    async with FakeComfyUI(run_seconds=0.1) as fake, client_of(fake.url, poll=60) as client:
        fake.faults.mute = frozenset(own)
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png


async def test_a_stalled_publisher_is_covered_by_the_poll():
    async with FakeComfyUI(run_seconds=0.05) as fake, client_of(fake.url) as client:
        fake.faults.mute = frozenset("*")
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png


async def test_a_run_cached_as_a_whole_without_an_executed_message_has_its_picture():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.mute = frozenset({"executed", "executing", "progress_state"})
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png


async def test_history_that_comes_late_is_waited_for_but_not_for_a_whole_poll():
    async with FakeComfyUI() as fake, client_of(fake.url, poll=30) as client:
        fake.faults.late_history = 0.1
        started = time.monotonic()
        assert await client.run(picture_graph(), new_id(), "9", deadline=20) == fake.result_png
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("request_", ["GET /history", "GET /queue"])
async def test_server_errors_while_following_are_endured(request_):
    async with FakeComfyUI(run_seconds=0.3) as fake, client_of(fake.url, grace=5) as client:
        fake.faults.fail(request_, times=2)
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png


async def test_a_backend_that_keeps_failing_is_lost_after_the_grace():
    async with FakeComfyUI(run_seconds=10) as fake, client_of(fake.url) as client:
        fake.faults.fail("GET /history", times=1000)
        with pytest.raises(BackendLost, match="HTTP 500"):
            await client.run(picture_graph(), new_id(), "9", deadline=5)
        await until(lambda: not fake.engine.queue()["queue_running"])


@pytest.mark.parametrize("status", [502, 0])
async def test_an_accepted_graph_whose_answer_was_lost_is_followed_not_sent_again(status):
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.fail("POST /prompt", status, after_acting=True)
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png
        assert len(fake.prompts) == 1


async def test_a_graph_that_never_arrived_is_lost_and_says_why():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.fail("POST /prompt", 500)
        with pytest.raises(BackendLost, match="POST /prompt with HTTP 500"):
            await client.run(picture_graph(), new_id(), "9", deadline=5)
        assert not fake.requests("POST /interrupt")


async def test_a_job_that_is_nowhere_to_be_seen_for_a_moment_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    """As between the queue and its start."""
    looks = 0

    async def look(wire: Wire) -> Listed:
        nonlocal looks
        looks += 1
        return Listed({}, {}) if looks == 1 else await queue(wire)

    queue = Wire.queue
    monkeypatch.setattr(Wire, "queue", look)
    async with FakeComfyUI(run_seconds=0.6) as fake, client_of(fake.url, poll=0.1) as client:
        assert await client.run(picture_graph(), new_id(), "9", deadline=5) == fake.result_png
    assert looks > 1


async def test_a_job_that_the_backend_forgot_is_lost():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.swallow_prompts = 1
        with pytest.raises(BackendLost, match="no longer knows"):
            await client.run(picture_graph(), new_id(), "9", deadline=5)


class EndsWhileItIsAsked(FakeComfyUI):
    """Its job ends just before it tells its queue."""

    async def _queue(self, request: web.Request) -> web.Response:
        while self.engine.queue()["queue_running"]:
            await asyncio.sleep(0.01)
        return await super()._queue(request)


async def test_a_job_that_ends_between_the_two_reads_has_ended_well_though_it_was_to_be_cancelled():
    async with EndsWhileItIsAsked(run_seconds=1.0) as fake, client_of(fake.url, poll=60, request=30) as client:
        await client.opened()
        fake.faults.mute = frozenset("*")
        fake.faults.fail("POST /interrupt", 200)  # it is taken and does nothing, as in a node that cannot be stopped
        prompt_id = new_id()
        run = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=60))
        await until(lambda: fake.engine.queue()["queue_running"])
        await client.cancel(prompt_id)
        assert await run == fake.result_png


async def test_a_restart_in_mid_job_is_noticed_and_the_next_job_runs():
    picture = Upload("abc.png", plain_png())
    async with FakeComfyUI(run_seconds=0.3) as fake, client_of(fake.url, grace=5, poll=30) as client:
        graph = picture_graph(picture.reference)
        run = asyncio.create_task(client.run(graph, new_id(), "9", deadline=20, uploads=[picture]))
        await until(lambda: fake.engine.queue()["queue_running"])
        await fake.restart()
        with pytest.raises(BackendLost, match="no longer knows"):
            await run
        assert await client.run(graph, new_id(), "9", deadline=20, uploads=[picture]) == fake.result_png
        assert len(fake.requests("POST /upload/image")) == 2


async def test_pictures_are_sent_again_after_the_socket_was_lost():
    picture = Upload("abc.png", plain_png())
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        await client.opened()
        graph = picture_graph(picture.reference)
        await client.run(graph, new_id(), "9", deadline=5, uploads=[picture])
        fake.drop_sockets()
        await until(lambda: len(fake.client_ids) == 2)
        await until(lambda: client.connected)
        await client.run(graph, new_id(), "9", deadline=5, uploads=[picture])
        assert len(fake.requests("POST /upload/image")) == 2


async def test_a_backend_that_dies_in_mid_job_is_lost_after_the_grace():
    async with FakeComfyUI(run_seconds=30) as fake, client_of(fake.url) as client:
        run = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=20))
        await until(lambda: fake.engine.queue()["queue_running"])
        await fake.stop()
        with pytest.raises(BackendLost, match="did not answer"):
            await run


async def test_a_job_that_could_not_be_cancelled_is_as_soon_as_the_backend_answers_again():
    async with FakeComfyUI(run_seconds=300) as fake, client_of(fake.url, abandon=0.3) as client:
        run = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=20))
        await until(lambda: fake.engine.queue()["queue_running"])
        fake.faults.fail("POST /queue", times=3)
        run.cancel()
        await asyncio.wait({run})
        assert fake.engine.queue()["queue_running"]
        await until(lambda: not fake.engine.queue()["queue_running"])


@pytest.mark.parametrize("late", [0.0, 0.4])
async def test_a_job_that_was_lost_and_cancelled_here_may_run_here_again(late: float):
    async with FakeComfyUI(run_seconds=0.8) as fake, client_of(fake.url) as client:
        fake.faults.late_history = late
        prompt_id = new_id()
        fake.faults.fail("GET /history", times=1000)
        with pytest.raises(BackendLost):
            await client.run(picture_graph(), prompt_id, "9", deadline=5)
        fake.faults.answers.clear()
        # What is left of the first run is an entry that tells of an interruption, or soon will be.
        assert await client.run(picture_graph(), prompt_id, "9", deadline=5) == fake.result_png
        assert len(fake.prompts) == 2


async def test_a_job_that_is_sent_again_and_does_not_arrive_has_not_ended_as_its_first_run_did():
    async with FakeComfyUI(run_seconds=0.8) as fake, client_of(fake.url) as client:
        prompt_id = new_id()
        fake.faults.fail("GET /history", times=1000)
        with pytest.raises(BackendLost):
            await client.run(picture_graph(), prompt_id, "9", deadline=5)
        fake.faults.answers.clear()
        await until(lambda: fake.engine.history(prompt_id))
        fake.faults.swallow_prompts = 1
        with pytest.raises(BackendLost, match="no longer knows"):
            await client.run(picture_graph(), prompt_id, "9", deadline=5)


async def test_a_job_that_strays_at_a_backend_goes_before_it_is_run_there_again():
    async with FakeComfyUI(run_seconds=0.8) as fake, client_of(fake.url, abandon=0.3, poll=10.0) as client:
        prompt_id = new_id()
        fake.faults.fail("POST /queue")
        run = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=5))
        await until(lambda: fake.engine.queue()["queue_running"])
        run.cancel()
        await asyncio.wait({run})
        assert await client.run(picture_graph(), prompt_id, "9", deadline=5) == fake.result_png
        assert not fake.engine.queue()["queue_running"]


async def test_a_backend_that_could_not_be_sent_a_stray_again_is_still_told_to_drop_it():
    async with FakeComfyUI(run_seconds=300) as fake, client_of(fake.url, abandon=0.3) as client:
        prompt_id = new_id()
        fake.faults.fail("POST /queue", times=1000)
        run = asyncio.create_task(client.run(picture_graph(), prompt_id, "9", deadline=20))
        await until(lambda: fake.engine.queue()["queue_running"])
        run.cancel()
        await asyncio.wait({run})
        with pytest.raises(BackendLost, match="POST /queue with HTTP 500"):
            await client.run(picture_graph(), prompt_id, "9", deadline=20)
        fake.faults.answers.clear()
        await until(lambda: not fake.engine.queue()["queue_running"])
        assert len(fake.prompts) == 1


async def test_a_refused_connection_is_a_lost_backend_at_once():
    async with FakeComfyUI() as fake:
        pass
    async with client_of(fake.url, grace=60) as client:
        started = time.monotonic()
        with pytest.raises(BackendLost):
            await client.run(picture_graph(), new_id(), "9", deadline=20)
        assert time.monotonic() - started < 2


async def test_a_picture_that_cannot_be_fetched_is_a_lost_backend():
    async with FakeComfyUI() as fake, client_of(fake.url) as client:
        fake.faults.lose_pictures = True
        with pytest.raises(BackendLost, match=r"fake_00001_\.png with HTTP 404"):
            await client.run(picture_graph(), new_id(), "9", deadline=5)


async def test_a_failed_job_stays_failed_when_the_socket_drops():
    async with FakeComfyUI(run_seconds=0.05) as fake, client_of(fake.url) as client:
        await client.opened()
        fake.faults.raise_in, fake.faults.drop_at = "KSampler", 4
        with pytest.raises(ExecutionFailed, match="it broke"):
            await client.run(picture_graph(), new_id(), "9", deadline=5)


async def test_a_slow_answer_has_a_deadline():
    async with FakeComfyUI() as fake, client_of(fake.url, request=0.1, grace=0.1) as client:
        fake.faults.delays["GET /history"] = 0.4
        with pytest.raises(BackendLost, match="did not answer GET /history"):
            await client.run(picture_graph(), str(uuid4()), "9", deadline=5)


async def test_somebody_elses_socket_under_our_id_takes_the_messages_and_not_the_job():
    async with FakeComfyUI(run_seconds=0.3) as fake, client_of(fake.url) as client, aiohttp.ClientSession() as session:
        await client.opened()
        [ours] = fake.client_ids
        async with session.ws_connect(f"{fake.url}/ws?clientId={ours}"):
            await until(lambda: fake.client_ids == [ours, ours])
            run = asyncio.create_task(client.run(picture_graph(), new_id(), "9", deadline=20))
            await until(lambda: fake.engine.queue()["queue_running"])
        # Its end takes our socket's place with it: from here on no message comes to anybody.
        await until(lambda: not fake.sockets)
        assert await run == fake.result_png


async def test_of_two_jobs_that_run_in_another_order_than_they_came_each_has_its_own_picture():
    def paint(prompt):
        return plain_png(prompt["4"]["inputs"]["steps"], 8)

    async with FakeComfyUI(run_seconds=1.5, paint=paint) as fake, client_of(fake.url) as client:
        await client.opened()
        fake.faults.last_first = True
        graphs = [picture_graph().to_api() for _ in range(3)]
        for steps, graph in enumerate(graphs, 8):
            graph["4"]["inputs"]["steps"] = steps
        ended = []

        async def run(graph):
            image = await client.run(Graph.from_api(graph), new_id(), "9", deadline=60)
            ended.append(graph["4"]["inputs"]["steps"])
            return image

        runs = []
        for graph in graphs:
            runs.append(asyncio.create_task(run(graph)))
            await until(lambda: len(fake.prompts) == len(runs))
        assert await asyncio.gather(*runs) == [plain_png(steps, 8) for steps in (8, 9, 10)]
        assert ended == [8, 10, 9]


class TakesUploadsLater(FakeComfyUI):
    """Its network carries no picture before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.carry = asyncio.Event()

    async def _upload(self, request: web.Request) -> web.Response:
        await self.carry.wait()
        return await super()._upload(request)


async def test_a_slow_upload_is_waited_for_and_holds_up_no_other_job():
    picture = Upload("abc.png", plain_png())
    async with TakesUploadsLater() as fake, client_of(fake.url, transfer=60) as client:
        await client.opened()
        slow = asyncio.create_task(
            client.run(picture_graph(picture.reference), new_id(), "9", deadline=60, uploads=[picture])
        )
        await client.run(picture_graph(), new_id(), "9", deadline=60)
        assert not slow.done()
        fake.carry.set()
        assert await slow == fake.result_png
        assert len(fake.requests("POST /upload/image")) == 1


async def test_an_upload_that_takes_longer_than_its_deadline_is_a_lost_backend_and_nothing_is_run():
    picture = Upload("abc.png", plain_png())
    async with FakeComfyUI() as fake, client_of(fake.url, transfer=0.1) as client:
        fake.faults.delays["POST /upload"] = 0.6
        with pytest.raises(BackendLost, match="did not answer POST /upload/image"):
            await client.run(picture_graph(picture.reference), new_id(), "9", deadline=20, uploads=[picture])
        assert not fake.prompts
