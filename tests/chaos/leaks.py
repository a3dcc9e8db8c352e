"""What a service holds on to: tasks and open files while nothing is done, and pictures of jobs that have ended."""

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from tests.chaos.service import Service

_SETTLE_SECONDS = 60.0
"""Idle connections to a backend are kept for 15 s, and a socket that was cut is opened again with a pause."""
_SPARE_FILES = 4
"""A connection to a backend that is opened now and then."""


@dataclass(frozen=True)
class Held:
    """By a service at one moment: its tasks and its open files, by kind."""

    tasks: Counter[str]
    files: Counter[str]


async def held_when_ready(service: Service) -> Held:
    """As soon as all backends are connected and before the first job."""
    async with asyncio.timeout(60), aiohttp.ClientSession(service.url) as session:
        while True:
            async with session.get("/readyz") as answer:
                if all(backend["state"] == "ready" for backend in (await answer.json())["backends"]):
                    break
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    return Held(await service.tasks(), service.open_files)


async def count_files(service: Service, counts: list[int]) -> None:
    """Counts the open files every second, until it is cancelled."""
    while True:
        with suppress(OSError):  # while it is killed and started again
            counts.append(service.open_files.total())
        await asyncio.sleep(1)


async def leaked(service: Service, at_first: Held, counts: list[int]) -> list[str]:
    """What a service that has nothing to do holds on to and did not hold before its first job; adds its last count."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        tasks = await service.tasks() - at_first.tasks
        files = service.open_files
        counts.append(files.total())
        if not tasks and files.total() <= at_first.files.total() + _SPARE_FILES:
            return []
        if time.monotonic() > deadline:
            return [f"tasks were left: {dict(tasks)}; open files: {dict(files)}, before {dict(at_first.files)}"]
        await asyncio.sleep(0.5)


async def inputs_left(service: Service) -> tuple[int, list[str]]:
    """How many jobs' pictures a kill left behind, and what is wrong with that: nothing if the next start sweeps them.

    A service may be killed between a job's end and the deletion of its pictures, or before the job is kept. They go
    when they are a minute old; for that they are made old here.
    """
    folder = service.data / "inputs"
    files = list(folder.glob("*"))
    left = {path.name.partition(".")[0] for path in files}
    for path in files:
        os.utime(path, (0, 0))
    await service.kill()
    await service.start()
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        if not list(folder.glob("*")):
            return len(left), []
        await asyncio.sleep(0.1)
    return len(left), [f"{len(left)} jobs' inputs were left, and not swept"]
