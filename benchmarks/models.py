"""How fast a model comes to the shelf, beside `curl | sha256sum`, and what a model that is there adds to a job.

python -m benchmarks.models [--megabytes 1000] [--rounds 5]

Both downloads are of the same file from the same stand-in for Civitai in a process of its own, in turns, on loopback;
the service's also goes to the disk, is read for its structure, and is flushed. The figure is the ratio of the medians.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.report import figure
from orchestrator.models.client import CivitaiClient
from orchestrator.models.download import Downloader
from orchestrator.models.finder import ModelFinder, Supply
from orchestrator.models.look import Looker
from orchestrator.models.room import Room
from orchestrator.models.shelf import Shelf
from tests.fakes.civitai import FakeCivitai, Fixture, model_file, shapes_json
from tests.integration.models import SD15

_VERSION = 64094
_LOOKUPS = 300
_FAMILIES = ("sd15", "sdxl")


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.serve:
        await _serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        await asyncio.to_thread(_write_model, file, options.megabytes * 1_000_000)
        async with _standing_in(file) as (url, cdn):
            await _measure(Path(folder), file, url, cdn, options.rounds)


async def _measure(folder: Path, file: Path, url: str, cdn: str, rounds: int) -> None:
    signed = await _signed(url)
    ours, plain = [], []
    for number in range(rounds + 1):
        took_plain = await _timed(lambda: _curl(signed))
        root = folder / f"shelf{number}"
        async with _finder(root, url, cdn) as finder:
            took_ours = await _timed(lambda finder=finder: _fetch(finder))  # type: ignore[misc]
        if number:  # the first round warms the page cache
            ours.append(took_ours)
            plain.append(took_plain)
        if number < rounds:
            next(root.rglob("*.safetensors")).unlink()
    size = (await asyncio.to_thread(file.stat)).st_size
    about = {"megabytes": size // 1_000_000}
    figure("model download", size / statistics.median(ours) / 1e6, "MB/s", rounds, **about)
    figure("curl | sha256sum", size / statistics.median(plain) / 1e6, "MB/s", rounds, **about)
    figure("model download / curl | sha256sum", statistics.median(plain) / statistics.median(ours), "ratio", rounds)
    await _measure_lookups(folder / f"shelf{rounds}", url, cdn)


async def _measure_lookups(root: Path, url: str, cdn: str) -> None:
    """Resolve, header check, pin and release of a model on the shelf, as each job does it."""
    async with _finder(root, url, cdn) as finder:
        took = [1000 * await _timed(lambda: _fetch(finder)) for _ in range(_LOOKUPS)]
    figure("model on the shelf, median", statistics.median(took), "ms", _LOOKUPS)
    figure("model on the shelf, 99th percentile", statistics.quantiles(took, n=100)[98], "ms", _LOOKUPS)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def _fetch(finder: ModelFinder) -> None:
    found = await finder.checkpoint(str(_VERSION), "model", _FAMILIES)
    async with finder.hold([found], lambda _: None):
        pass


async def _curl(url: str) -> None:
    process = await asyncio.create_subprocess_shell(f"curl -s '{url}' | sha256sum", stdout=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise RuntimeError("curl | sha256sum failed; both are needed")


async def _signed(url: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/download/models/{_VERSION}", allow_redirects=False) as answer,
    ):
        return answer.headers["Location"]


@asynccontextmanager
async def _finder(root: Path, url: str, cdn: str) -> AsyncIterator[ModelFinder]:
    shelf = Shelf(root)
    async with CivitaiClient(url, [url, cdn]) as client:
        downloader = Downloader(client, shelf, Room(root, 10**12, 0), source=url)
        yield ModelFinder(shelf, None, Supply(client, Looker(client), downloader))


@asynccontextmanager
async def _standing_in(file: Path) -> AsyncIterator[tuple[str, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.models", "--serve", str(file), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        url, cdn = json.loads(await process.stdout.readline())
        yield url, cdn
    finally:
        process.terminate()
        await process.wait()


async def _serve(file: Path) -> None:
    body = await asyncio.to_thread(file.read_bytes)
    fixture = Fixture(_VERSION, body, path=file)
    # Told once: the hash of so much takes as long as a download.
    facts = await asyncio.to_thread(lambda: fixture.file)
    fixture.file_facts = facts
    fixture.body = body[:1]
    async with FakeCivitai(fixture) as fake:
        print(json.dumps([fake.url, fake.cdn_url]), flush=True)
        await asyncio.Event().wait()


def _write_model(path: Path, size: int) -> None:
    shapes = {**SD15, "filling": [size]}
    text, _ = shapes_json(shapes)
    start = model_file(SD15)[-sum(map(_count, SD15.values())) :]
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + start)
        block = bytes(range(256)) * 4096
        for at in range(0, size, len(block)):
            file.write(block[: size - at])


def _count(shape: list[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


if __name__ == "__main__":
    asyncio.run(main())
