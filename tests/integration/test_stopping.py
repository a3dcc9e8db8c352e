"""The service as a process that is told to stop, as its supervisor does it."""

import asyncio
import signal
from pathlib import Path

import aiohttp

from tests.chaos.service import Service
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png, values


async def test_sigterm_tells_who_waits_and_the_next_start_ends_the_job(tmp_path: Path) -> None:
    async with FakeComfyUI(result_png=png(plain()), run_seconds=3.0) as backend:
        service = Service(tmp_path, [backend.url], 20)
        await service.start()
        try:
            async with aiohttp.ClientSession(service.url) as session:
                async with asyncio.timeout(60):
                    while (await session.get("/readyz")).status != 200:
                        await asyncio.sleep(0.05)
                waiting = asyncio.create_task(session.post("/widgets/inpaint", json=values()))
                async with asyncio.timeout(60):
                    while not backend.prompts:
                        await asyncio.sleep(0.02)
                await service.stop(signal.SIGTERM)
                answer = await waiting
                assert answer.status == 503
                job_id = answer.headers["Location"].rsplit("/", 1)[1]
            await service.start()
            async with asyncio.timeout(60), aiohttp.ClientSession(service.url) as session:
                while (job := await (await session.get(f"/jobs/{job_id}")).json())["state"] != "succeeded":
                    assert job["state"] in ("queued", "running"), job
                    await asyncio.sleep(0.05)
            assert len(backend.prompts) == 1
        finally:
            await service.kill()
