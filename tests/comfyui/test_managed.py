"""A real ComfyUI that the service starts itself: a job, a kill in mid-sampling, and what then lies on its disk."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.comfy.client import BackendClient
from orchestrator.comfy.results import KEPT_RESULTS
from orchestrator.comfy.uploads import KEPT_SLOTS
from tests.chaos.service import Service
from tests.comfyui.backends import comfyui_arguments, started
from tests.comfyui.test_lasting import has_its_image, job, post
from tests.integration.pictures import box_mask, plain, text, values
from tests.unit.comfy.test_disk import JOBS, run_many

pytestmark = pytest.mark.comfyui


@pytest.fixture
async def service(comfyui_installation: tuple[str, str], models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    place, python = comfyui_installation
    served = Service(tmp_path, [], 20, models)
    backend = {"kind": "managed", "folder": place, "python": python, "device": "cpu", "name": "real"}
    config = {"backends": [backend | {"arguments": ["--disable-api-nodes"]}], "disk_floor_gb": 0, "civitai_url": ""}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    await served.start()
    try:
        yield served
    finally:
        await served.kill()


async def backend_of(session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get("/backends") as answer:
        [told] = (await answer.json())["backends"]
        return dict(told)


async def ready(session: aiohttp.ClientSession) -> dict[str, Any]:
    async with asyncio.timeout(180):
        while (told := await backend_of(session))["state"] != "ready" or not told["devices"]:
            await asyncio.sleep(0.2)
        return told


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_runs_jobs_and_comes_back_when_it_is_killed_in_mid_sampling_and_ends_with_a_killed_service(
    service: Service,
) -> None:
    async with aiohttp.ClientSession(service.url) as session:
        told = await ready(session)
        assert (told["kind"], told["comfyui_version"], told["lacks"]) == ("managed", "0.3.64", {})
        assert told["devices"][0]["type"] == "cpu"
        first = await post(session, 1)
        assert (await job(session, first, "succeeded", "failed"))["attempt"] == 1
        second = await post(session, 2)
        await job(session, second, "running")
        os.kill(told["pid"], signal.SIGKILL)
        end = await job(session, second, "succeeded", "failed")
        assert (end["state"], end["attempt"]) == ("succeeded", 2)
        assert await has_its_image(session, end)
        told = await backend_of(session)
        assert told["starts"] == 2
    await service.kill()
    async with asyncio.timeout(30):
        while is_running(told["pid"]):
            await asyncio.sleep(0.05)


async def test_fifty_jobs_leave_a_bounded_number_of_files(service: Service, tmp_path: Path) -> None:
    home = tmp_path / "backends" / "real"
    async with aiohttp.ClientSession(service.url) as session:
        await ready(session)

        async def paint(number: int) -> str:
            picture = text(plain((number, 255 - number, 7), (64, 64)))
            mask = text(box_mask((64, 64), margin=number % 16))
            async with session.post("/widgets/inpaint", json=values(image=picture, mask=mask, steps=1)) as answer:
                assert answer.status == 200, await answer.text()
                return str((await answer.json())["url"])

        for start in range(0, 50, 10):
            await asyncio.gather(*(paint(number) for number in range(start, start + 10)))
        assert (await backend_of(session))["deletes_results"] is True
        assert (await backend_of(session))["jobs"]["done"] == 50
    async with asyncio.timeout(30):
        while len(left := [file for name in ("input", "output", "temp") for file in files(home / name)]) > 34:
            await asyncio.sleep(0.1)
    sent = [file for file in left if file.suffix == ".png" and file.name.startswith(("0", "1")) and len(file.name) == 6]
    assert 2 <= len(sent) <= 16
    assert len(left) - len(sent) <= 16 + 2


@pytest.mark.parametrize("last", ["A1111TemporaryImage", "SaveImage"])
async def test_a_thousand_jobs_leave_a_bounded_number_of_files(
    last: str, comfyui_installation: tuple[str, str], models: Path, tmp_path: Path
) -> None:
    place, python = comfyui_installation
    with started(comfyui_arguments(python, models, tmp_path), tmp_path, Path(place)) as backend:
        async with BackendClient(backend.url, name="real") as client:
            most = await run_many(client, JOBS, last, tmp_path)
        assert 0 < most <= KEPT_SLOTS + KEPT_RESULTS + 4
        left = [file for name in ("input", "output", "temp") for file in files(tmp_path / name)]
        assert len(left) <= KEPT_SLOTS


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]
