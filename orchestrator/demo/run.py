"""Asks the service for one picture, shows how far it is, and puts before, mask and after side by side.

Must not know how the service runs a job: it is handed an address and a way to look at the unfinished jobs.
"""

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import aiohttp
from PIL import Image
from tqdm import tqdm

from orchestrator.errors import BackendError, OrchestratorError
from orchestrator.jobs.job import Job, Running

VALUES: Mapping[str, str] = {
    "model": "demo",
    "prompt": "a red heart",
    "inpainting_fill": "2",
    "denoising_strength": "1",
    "seed": "5",
}
"""What is asked for; all else is the widget's defaults."""

_START_SECONDS = 180.0
_RUN_SECONDS = 300.0
_LOOK_SECONDS = 0.1
_SCALE, _GAP = 2, 16


@dataclass(frozen=True)
class DemoService:
    """A running service: where it listens, and its unfinished jobs."""

    url: str
    jobs: Callable[[], Sequence[Job]]


@dataclass(frozen=True)
class _Painted:
    """What came back: the link, the image's file, and each stage with its milliseconds as `Server-Timing` tells it."""

    url: str
    image: bytes
    timing: str


async def run(service: DemoService, output: Path) -> None:
    """Writes `output` (a PNG) and prints the link and the time of each stage.

    Raises BackendError if no backend is ready within three minutes, OrchestratorError if the service refuses.
    """
    picture, mask = _sample("sample.jpg"), _sample("mask.png")
    timeout = aiohttp.ClientTimeout(total=_RUN_SECONDS)
    async with aiohttp.ClientSession(service.url, timeout=timeout) as session:
        print("starting the backend (the first time it also writes the demo model's files)", flush=True)
        await _wait_until_ready(session)
        painting = asyncio.create_task(_paint(session, picture, mask))
        await _show_progress(painting, service.jobs)
        painted = await painting
    await asyncio.to_thread(_write_side_by_side, (picture, mask, painted.image), output)
    for stage, milliseconds in (part.split(";dur=") for part in painted.timing.split(", ")):
        print(f"  {stage:<10}{float(milliseconds) / 1000:7.3f} s")
    print(f"image  {painted.url}\n       before, mask and after: {output}")


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


async def _show_progress(painting: "asyncio.Task[_Painted]", jobs: Callable[[], Sequence[Job]]) -> None:
    """A bar that follows the sampler's steps until the painting has ended, well or not."""
    with tqdm(desc=VALUES["prompt"], unit="step", bar_format="{desc} {bar} {n_fmt}/{total_fmt} {elapsed}") as bar:
        while not painting.done():
            for job in jobs():
                if isinstance(job.state, Running) and job.state.steps > 1:
                    bar.total, bar.n = job.state.steps, job.state.step
                    bar.refresh()
            await asyncio.wait({painting}, timeout=_LOOK_SECONDS)
        if bar.total and not painting.cancelled() and painting.exception() is None:
            bar.n = bar.total
            bar.refresh()


async def _paint(session: aiohttp.ClientSession, picture: bytes, mask: bytes) -> _Painted:
    form = aiohttp.FormData(VALUES)
    form.add_field("image", picture, filename="sample.jpg")
    form.add_field("mask", mask, filename="mask.png")
    async with session.post("/widgets/inpaint", data=form) as answer:
        body = await answer.json(content_type=None)
        if answer.status != 200:
            raise OrchestratorError(f"The service answered {answer.status}: {body['detail']} {body['errors'] or ''}")
        timing = answer.headers["Server-Timing"]
    async with session.get(body["url"]) as answer:
        if answer.status != 200:
            raise OrchestratorError(f"The image's link answered {answer.status}")
        return _Painted(body["url"], await answer.read(), timing)


def _write_side_by_side(files: Sequence[bytes], output: Path) -> None:
    """The pictures in a row, enlarged without smoothing, since the demo model paints in squares."""
    pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    width, height = (side * _SCALE for side in pictures[0].size)
    row = Image.new("RGB", (len(pictures) * (width + _GAP) - _GAP, height), "white")
    for place, picture in enumerate(pictures):
        row.paste(picture.resize((width, height), Image.Resampling.NEAREST), (place * (width + _GAP), 0))
    output.parent.mkdir(parents=True, exist_ok=True)
    row.save(output)
