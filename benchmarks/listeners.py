"""Five hundred listeners to server-sent events: all to one job that runs, and each to a job of its own that waits.

python -m benchmarks.listeners [--listeners 500]

To one job: from the moment at which the job ends at its backend until the last listener has been told, and how far the
listeners are apart in hearing of each step. To jobs that wait: what telling them their places costs the processor.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks.backends import Backends, fake_backends
from benchmarks.report import figure
from benchmarks.service import Serving, started
from tests.integration.models import SD15, write_header
from tests.integration.services import told

_STEPS = 20
_WATCHED_SECONDS = 10.0
_HEADERS = {"Prefer": "respond-async"}


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=500)
    count = parser.parse_args().listeners
    async with _service(run_seconds=4.0, limit=count + 10) as (service, backends):
        await _one_job(service, backends, count)
    async with _service(run_seconds=3600.0, limit=count + 10) as (service, _):
        await _many_jobs(service, count)


@asynccontextmanager
async def _service(run_seconds: float, limit: int) -> AsyncIterator[tuple[Serving, Backends]]:
    async with AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_header(data / "models" / "checkpoints" / "demo.safetensors", SD15)
        backends = await stack.enter_async_context(fake_backends(1, run_seconds, _STEPS))
        config = {"backends": [{"url": backends.urls[0]}], "disk_floor_gb": 0, "queue_limit": limit}
        (data / "config.yaml").write_text(json.dumps(config))
        yield await stack.enter_async_context(started(data, "--config", str(data / "config.yaml"))), backends


async def _one_job(service: Serving, backends: Backends, count: int) -> None:
    job = await _post(service, 0)
    memory, processor = service.memory, service.processor_seconds
    heard: dict[int, list[float]] = defaultdict(list)
    ends: list[float] = []

    async def listen() -> None:
        async with service.session.get(f"/jobs/{job}/events") as answer:
            async for event in told(answer):
                heard[event.number].append(time.monotonic())
                if event.kind == "succeeded":
                    ends.append(time.monotonic())

    await asyncio.gather(*(listen() for _ in range(count)))
    used, grown = service.processor_seconds - processor, service.memory - memory
    (span,) = (await backends.stop())[0]
    spreads = [max(times) - min(times) for times in heard.values() if len(times) == count and min(times) > span[0]]
    if len(ends) != count:
        raise RuntimeError(f"{len(ends)} of {count} listeners heard the end")
    about = {"listeners": count, "jobs": 1, "steps": _STEPS}
    figure("listeners_last_hears_the_end", 1000 * (max(ends) - span[1]), "ms", count, **about)
    figure("listeners_first_to_last_p50", 1000 * statistics.median(spreads), "ms", len(spreads), **about)
    figure("listeners_first_to_last_max", 1000 * max(spreads), "ms", len(spreads), **about)
    figure("listeners_memory", grown / count, "bytes", count, **about)
    figure("listeners_processor_per_event", 1e6 * used / sum(map(len, heard.values())), "us", count, **about)


async def _many_jobs(service: Serving, count: int) -> None:
    jobs = [await _post(service, number) for number in range(count)]
    memory = service.memory
    listening = asyncio.gather(*(_count(service, job) for job in jobs))
    await asyncio.sleep(2)
    processor, looks = service.processor_seconds, await _looks(service, jobs)
    used = service.processor_seconds - processor
    about = {"listeners": count, "jobs": count}
    figure("listeners_waiting_processor", 100 * used / _WATCHED_SECONDS, "% of a core", count, **about)
    figure("listeners_waiting_memory", (service.memory - memory) / count, "bytes", count, **about)
    figure("listeners_waiting_look_p50", 1000 * statistics.median(looks), "ms", len(looks), **about)
    figure("listeners_waiting_look_max", 1000 * max(looks), "ms", len(looks), **about)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def _looks(service: Serving, jobs: Sequence[str]) -> list[float]:
    """How long a look at a job takes meanwhile, over the time that is watched."""
    seconds: list[float] = []
    end = time.monotonic() + _WATCHED_SECONDS
    while time.monotonic() < end:
        began = time.monotonic()
        async with service.session.get(f"/jobs/{jobs[len(seconds) % len(jobs)]}") as answer:
            await answer.read()
        seconds.append(time.monotonic() - began)
        await asyncio.sleep(0.1)
    return seconds


async def _count(service: Serving, job: str) -> None:
    async with service.session.get(f"/jobs/{job}/events") as answer:
        async for _ in told(answer):
            pass


async def _post(service: Serving, number: int) -> str:
    body = {"model": "demo", "prompt": "a red heart", "seed": number}
    async with service.session.post("/widgets/txt2img", json=body, headers=_HEADERS) as answer:
        told = await answer.json()
        if answer.status != 202:
            raise RuntimeError(str(told))
    return str(told["id"])


if __name__ == "__main__":
    asyncio.run(main())
