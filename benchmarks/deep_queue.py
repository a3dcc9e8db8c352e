"""Ten thousand jobs that wait: what each costs in memory and on the disk, and how long the last takes to be accepted.

python -m benchmarks.deep_queue [--jobs 10000]

The one backend is busy for as long as it lasts. Jobs are text-to-image, sent without waiting (`respond-async`) by eight
callers. The figures of the first and of the last hundred jobs are told side by side: what grows with the queue shows.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.backends import fake_backends
from benchmarks.report import figure
from benchmarks.service import Serving, started
from tests.integration.models import SD15, write_header

_CALLERS = 8
_SAMPLE = 100
_HEADERS = {"Prefer": "respond-async"}


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_header(data / "models" / "checkpoints" / "demo.safetensors", SD15)
        async with fake_backends(1, run_seconds=3600) as backends:
            config = {"backends": [{"url": backends.urls[0]}], "disk_floor_gb": 0, "queue_limit": jobs + 10}
            (data / "config.yaml").write_text(json.dumps(config))
            async with started(data, "--config", str(data / "config.yaml")) as service:
                await _measure(service, jobs, data)


async def _measure(service: Serving, jobs: int, data: Path) -> None:
    for number in range(_SAMPLE):  # so that what is loaded once is loaded
        await _post(service, number)
    memory, processor, began = service.memory, service.processor_seconds, time.perf_counter()
    disk = _size(data)
    numbers = iter(range(_SAMPLE, jobs))
    told: list[tuple[float, str]] = []

    async def call() -> None:
        while (number := next(numbers, None)) is not None:
            told.append(await _post(service, number))

    await asyncio.gather(*(call() for _ in range(_CALLERS)))
    count, wall = len(told), time.perf_counter() - began
    about = {"callers": _CALLERS, "queue": jobs}
    figure("deep_queue_memory_per_job", (service.memory - memory) / count, "bytes", count, **about)
    figure("deep_queue_disk_per_job", (_size(data) - disk) / count, "bytes", count, **about)
    figure("deep_queue_accepted_per_second", count / wall, "1/s", count, **about)
    figure("deep_queue_processor_per_job", 1000 * (service.processor_seconds - processor) / count, "ms", count, **about)
    for name, part in (("first", told[:_SAMPLE]), ("last", told[-_SAMPLE:])):
        accept = 1000 * statistics.median(seconds for seconds, _ in part)
        figure(f"deep_queue_accept_{name}_p50", accept, "ms", len(part), **about)
        looks = [await _look(service, job_id) for _, job_id in part]
        figure(f"deep_queue_look_{name}_p50", 1000 * statistics.median(looks), "ms", len(looks), **about)
    figure("deep_queue_accept_max", 1000 * max(seconds for seconds, _ in told), "ms", count, **about)


async def _post(service: Serving, number: int) -> tuple[float, str]:
    """How long the job took to be accepted, and its id."""
    body = {"model": "demo", "prompt": "a red heart", "seed": number}
    began = time.perf_counter()
    async with service.session.post("/widgets/txt2img", json=body, headers=_HEADERS) as answer:
        told = await answer.json()
        if answer.status != 202:
            raise RuntimeError(str(told))
    return time.perf_counter() - began, str(told["id"])


async def _look(service: Serving, job_id: str) -> float:
    """How long it took to tell a job's place."""
    began = time.perf_counter()
    async with service.session.get(f"/jobs/{job_id}") as answer:
        await answer.read()
    return time.perf_counter() - began


def _size(data: Path) -> int:
    return sum(path.stat().st_size for path in data.glob("jobs.sqlite*"))


if __name__ == "__main__":
    asyncio.run(main())
