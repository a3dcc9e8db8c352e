"""Jobs on a real ComfyUI outlive a killed service, a killed ComfyUI in mid-sampling, and a stranger who keeps it."""

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.chaos.service import Service
from tests.comfyui.backends import Backend, comfyui_arguments, free_port, started

pytestmark = pytest.mark.comfyui

LONG = {"model": "demo", "prompt": "a red heart", "steps": 60, "width": 256, "height": 256}


async def post(session: aiohttp.ClientSession, seed: int) -> str:
    headers = {"Prefer": "respond-async", "Idempotency-Key": f"job {seed}"}
    async with asyncio.timeout(60):
        while True:
            async with session.post("/widgets/txt2img", json=LONG | {"seed": seed}, headers=headers) as answer:
                told = await answer.json()
                if answer.status == 202:
                    return str(told["id"])
                assert answer.status == 503, told
            await asyncio.sleep(0.1)


async def job(session: aiohttp.ClientSession, job_id: str, *states: str) -> dict[str, Any]:
    async with asyncio.timeout(300):
        while True:
            async with session.get(f"/jobs/{job_id}") as answer:
                told: dict[str, Any] = await answer.json()
            if told["state"] in states and (told["state"] != "running" or told["step"] > 5):
                return told
            await asyncio.sleep(0.05)


async def has_its_image(session: aiohttp.ClientSession, told: dict[str, Any]) -> bool:
    link = urlsplit(told["url"])
    async with session.get(f"{link.path}?{link.query}") as answer:
        return answer.status == 200 and len(await answer.read()) > 1000


async def test_jobs_outlive_a_service_that_is_killed_in_mid_sampling(
    comfyui: Backend, models: Path, tmp_path: Path
) -> None:
    before = len(comfyui.call("/history"))
    service = Service(tmp_path, [comfyui.url], 20, models)
    await service.start()
    try:
        async with aiohttp.ClientSession(service.url) as session:
            jobs = [await post(session, seed) for seed in range(1, 4)]
            await job(session, jobs[0], "running")
        await service.kill()
        await service.start()
        async with aiohttp.ClientSession(service.url) as session:
            ends = [await job(session, job_id, "succeeded", "failed", "cancelled") for job_id in jobs]
            assert [(end["state"], end["attempt"]) for end in ends] == [("succeeded", 1)] * 3
            assert all([await has_its_image(session, end) for end in ends])
    finally:
        await service.kill()
    assert len(await asyncio.to_thread(comfyui.call, "/history")) - before == 3  # each ran once


async def test_a_job_outlives_a_comfyui_that_is_killed_in_mid_sampling(models: Path, tmp_path: Path) -> None:
    place, python = os.environ.get("COMFYUI_DIR"), os.environ.get("COMFYUI_PYTHON")
    if not place or not python:
        pytest.skip("no real ComfyUI: set COMFYUI_DIR to its checkout and COMFYUI_PYTHON to a Python that runs it")
    port, folder = free_port(), tmp_path / "comfyui"
    arguments = comfyui_arguments(python, models, folder)
    (tmp_path / "data").mkdir()
    service = Service(tmp_path / "data", [f"http://127.0.0.1:{port}"], 20, models)
    await service.start()
    try:
        async with aiohttp.ClientSession(service.url) as session:
            with started(arguments, folder, Path(place), port=port) as _:
                job_id = await post(session, 1)
                await job(session, job_id, "running")
            with started(arguments, folder, Path(place), port=port) as _:
                end = await job(session, job_id, "succeeded", "failed", "cancelled")
                assert (end["state"], end["attempt"]) == ("succeeded", 2)
                assert await has_its_image(session, end)
    finally:
        await service.kill()


async def test_a_job_behind_a_strangers_goes_to_a_backend_that_is_idle(
    comfyui: Backend, embedded: Backend, models: Path, tmp_path: Path
) -> None:
    service = Service(tmp_path, [comfyui.url, embedded.url], 20, models)
    await service.start()
    try:
        async with aiohttp.ClientSession(service.url) as session:
            first = await job(session, await post(session, 1), "succeeded", "failed")
            async with session.get(f"/jobs/{first['id']}/prompt") as answer:
                graph = await answer.json()
            sampler = next(node for node in graph.values() if "steps" in node["inputs"])
            sampler["inputs"] |= {"steps": 1000, "seed": 99}
            await asyncio.to_thread(comfyui.call, "/prompt", {"prompt": graph})
            jobs = [await post(session, seed) for seed in (2, 3)]
            ends = [await job(session, job_id, "succeeded", "failed") for job_id in jobs]
        assert [(end["state"], end["attempt"]) for end in ends] == [("succeeded", 1)] * 2
        assert len(comfyui.call("/queue")["queue_running"]) == 1, "the stranger's goes on"
    finally:
        await asyncio.to_thread(comfyui.call, "/interrupt", {})
        await service.kill()
