"""Asks the service for one picture, shows how far it is, and puts before, mask and after side by side.

A caller like any other: it is handed an address, posts a job without waiting, and listens to the job's events.
"""

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image
from tqdm import tqdm

from orchestrator.errors import BackendError, OrchestratorError

VALUES: Mapping[str, str] = {
    "model": "demo",
    "prompt": "a red heart",
    "inpainting_fill": "2",
    "denoising_strength": "1",
    "seed": "5",
}
"""What is asked for; all else is the widget's defaults."""

Told = dict[str, Any]
"""A job as the service tells it, decoded JSON."""

_START_SECONDS = 180.0
_RUN_SECONDS = 300.0
_LOOK_SECONDS = 0.1
_SCALE, _GAP = 2, 16


async def run(url: str, output: Path) -> None:
    """Writes `output` (a PNG) and prints the link and the time of each stage; `url` is where the service listens.

    Raises BackendError if no backend is ready within three minutes, OrchestratorError if the service refuses.
    """
    picture, mask = _sample("sample.jpg"), _sample("mask.png")
    timeout = aiohttp.ClientTimeout(total=_RUN_SECONDS)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        print("starting the backend (the first time it also writes the demo model's files)", flush=True)
        await _wait_until_ready(session)
        job = await _submit(session, picture, mask)
        ended = await _show_progress(session, f"/jobs/{job['id']}/events")
        if ended["state"] != "succeeded":
            raise OrchestratorError(f"The job {ended['state']}: {ended.get('detail', '')}")
        image = await _fetch(session, ended["url"])
    await asyncio.to_thread(_write_side_by_side, (picture, mask, image), output)
    for stage, seconds in ended["timings"].items():
        print(f"  {stage:<10}{seconds:7.3f} s")
    print(f"image  {ended['url']}\n       before, mask and after: {output}")


def _sample(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()


async def _wait_until_ready(session: aiohttp.ClientSession) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                async with session.get("/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        raise BackendError(f"No backend was ready within {_START_SECONDS:.0f} s; `make run` shows the log") from error


async def _submit(session: aiohttp.ClientSession, picture: bytes, mask: bytes) -> Told:
    form = aiohttp.FormData(VALUES)
    form.add_field("image", picture, filename="sample.jpg")
    form.add_field("mask", mask, filename="mask.png")
    async with session.post("/widgets/inpaint", data=form, headers={"Prefer": "respond-async"}) as answer:
        body: Told = await answer.json(content_type=None)
        if answer.status != 202:
            raise OrchestratorError(f"The service answered {answer.status}: {body['detail']} {body['errors'] or ''}")
        return body


async def _show_progress(session: aiohttp.ClientSession, events: str) -> Told:
    """A bar that follows the sampler's steps; answers the job as it ended."""
    kind, told, top = "", {}, 0
    with tqdm(desc=VALUES["prompt"], unit="step", bar_format="{desc} {bar} {n_fmt}/{total_fmt} {elapsed}") as bar:
        async with session.get(events) as answer:
            async for line in answer.content:
                name, _, text = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = text
                elif name == "data":
                    told = json.loads(text)
                if name == "data" and kind == "running" and told["steps"] > 1:
                    bar.total, bar.n, top = told["steps"], told["step"], told["steps"]
                    bar.refresh()
        if top and kind == "succeeded":
            bar.n = top
            bar.refresh()
    if kind not in ("succeeded", "failed", "cancelled"):
        raise OrchestratorError("The service ended the job's events before the job")
    return told


async def _fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as answer:
        if answer.status != 200:
            raise OrchestratorError(f"The image's link answered {answer.status}")
        return await answer.read()


def _write_side_by_side(files: Sequence[bytes], output: Path) -> None:
    """The pictures in a row, enlarged without smoothing, since the demo model paints in squares."""
    pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    width, height = (side * _SCALE for side in pictures[0].size)
    row = Image.new("RGB", (len(pictures) * (width + _GAP) - _GAP, height), "white")
    for place, picture in enumerate(pictures):
        row.paste(picture.resize((width, height), Image.Resampling.NEAREST), (place * (width + _GAP), 0))
    output.parent.mkdir(parents=True, exist_ok=True)
    row.save(output)
