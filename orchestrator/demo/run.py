"""Asks the service for one picture, shows how far it is, and puts before, mask and after side by side.

A caller like any other: it is handed an address, posts a job without waiting, and listens to the job's events.
"""

import asyncio
import io
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from importlib import resources
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from orchestrator.client import AsyncClient, Job, Running, Succeeded
from orchestrator.errors import SettingsError

VALUES: Mapping[str, str] = {
    "model": "demo",
    "prompt": "a red heart",
    "inpainting_fill": "2",
    "denoising_strength": "1",
    "seed": "5",
}
"""What is asked for; all else is the widget's defaults."""

_START_SECONDS = 180.0
_SCALE, _GAP = 2, 16


def folder_of(data: Path) -> Path:
    """The demo's own data folder in the operator's, since a service may be running on that; the models are the same.

    Raises SettingsError.
    """
    folder, shelf = data / "demo", data / "models"
    try:
        for path in (data, folder):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        shelf.mkdir(exist_ok=True)
        if not (folder / "models").is_symlink():
            (folder / "models").symlink_to(Path("..") / "models")
    except OSError as error:
        raise SettingsError(f"data: the folder {folder} cannot be used: {error.strerror or error}") from error
    return folder


async def run(url: str, output: Path) -> None:
    """Writes `output` (a PNG) and prints the link and the time of each stage; `url` is where the service listens.

    Raises NoBackend if no backend is ready within three minutes, OrchestratorError if the service refuses.
    """
    picture, mask = _sample("sample.jpg"), _sample("mask.png")
    async with AsyncClient(url) as client:
        print("starting the backend (the first time it also writes the demo model's files)", flush=True)
        await client.ready(_START_SECONDS)
        job = await client.submit("inpaint", {**VALUES, "image": picture, "mask": mask})
        await _show_progress(client, job)
        job = await client.wait(job)
        image = await client.download(job)
    await asyncio.to_thread(_write_side_by_side, (picture, mask, image), output)
    for stage, seconds in job.timings.items():
        print(f"  {stage:<10}{seconds:7.3f} s")
    link = job.state.url if isinstance(job.state, Succeeded) else ""
    print(f"image  {link}\n       before, mask and after: {output}")


def _sample(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()


async def _show_progress(client: AsyncClient, job: Job) -> None:
    """A bar that follows the sampler's steps."""
    with tqdm(desc=VALUES["prompt"], unit="step", bar_format="{desc} {bar} {n_fmt}/{total_fmt} {elapsed}") as bar:
        async with aclosing(client.progress(job)) as progress:
            async for told in progress:
                if isinstance(told, Running) and told.steps > 1:
                    bar.n, bar.total = told.step, told.steps
                elif isinstance(told, Succeeded):
                    bar.n = bar.total or 0
                bar.refresh()


def _write_side_by_side(files: Sequence[bytes], output: Path) -> None:
    """The pictures in a row, enlarged without smoothing, since the demo model paints in squares."""
    pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    width, height = (side * _SCALE for side in pictures[0].size)
    row = Image.new("RGB", (len(pictures) * (width + _GAP) - _GAP, height), "white")
    for place, picture in enumerate(pictures):
        row.paste(picture.resize((width, height), Image.Resampling.NEAREST), (place * (width + _GAP), 0))
    output.parent.mkdir(parents=True, exist_ok=True)
    row.save(output)
