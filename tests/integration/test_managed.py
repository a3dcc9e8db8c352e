"""A ComfyUI that the service starts itself: a fake as a process of its own, killed and failing on cue."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings import ManagedBackend
from tests.fakes.checkout import fake_checkout, lives
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png, values
from tests.integration.services import Client, Service

ASYNC = {"Prefer": "respond-async"}


def managed(folder: Path, **more: object) -> list[dict[str, object]]:
    return [{"kind": "managed", "folder": str(folder), "python": sys.executable, "name": "gpu0"} | more]


async def post(client: Client) -> str:
    async with client.post("/widgets/inpaint", json=values(), headers=ASYNC) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def state(client: Client, job_id: str, *wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            async with client.get(f"/jobs/{job_id}") as answer:
                job: dict[str, Any] = await answer.json()
            if job["state"] in wanted:
                return job
            await asyncio.sleep(0.05)


async def up(client: Client) -> Client:
    async with asyncio.timeout(60):
        while (await client.get("/readyz")).status != 200:
            await asyncio.sleep(0.05)
    return client


async def backend(client: Client) -> dict[str, Any]:
    async with client.get("/backends") as answer:
        [told] = (await answer.json())["backends"]
        return told


async def test_a_managed_backend_is_started_with_a_device_and_folders_of_its_own_and_runs_a_job(
    tmp_path: Path, start: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = fake_checkout(tmp_path / "ComfyUI", png(plain()))
    (tmp_path / "backends" / "gpu0" / "output").mkdir(parents=True)
    (tmp_path / "backends" / "gpu0" / "output" / "old.png").write_bytes(b"left by an earlier life")
    client = await up(await start("", backends=managed(folder, device=1, arguments=["--lowvram"])))
    job = await state(client, await post(client), "succeeded", "failed")
    assert job["state"] == "succeeded"
    [command] = lives(folder)
    home = tmp_path / "backends" / "gpu0"
    assert command[command.index("--cuda-device") + 1] == "1"
    assert command[command.index("--output-directory") + 1] == str(home / "output")
    assert command[-1] == "--lowvram"
    paths = json.loads(Path(command[command.index("--extra-model-paths-config") + 1]).read_text())
    assert paths["shelf"]["base_path"] == str(tmp_path / "models")
    assert paths["packs"]["custom_nodes"] == "comfyui_nodes"
    assert not list((home / "output").iterdir())
    told = await backend(client)
    assert (told["state"], told["kind"], told["starts"]) == ("ready", "managed", 1)
    said = [record for record in caplog.records if record.name == "orchestrator.backend.gpu0"]
    assert ("WARNING", "WARNING: this is a fake") in [(record.levelname, record.getMessage()) for record in said]


async def test_nothing_is_warned_of_while_a_backend_is_only_being_started(
    tmp_path: Path, start: Service, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fake_checkout(tmp_path / "ComfyUI", png(plain()))
    await up(await start("", backends=managed(folder)))
    warned = [r.getMessage() for r in caplog.records if r.levelno >= 30 and r.name.startswith("orchestrator.comfy")]
    assert not warned


async def test_a_killed_process_comes_back_and_its_job_is_run_again(tmp_path: Path, start: Service) -> None:
    folder = fake_checkout(tmp_path / "ComfyUI", png(plain()), run_seconds=1.5)
    client = await up(await start("", backends=managed(folder)))
    job_id = await post(client)
    async with asyncio.timeout(30):
        while job_id not in (await backend(client))["running"]:
            await asyncio.sleep(0.02)
    os.kill((await backend(client))["pid"], signal.SIGKILL)
    job = await state(client, job_id, "succeeded", "failed")
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    told = await backend(client)
    assert told["starts"] == 2
    assert told["jobs"]["lost"] == 1


async def test_a_failed_device_quarantines_its_backend_which_is_started_anew_and_the_job_run_again(
    tmp_path: Path, start: Service
) -> None:
    folder = fake_checkout(
        tmp_path / "ComfyUI",
        png(plain()),
        faulty_lives=1,
        raise_in="A1111Sampler",
        raised=["RuntimeError", "CUDA error: an illegal memory access was encountered"],
    )
    client = await up(await start("", backends=managed(folder)))
    job = await state(client, await post(client), "succeeded", "failed")
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    told = await backend(client)
    assert told["starts"] == 2
    assert "illegal memory access" in told["last_failure"]


async def test_a_stranger_on_the_port_of_a_managed_backend_gets_no_job(tmp_path: Path, start: Service) -> None:
    folder = fake_checkout(tmp_path / "ComfyUI", png(plain()))
    async with FakeComfyUI() as stranger:
        client = await start("", backends=managed(folder, port=stranger.port))
        async with asyncio.timeout(10):
            while "cannot be had" not in (told := await backend(client))["reason"]:
                await asyncio.sleep(0.05)
        assert (told["state"], told["starts"]) == ("starting", 0)
        assert (await client.get("/readyz")).status == 503
        assert not stranger.seen
    await state(await up(client), await post(client), "succeeded")


async def test_a_restart_of_the_service_is_no_loss_of_a_job_at_a_backend_that_ends_with_it(
    tmp_path: Path, start: Service
) -> None:
    folder = fake_checkout(tmp_path / "ComfyUI", png(plain()), run_seconds=4)
    client = await up(await start("", backends=managed(folder)))
    job_ids = [await post(client), await post(client)]
    for _ in range(3):
        async with asyncio.timeout(30):
            while job_ids[0] not in (await backend(client))["running"]:
                await asyncio.sleep(0.02)
        await client.close()
        client = await up(await start("", backends=managed(folder)))
    for job_id in job_ids:
        job = await state(client, job_id, "succeeded", "failed")
        assert (job["state"], job["attempt"]) == ("succeeded", 1)


async def test_the_process_ends_with_the_service(tmp_path: Path, start: Service) -> None:
    folder = fake_checkout(tmp_path / "ComfyUI", png(plain()))
    client = await up(await start("", backends=managed(folder)))
    pid = (await backend(client))["pid"]
    await client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_names_follow_from_the_device() -> None:
    assert ManagedBackend(kind="managed", device=2).called == "comfyui-2"
    assert ManagedBackend(kind="managed", device="cpu").called == "comfyui-cpu"
