"""Jobs whose models have to come first, over cancelling, failing downloads and restarts of the service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.models.layout import Place
from orchestrator.models.locks import FileLock
from tests.fakes.civitai import FakeCivitai, Fixture
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png, values
from tests.integration.services import Client, ready, started, told
from tests.unit.models.supply import checkpoint_file

ASYNC = {"Prefer": "respond-async"}
Start = Callable[[], Awaitable[Client]]


@pytest.fixture
async def civitai() -> AsyncIterator[FakeCivitai]:
    async with FakeCivitai(Fixture(64094, checkpoint_file(), pause=0.05)) as fake:
        yield fake


@pytest.fixture
async def backend() -> AsyncIterator[FakeComfyUI]:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=1.0) as fake:
        yield fake


@pytest.fixture
async def start(civitai: FakeCivitai, backend: FakeComfyUI, tmp_path: Path) -> AsyncIterator[Start]:
    clients: list[Client] = []

    async def serve() -> Client:
        given: dict[str, Any] = {"backends": [{"url": backend.url, "name": "fake"}]}
        given |= {"civitai_url": civitai.url, "civitai_hosts": civitai.hosts}
        clients.append(await started(tmp_path, **given))
        return await ready(clients[-1])

    yield serve
    for client in clients:
        await client.close()


async def accepted(client: Client, **more: object) -> str:
    """The id of a job of the model 64094, which is on its way."""
    async with client.post("/widgets/inpaint", json=values(model=64094, **more), headers=ASYNC) as answer:
        body = await answer.json()
        assert answer.status == 202, body
        return str(body["id"])


async def job(client: Client, job_id: str) -> dict[str, Any]:
    async with client.get(f"/jobs/{job_id}") as answer:
        return dict(await answer.json())


async def until(client: Client, job_id: str, *states: str, **more: object) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            now = await job(client, job_id)
            if now["state"] in states and all(now.get(name) == value for name, value in more.items()):
                return now
            await asyncio.sleep(0.02)


def in_use(folder: Path) -> bool:
    """Whether a job keeps the model from being deleted."""
    lock = FileLock.try_exclusive(Place(folder / "models", "checkpoint", "64094-1064094").pin_lock)
    if lock is not None:
        lock.close()
    return lock is None


async def test_who_does_not_wait_hears_how_far_the_model_has_come(start: Start, tmp_path: Path) -> None:
    client = await start()
    job_id = await accepted(client)
    assert (await job(client, job_id))["state"] == "fetching"
    assert in_use(tmp_path)
    async with client.get(f"/jobs/{job_id}/events") as answer:
        events = [event async for event in told(answer)]
    kinds = [event.kind for event in events]
    assert sorted(set(kinds), key=kinds.index) == ["fetching", "queued", "running", "succeeded"]
    last = [event.data for event in events if event.kind == "fetching"][-1]
    assert last["model"] == "Model 64094 v1.0"
    assert 0 < last["received_bytes"] <= last["total_bytes"]
    assert last["bytes_per_second"] > 0
    assert last["seconds_left"] >= 0
    timings = (await job(client, job_id))["timings"]
    assert timings["fetch"] > 0
    assert list(timings).index("fetch") < list(timings).index("queue")
    assert not in_use(tmp_path)


async def test_a_download_that_fails_ends_the_job_with_the_models_error_for_every_way_to_wait(
    start: Start, civitai: FakeCivitai, backend: FakeComfyUI, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start()
    civitai.fixtures[64094].fault = "other bytes"
    async with client.post("/widgets/inpaint", json=values(model=64094)) as answer:
        body = await answer.json()
    assert (answer.status, body["code"], body["errors"][0]["field"]) == (502, "download_failed", "model")
    failed = await until(client, await accepted(client), "failed")
    assert (failed["code"], failed["errors"][0]["field"]) == ("download_failed", "model")
    said = [record for record in caplog.records if failed["id"] in record.getMessage()]
    assert [getattr(record, "job", None) for record in said] == [failed["id"]]
    assert not backend.requests("POST /prompt")
    assert not in_use(tmp_path)
    assert failed["id"] in {path.name.partition(".")[0] for path in (tmp_path / "inputs").iterdir()}


async def test_cancelling_a_job_that_is_fetching_stops_the_download(
    start: Start, civitai: FakeCivitai, tmp_path: Path
) -> None:
    client = await start()
    civitai.fixtures[64094].pause = 0.5
    job_id = await accepted(client)
    await until(client, job_id, "fetching", model="Model 64094 v1.0")
    async with client.delete(f"/jobs/{job_id}") as answer:
        assert (answer.status, (await answer.json())["state"]) == (200, "cancelled")
    part = FileLock.try_exclusive(Place(tmp_path / "models", "checkpoint", "64094-1064094").part_lock)
    assert part is not None
    part.close()
    assert not in_use(tmp_path)


async def test_one_of_two_jobs_is_cancelled_and_the_other_gets_the_model(start: Start, civitai: FakeCivitai) -> None:
    client = await start()
    one, two = await accepted(client, seed=1), await accepted(client, seed=2)
    async with client.delete(f"/jobs/{one}") as answer:
        assert answer.status == 200
    await until(client, two, "succeeded")
    assert civitai.requests["delivery"] == 2  # a look and the file


async def test_a_restart_goes_on_fetching_and_the_job_runs(start: Start, civitai: FakeCivitai, tmp_path: Path) -> None:
    first = await start()
    civitai.fixtures[64094].pause = 0.5
    job_id = await accepted(first)
    await until(first, job_id, "fetching", model="Model 64094 v1.0")
    await first.close()
    assert not in_use(tmp_path)
    civitai.fixtures[64094].pause = 0.0
    again = await start()
    assert (await until(again, job_id, "succeeded"))["attempt"] == 1


async def test_queued_jobs_keep_their_models_and_do_so_again_after_a_restart(
    start: Start, backend: FakeComfyUI, tmp_path: Path
) -> None:
    first = await start()
    jobs = [await accepted(first, seed=number) for number in range(4)]
    for job_id in jobs:
        await until(first, job_id, "queued", "running", "succeeded")
    assert in_use(tmp_path)
    await first.close()
    assert not in_use(tmp_path)
    again = await start()
    assert in_use(tmp_path)
    for job_id in jobs:
        await until(again, job_id, "succeeded")
    async with asyncio.timeout(5):
        while in_use(tmp_path):
            await asyncio.sleep(0.02)
