"""A job from outside: ways to wait for it, its events, cancelling it, sending it twice, and what a restart does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

from orchestrator.app import create_app
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png, values
from tests.integration.services import LINKS, Client, Service, Told, ready, some_models, started, told

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def slow() -> AsyncIterator[FakeComfyUI]:
    """A backend that takes a while and counts steps."""
    async with FakeComfyUI(result_png=png(plain()), run_seconds=0.6, steps=4) as backend:
        yield backend


async def post(client: Client, status: int = 202, headers: dict[str, str] | None = None, **more: object) -> Any:
    async with client.post("/widgets/inpaint", json=values(**more), headers=headers or ASYNC) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def get(client: Client, job_id: str) -> Any:
    async with client.get(f"/jobs/{job_id}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def ended(client: Client, job_id: str, seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while (job := await get(client, job_id))["state"] in ("queued", "running"):
            await asyncio.sleep(0.02)
    return job


async def until(client: Client, job_id: str, state: str) -> Any:
    async with asyncio.timeout(10):
        while (job := await get(client, job_id))["state"] != state:
            await asyncio.sleep(0.01)
    return job


async def events(client: Client, job_id: str, after: int | None = None) -> list[Told]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with asyncio.timeout(20), client.get(f"/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        return [event async for event in told(answer)]


# Waiting


async def test_a_caller_that_does_not_wait_gets_the_jobs_address_and_later_its_image(
    slow: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(slow.url))
    async with client.post("/widgets/inpaint", json=values(extra=1), headers=ASYNC) as answer:
        assert answer.status == 202
        job = await answer.json()
        assert answer.headers["Location"] == f"{LINKS}/jobs/{job['id']}" == job["links"]["self"]
        assert answer.headers["X-Ignored-Parameters"] == "extra"
        assert int(answer.headers["Retry-After"]) >= 1
    job = await ended(client, job["id"])
    assert (job["state"], job["seed"], job["attempt"]) == ("succeeded", 1, 1)
    assert set(job["timings"]) >= {"check", "pictures", "models", "compile", "queue", "run", "store"}
    assert (await client.get(job["url"].removeprefix(LINKS))).status == 200


async def test_a_wait_that_is_over_is_a_504_with_the_jobs_address_and_the_job_goes_on(
    slow: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(slow.url, wait_seconds=0.2))
    async with client.post("/widgets/inpaint", json=values()) as answer:
        assert answer.status == 504
        assert (await answer.json())["code"] == "job_unfinished"
        location = answer.headers["Location"]
    assert (await ended(client, location.rsplit("/", 1)[1]))["state"] == "succeeded"


async def test_a_caller_may_say_how_long_it_waits(slow: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(slow.url))
    started_at = time.monotonic()
    await post(client, 504, {"Prefer": "wait=0"})
    assert time.monotonic() - started_at < 0.5


async def test_a_caller_that_hangs_up_cancels_only_if_it_asked_for_that(start: Service) -> None:
    async with FakeComfyUI(run_seconds=30.0) as endless:
        client = await ready(await start(endless.url))
        for headers, interrupts in (({}, 0), ({"X-Cancel-On-Disconnect": "true"}, 1)):
            seen = len(endless.prompts)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.7):
                    await client.post("/widgets/inpaint", json=values(), headers=headers)
            async with asyncio.timeout(5):
                while len(endless.requests("POST /interrupt")) < interrupts:
                    await asyncio.sleep(0.02)
            assert len(endless.prompts) == seen + 1


async def test_a_queued_job_tells_its_place_and_its_end_is_estimated(slow: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(slow.url))
    await post(client, 200, {"Accept": "image/png"})
    jobs = [await post(client) for _ in range(5)]
    last = await get(client, jobs[-1]["id"])
    assert last["state"] == "queued"
    assert last["place"] >= 1
    assert 0.6 < last["eta"] < 10


# Events


async def test_events_tell_the_whole_run_in_order_and_end_with_the_link(slow: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(slow.url))
    job = await post(client)
    heard = await events(client, job["id"])
    assert heard[-1].kind == "succeeded"
    assert heard[-1].data["url"].startswith(LINKS)
    steps = [event.data["step"] for event in heard if event.kind == "running" and event.data["steps"] == 4]
    assert len(steps) >= 2  # the newest is told, not each
    assert steps == sorted(set(steps))
    numbers = [event.number for event in heard]
    assert numbers == sorted(set(numbers))


async def test_a_listener_that_comes_back_gets_what_it_missed_and_then_no_more(
    slow: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(slow.url))
    job = await post(client)
    whole = await events(client, job["id"])
    assert await events(client, job["id"], after=whole[2].number) == whole[3:]
    headers = {"Last-Event-ID": str(whole[-1].number)}
    assert (await client.get(f"/jobs/{job['id']}/events", headers=headers)).status == 204


async def test_events_of_no_job_and_after_no_event_are_problems(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    assert (await client.get("/jobs/none/events")).status == 404
    job = await post(client)
    answer = await client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "x"})
    assert answer.status == 422


async def test_the_prompt_is_the_graph_as_it_ran_but_for_where_its_pictures_lay(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    job = await post(client)
    await ended(client, job["id"])
    told, ran = await (await client.get(f"/jobs/{job['id']}/prompt")).json(), fake.prompts[0]
    for graph in (told, ran):
        pictures = [node["inputs"].pop("image") for node in graph.values() if "LoadImage" in node["class_type"]]
        assert len(pictures) == 2
        assert all(picture.startswith("orchestrator/") and picture.endswith(".png [temp]") for picture in pictures)
    assert told == ran
    assert (await client.get("/jobs/none/prompt")).status == 404


# Cancelling


async def test_cancelling_hits_this_job_and_no_other_queued_or_running(start: Service) -> None:
    async with FakeComfyUI(run_seconds=1.0) as backend:
        client = await ready(await start(backend.url))
        jobs = [(await post(client))["id"] for _ in range(5)]
        await until(client, jobs[0], "running")
        for job_id in (jobs[0], jobs[1], jobs[3]):  # at work; waiting at the backend; in the queue
            answer = await client.delete(f"/jobs/{job_id}")
            assert (answer.status, (await answer.json())["state"]) == (200, "cancelled")
        ends = [(await ended(client, job_id))["state"] for job_id in jobs]
        assert ends == ["cancelled", "cancelled", "succeeded", "cancelled", "succeeded"]
        # The fourth may have come to the backend by the time that it is cancelled, as the first two leave.
        assert {body["prompt_id"] for body in backend.requests("POST /interrupt")} <= {jobs[0], jobs[1], jobs[3]}


async def test_cancelling_says_when_it_comes_too_late_and_of_what_it_does_not_know(
    fake: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(fake.url))
    job = await post(client)
    await ended(client, job["id"])
    answer = await client.delete(f"/jobs/{job['id']}")
    assert answer.status == 409
    assert "succeeded before" in (await answer.json())["detail"]
    assert (await client.delete("/jobs/none")).status == 404


async def test_who_waits_for_a_job_that_another_cancels_is_told(start: Service) -> None:
    async with FakeComfyUI(run_seconds=30.0) as endless:
        client = await ready(await start(endless.url))
        waiting = asyncio.create_task(post(client, 409, {"Idempotency-Key": "a"}))
        async with asyncio.timeout(30):
            while not endless.requests("POST /prompt"):
                await asyncio.sleep(0.01)
        [sent] = endless.requests("POST /prompt")
        await client.delete(f"/jobs/{sent['prompt_id']}")
        assert (await waiting)["code"] == "job_cancelled"


# Sending twice


async def test_the_same_key_and_request_is_one_job_and_one_image(slow: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(slow.url))
    headers = {"Idempotency-Key": "order 7"}
    answers = await asyncio.gather(*(post(client, 200, headers, seed=-1) for _ in range(3)))
    answers.append(await post(client, 200, headers, seed=-1))
    job = await post(client, headers=headers | ASYNC, seed=-1)
    assert {answer["url"] for answer in answers} == {(await get(client, job["id"]))["url"]}
    assert len(slow.prompts) == 1


async def test_the_same_key_with_another_request_is_a_409(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    headers = {"Idempotency-Key": "order 7"}
    await post(client, 200, headers)
    for change in ({"seed": 2}, {"prompt": "a blue heart"}, {"extra": 1}):
        assert (await post(client, 409, headers, **change))["code"] == "key_reused"
    assert (await post(client, 409, headers | {"Accept": "image/png"}))["code"] == "key_reused"
    assert len(fake.prompts) == 1


async def test_a_refused_request_does_not_use_up_its_key(fake: FakeComfyUI, start: Service) -> None:
    client = await ready(await start(fake.url))
    headers = {"Idempotency-Key": "order 7"}
    await post(client, 422, headers, steps=0)
    await post(client, 200, headers)
    await post(client, 422, {"Idempotency-Key": "x" * 300})
    await post(client, 422, {"X-Priority": "mine first"})


# Losing


async def test_a_job_whose_backend_restarts_runs_again_with_the_same_seed(start: Service) -> None:
    async with FakeComfyUI(run_seconds=0.5) as backend:
        client = await ready(await start(backend.url))
        job = await post(client, seed=-1)
        await until(client, job["id"], "running")
        async with asyncio.timeout(5):
            while not backend.prompts:
                await asyncio.sleep(0.01)
        await backend.restart()
        end = await ended(client, job["id"])
        assert (end["state"], end["attempt"]) == ("succeeded", 2)
        assert backend.prompts[0] == backend.prompts[1]
        assert "requeued" in {event.kind for event in await events(client, job["id"])}


async def test_a_job_that_waits_behind_one_that_takes_its_backend_down_is_not_lost_with_it(start: Service) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=30) as backend:
        client = await ready(await start(backend.url))
        jobs = [await post(client, seed=seed) for seed in (1, 2)]
        await until(client, jobs[0]["id"], "running")
        await at_backend(backend, 2)
        backend.run_seconds = 0
        await backend.restart()
        ends = [await ended(client, job["id"]) for job in jobs]
        assert [(end["state"], end["attempt"]) for end in ends] == [("succeeded", 2), ("succeeded", 1)]


@pytest.mark.parametrize("status", [500, 0])
@pytest.mark.parametrize("request_", ["POST /upload", "POST /prompt", "GET /history", "GET /view"])
async def test_an_answer_that_is_lost_once_loses_no_job(start: Service, request_: str, status: int) -> None:
    async with FakeComfyUI(result_png=png(plain())) as backend:
        client = await ready(await start(backend.url))
        backend.faults.fail(request_, status)
        end = await ended(client, (await post(client))["id"], 60)
        assert end["state"] == "succeeded", end
        assert not backend.faults.answers[request_]


async def test_a_job_whose_picture_is_gone_at_the_backend_runs_again_and_fails_when_that_is_too_often(
    start: Service,
) -> None:
    async with FakeComfyUI(result_png=png(plain())) as backend:
        client = await ready(await start(backend.url))
        backend.faults.lose_pictures = True
        end = await ended(client, (await post(client))["id"], 60)
        assert (end["state"], end["code"], end["attempt"]) == ("failed", "backend_lost", 3)


async def test_a_job_whose_backend_is_lost_runs_at_another(start: Service) -> None:
    async with FakeComfyUI(run_seconds=30) as one, FakeComfyUI(run_seconds=30) as two:
        backends = [{"url": one.url, "name": "one"}, {"url": two.url, "name": "two"}]
        client = await ready(await start("", backends=backends))
        job = await post(client)
        async with asyncio.timeout(5):
            while not one.prompts and not two.prompts:
                await asyncio.sleep(0.01)
        lost, other = (one, two) if one.prompts else (two, one)
        other.run_seconds = other.engine.run_seconds = 0  # type: ignore[attr-defined]
        await lost.stop()
        end = await ended(client, job["id"], 30)
        assert (end["state"], end["attempt"]) == ("succeeded", 2)
        assert len(other.prompts) == 1


async def test_a_job_that_fails_by_itself_does_not_run_again(start: Service) -> None:
    async with FakeComfyUI() as backend:
        backend.faults.raise_in = "A1111Sampler"
        client = await ready(await start(backend.url))
        end = await ended(client, (await post(client))["id"])
        assert (end["state"], end["code"], end["attempt"]) == ("failed", "execution_failed", 1)
        assert len(backend.prompts) == 1


# Restarts of the service, with the same data folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    some_models(tmp_path / "models")
    return tmp_path


@asynccontextmanager
async def serving(data: Path, backend: FakeComfyUI) -> AsyncIterator[Client]:
    """One life of a service."""
    client = await started(data, backends=[{"url": backend.url, "name": "fake"}])
    try:
        yield await ready(client)
    finally:
        await client.close()


async def test_a_data_folder_has_one_service_and_the_next_only_when_that_is_gone(data: Path, slow: FakeComfyUI) -> None:
    async with serving(data, slow) as client:
        job = await post(client)
        second = web.AppRunner(create_app(Settings(data=data, civitai_url="")))
        with pytest.raises(SettingsError, match="Another service runs on the data folder"):
            await second.setup()
        await second.cleanup()
        assert (await ended(client, job["id"]))["attempt"] == 1
    async with serving(data, slow) as client:
        assert (await get(client, job["id"]))["state"] == "succeeded"


async def at_backend(backend: FakeComfyUI, jobs: int) -> None:
    async with asyncio.timeout(10):
        while len(backend.prompts) < jobs:
            await asyncio.sleep(0.01)


async def test_after_a_restart_jobs_that_are_still_at_their_backend_are_followed_to_their_ends(data: Path) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=2.5) as backend:
        async with serving(data, backend) as client:
            jobs = [(await post(client))["id"] for _ in range(3)]
            await at_backend(backend, 2)
        async with serving(data, backend) as client:
            ends = [await ended(client, job_id) for job_id in jobs]
            assert [(end["state"], end["attempt"]) for end in ends] == [("succeeded", 1)] * 3
        assert len(backend.prompts) == 3
        assert not backend.requests("POST /interrupt")
        assert {path.name.partition(".")[0] for path in (data / "inputs").iterdir()} == set(jobs)


async def test_who_waits_when_the_service_is_stopped_is_told_where_the_job_can_be_asked_for(data: Path) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=2.0) as backend:
        async with serving(data, backend) as client:
            waiting = asyncio.create_task(client.post("/widgets/inpaint", json=values()))
            await at_backend(backend, 1)
            [sent] = backend.requests("POST /prompt")
            listening = asyncio.create_task(events(client, sent["prompt_id"]))
            await asyncio.sleep(0.1)
            stopping = asyncio.create_task(client.server.close())  # as SIGTERM does it; the callers are still there
            answer = await waiting
            assert answer.status == 503
            assert (await answer.json())["code"] == "service_stopping"
            assert answer.headers["Location"] == f"{LINKS}/jobs/{sent['prompt_id']}"
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await listening)[-1].kind in ("queued", "running")
            await stopping
        async with serving(data, backend) as client:
            end = await ended(client, sent["prompt_id"])
            assert (end["state"], end["attempt"]) == ("succeeded", 1)
        assert len(backend.prompts) == 1


async def test_after_a_restart_a_job_that_ended_meanwhile_is_collected(data: Path) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=0.5) as backend:
        async with serving(data, backend) as client:
            job = await post(client)
            await at_backend(backend, 1)
        await asyncio.sleep(0.8)
        async with serving(data, backend) as client:
            end = await ended(client, job["id"])
            assert (end["state"], end["attempt"]) == ("succeeded", 1)
        assert len(backend.prompts) == 1


async def test_after_a_restart_of_both_a_lost_job_runs_again(data: Path) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=0.5) as backend:
        async with serving(data, backend) as client:
            job = await post(client)
            await at_backend(backend, 1)
        await backend.restart()
        async with serving(data, backend) as client:
            end = await ended(client, job["id"])
            assert (end["state"], end["attempt"]) == ("succeeded", 2)
        assert backend.prompts[0] == backend.prompts[1]


async def test_a_job_whose_backend_never_comes_back_after_a_restart_ends(
    slow: FakeComfyUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.app._ADOPTION", 0.5)
    some_models(tmp_path / "models")
    settings = {"backends": [{"url": slow.url, "name": "fake"}], "queue_seconds": 2}
    client = await ready(await started(tmp_path, **settings))
    slow.engine.run_seconds = 60
    jobs = [await post(client), await post(client)]
    await until(client, jobs[0]["id"], "running")
    async with asyncio.timeout(10):
        while len(slow.prompts) < 2:
            await asyncio.sleep(0.02)
    await client.close()
    await slow.stop()
    client = await started(tmp_path, **settings)
    await asyncio.sleep(0.6)
    async with client.delete(f"/jobs/{jobs[1]['id']}") as answer:
        assert (answer.status, (await answer.json())["state"]) == (200, "cancelled")
    job = await ended(client, jobs[0]["id"], seconds=10)
    assert (job["state"], job["code"]) == ("failed", "backend_lost")
    await client.close()


async def send_foreign(backend: FakeComfyUI) -> None:
    """Somebody else has the backend run what it ran first."""
    foreign = {"prompt": backend.prompts[0], "prompt_id": str(uuid4()), "client_id": "somebody"}
    async with aiohttp.ClientSession() as session, session.post(f"{backend.url}/prompt", json=foreign) as answer:
        assert answer.status == 200


async def test_a_job_that_others_keep_from_a_backend_until_its_deadline_waits_on_and_was_not_lost(
    slow: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(slow.url, deadline_seconds=1))
    await ended(client, (await post(client))["id"])
    slow.engine.run_seconds = 60
    await send_foreign(slow)
    job = await post(client, seed=5)
    await at_backend(slow, 4)  # withdrawn, and sent again
    slow.engine.run_seconds = 0.1
    slow.interrupt()
    end = await ended(client, job["id"])
    assert (end["state"], end["attempt"]) == ("succeeded", 1)


async def test_a_job_that_others_keep_from_every_backend_fails_when_its_patience_is_over(
    slow: FakeComfyUI, start: Service
) -> None:
    client = await ready(await start(slow.url, deadline_seconds=1, queue_seconds=2))
    await ended(client, (await post(client))["id"])
    slow.engine.run_seconds = 60
    await send_foreign(slow)
    end = await ended(client, (await post(client, seed=5))["id"])
    assert (end["state"], end["code"], end["attempt"]) == ("failed", "no_backend", 1)
