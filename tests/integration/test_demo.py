"""The demo, as `make demo` runs it: a sample repainted by HTTP, before, mask and after side by side."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from orchestrator.api.problems import problem
from orchestrator.cli import main
from orchestrator.demo.run import run
from orchestrator.errors import OrchestratorError
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png, values
from tests.integration.services import Service, ready


async def test_the_demo_shows_before_mask_and_after(
    service_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "result.png"
    await run(service_url, output)
    printed = capsys.readouterr().out
    assert f"{service_url}/images/" in printed
    assert all(stage in printed for stage in ("pictures", "compile", "queue", "run", "store"))
    row = np.asarray(Image.open(output)).astype(int)
    width = (row.shape[1] - 32) // 3
    before, mask, after = (row[:, start : start + width] for start in range(0, row.shape[1], width + 16))
    repainted = mask[..., 0] > 127
    assert abs(after - before)[~repainted].mean() < 2  # a JPEG on either side
    assert abs(after - before)[repainted].mean() > 40
    middle = after[after.shape[0] // 2 - 8 :, width // 2 - 8 :][:16, :16].mean((0, 1))
    assert middle[0] > 2 * max(middle[1:])  # the middle of a red heart


async def test_a_refusal_ends_the_demo_with_the_services_own_words(tmp_path: Path) -> None:
    async def ready(request: web.Request) -> web.Response:
        return web.json_response({})

    async def refuse(request: web.Request) -> web.Response:
        return problem(507, "storage_full", "The image store is full.")

    app = web.Application()
    app.add_routes([web.get("/readyz", ready), web.post("/widgets/inpaint", refuse)])
    async with TestServer(app) as server:
        with pytest.raises(OrchestratorError, match="The image store is full"):
            await run(str(server.make_url("")), tmp_path / "result.png")
    assert not (tmp_path / "result.png").exists()


async def test_the_demo_runs_beside_a_service_whose_jobs_it_leaves_alone_and_whose_models_it_finds(
    start: Service, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    async with FakeComfyUI(run_seconds=30) as busy, FakeComfyUI(result_png=png(plain())) as free:
        client = await ready(await start(busy.url))
        async with client.post("/widgets/inpaint", json=values(), headers={"Prefer": "respond-async"}) as answer:
            job_id = (await answer.json())["id"]
        config.write_text(json.dumps({"backends": [{"url": free.url}], "api_keys": "required", "civitai_url": ""}))
        command = ["demo", "--config", str(config), "--data", str(tmp_path), "--output", str(tmp_path / "result.png")]
        assert await asyncio.to_thread(main, command) == 0
        assert len(free.prompts) == 1
        assert await asyncio.to_thread(main, command) == 0
        async with client.get(f"/jobs/{job_id}") as answer:
            job = await answer.json()
        assert (job["state"], job["attempt"]) == ("running", 1)
    assert (tmp_path / "demo" / "models").samefile(tmp_path / "models")
    assert (tmp_path / "result.png").is_file()
