"""The demo, as `make demo` runs it: a sample repainted by HTTP, before, mask and after side by side."""

from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from orchestrator.api.problems import problem
from orchestrator.demo.run import run
from orchestrator.errors import OrchestratorError


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
