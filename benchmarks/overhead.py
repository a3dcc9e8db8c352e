"""What the service adds to a job: request in to link out, against a backend that answers at once.

Service and backend are processes of their own, as in production. The backend (`tests/fakes`) needs no time for a job,
so what a caller waits less the stages `queue` (two uploads and the graph sent, where a backend is free) and `run` (its
messages and reads, the result) is overhead: parsing, decoding and encoding a 512x512 picture and its mask, compiling,
keeping the job, the image. Every job has a picture of its own, so nothing is saved by caching.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image

from benchmarks.backends import fake_backends
from benchmarks.report import figure
from benchmarks.service import serving
from tests.integration.models import SD15, write_header
from tests.integration.pictures import box_mask, text, values

_SIDE = 512
_JOBS = 200


def bodies_of(jobs: int) -> list[dict[str, object]]:
    """One request for each job, each with a picture like a photograph: smooth, with grain."""
    draw = np.random.default_rng(1)
    mask = text(box_mask((_SIDE, _SIDE), 100))
    bodies: list[dict[str, object]] = []
    for seed in range(jobs):
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
            (_SIDE, _SIDE), Image.Resampling.BICUBIC
        )
        grain = draw.integers(0, 8, (_SIDE, _SIDE, 3), dtype=np.uint8)
        picture = Image.fromarray(np.asarray(coarse) // 2 + grain)
        bodies.append(values(image=text(picture), mask=mask, seed=seed))
    return bodies


Stages = dict[str, list[float]]
"""Name of a stage to its seconds in each job; "whole" is the caller's wait, "own" that less the sending and run."""


async def _run(session: aiohttp.ClientSession, bodies: Sequence[dict[str, object]], callers: int) -> Stages:
    """What each job took, with so many callers at once."""
    waiting = list(bodies)
    stages: Stages = {}

    async def call() -> None:
        while waiting:
            body = waiting.pop()
            started = time.perf_counter()
            async with session.post("/widgets/inpaint", json=body) as answer:
                if answer.status != 200:
                    raise RuntimeError(await answer.text())
                await answer.read()
                timing = answer.headers["Server-Timing"]
            whole = time.perf_counter() - started
            laps = {stage: float(spent) / 1000 for stage, spent in (part.split(";dur=") for part in timing.split(", "))}
            for stage, seconds in {"whole": whole, "own": whole - laps["queue"] - laps["run"], **laps}.items():
                stages.setdefault(stage, []).append(seconds)

    await asyncio.gather(*(call() for _ in range(callers)))
    return stages


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_header(data / "models" / "checkpoints" / "demo.safetensors", SD15)
        async with fake_backends(1) as backends:
            config = data / "config.yaml"
            config.write_text(f"backends: [{{url: '{backends.urls[0]}'}}]\ndisk_floor_gb: 0\n")
            async with serving(data, "--config", str(config)) as session:
                bodies = bodies_of(_JOBS)
                await _run(session, bodies[:10], 1)
                for callers in (1, 32):
                    await _measure(session, bodies, callers)


async def _measure(session: aiohttp.ClientSession, bodies: Sequence[dict[str, object]], callers: int) -> None:
    started = time.perf_counter()
    stages = await _run(session, bodies, callers)
    wall = time.perf_counter() - started
    seconds = sorted(stages.pop("own"))
    jobs, conditions = len(seconds), {"callers": callers, "picture": f"{_SIDE}x{_SIDE}", "backend": "answers at once"}
    figure("overhead_p50", 1000 * statistics.median(seconds), "ms", jobs, **conditions)
    figure("overhead_p99", 1000 * seconds[int(0.99 * jobs)], "ms", jobs, **conditions)
    figure("overhead_jobs_per_second", jobs / wall, "1/s", jobs, **conditions)
    for stage, durations in stages.items():
        figure(f"overhead_{stage}_p50", 1000 * statistics.median(durations), "ms", jobs, **conditions)


if __name__ == "__main__":
    asyncio.run(main())
