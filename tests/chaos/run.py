"""One run: so many jobs over four fakes with random faults, the service killed and started again, then the reckoning.

python -m tests.chaos.run --seeds 20 --jobs 500        (one line of JSON a seed; the first one that is wrong ends it)
"""

import argparse
import asyncio
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from tests.chaos.leaks import count_files, held_when_ready, inputs_left, leaked
from tests.chaos.mischief import calm, colour_of, mischief, paint
from tests.chaos.service import Service
from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import values

_BACKENDS = 4
_CALLERS = 24
_ALLOWED_FAILURES = {"backend_lost", "job_interrupted"}
"""What the faults can do to a job: lost three times, or interrupted by somebody at the backend."""
_TERMINAL = ("succeeded", "failed", "cancelled")


@dataclass
class Outcome:
    """What became of the jobs of one seed; `wrong` is what should not have been."""

    seed: int
    jobs: int
    kills: int
    seconds: float = 0.0
    ends: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    runs: int = 0
    swept: int = 0
    """Jobs whose pictures a kill had left behind."""
    open_files: dict[str, int] = field(default_factory=dict)
    """Before the first job, at the most, and with nothing left to do."""
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Accepted:
    id: str
    seed: int


class _Caller:
    """Posts jobs and sees them to their ends, through whatever becomes of the service."""

    def __init__(self, session: aiohttp.ClientSession, draw: random.Random) -> None:
        self._session = session
        self._draw = draw
        self.accepted: list[_Accepted] = []
        self.ends: dict[str, dict[str, Any]] = {}

    async def job(self, number: int) -> None:
        body = {"model": "demo", "prompt": "a red heart", "seed": number, "steps": 2}
        widget = "txt2img"
        if self._draw.random() < 0.3:
            body, widget = values(seed=number), "inpaint"
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"job {number}", "Accept": "image/png"}
        told = await self._until_answered("POST", f"/widgets/{widget}", json=body, headers=headers)
        job = _Accepted(told["id"], number)
        self.accepted.append(job)
        if self._draw.random() < 0.1:
            await asyncio.sleep(self._draw.uniform(0, 0.5))
            await self._until_answered("DELETE", f"/jobs/{job.id}")
        while True:
            told = await self._until_answered("GET", f"/jobs/{job.id}")
            if told["state"] in _TERMINAL:
                self.ends[job.id] = told
                return
            await asyncio.sleep(self._draw.uniform(0.05, 0.3))

    async def _until_answered(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The answer, once the service is there and has room; 409 is an answer too."""
        while True:
            try:
                async with self._session.request(method, path, **more) as answer:
                    told: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status in (200, 202, 409):
                        return told
                    assert answer.status in (429, 503), (method, path, answer.status, told)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                pass
            await asyncio.sleep(0.2)


async def chaos(seed: int, jobs: int, kills: int, folder: Path) -> Outcome:
    """Runs it and reckons."""
    draw = random.Random(seed)
    outcome = Outcome(seed, jobs, kills)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        fakes = [
            await stack.enter_async_context(FakeComfyUI(paint=paint, run_seconds=draw.uniform(0.02, 0.2), steps=2))
            for _ in range(_BACKENDS)
        ]
        service = Service(folder, [fake.url for fake in fakes], queue_limit=max(20, jobs // 10))
        stack.push_async_callback(service.kill)
        await service.start()
        at_first = await held_when_ready(service)
        counts = [at_first.files.total()]
        counting = asyncio.create_task(count_files(service, counts))
        stack.callback(counting.cancel)
        async with aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(total=30)) as session:
            caller = _Caller(session, draw)
            async with asyncio.timeout(60 + jobs):
                await _run(caller, service, fakes, draw, outcome)
            await _reckon(caller, session, service, outcome)
        outcome.wrong += await leaked(service, at_first, counts)
        counting.cancel()
        outcome.open_files = {"first": counts[0], "most": max(counts), "last": counts[-1]}
        outcome.swept, wrong = await inputs_left(service)
        outcome.wrong += wrong
    outcome.runs = sum(len(fake.prompts) for fake in fakes)
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


async def _run(
    caller: _Caller, service: Service, fakes: list[FakeComfyUI], draw: random.Random, outcome: Outcome
) -> None:
    """Every job to its end, with faults until the service was killed so often and most of the jobs have ended."""
    waiting = list(range(outcome.jobs))

    async def call() -> None:
        while waiting:
            await caller.job(waiting.pop())

    over = asyncio.Event()
    trouble = asyncio.create_task(mischief(fakes, draw, over))
    callers = asyncio.gather(*(call() for _ in range(_CALLERS)))
    for kill in range(1, outcome.kills + 1):
        while len(caller.ends) < outcome.jobs * kill // (outcome.kills + 1) and not callers.done():
            await asyncio.sleep(0.01)
        await service.kill()
        await asyncio.sleep(draw.uniform(0, 0.5))
        await service.start()
    while len(caller.ends) < outcome.jobs * 0.95 and not callers.done():
        await asyncio.sleep(0.05)
    over.set()
    await trouble
    calm(fakes)
    await callers


async def _reckon(caller: _Caller, session: aiohttp.ClientSession, service: Service, outcome: Outcome) -> None:
    wrong = outcome.wrong
    ends = caller.ends
    outcome.ends = dict(Counter(end.get("code", end["state"]) for end in ends.values()))
    outcome.attempts = dict(Counter(end["attempt"] for end in ends.values()))
    if len({job.id for job in caller.accepted}) != outcome.jobs or len(ends) != outcome.jobs:
        wrong.append(f"{len(caller.accepted)} accepted, {len(ends)} ended")
    for job in caller.accepted:
        end = ends[job.id]
        async with session.get(f"/jobs/{job.id}") as answer:
            again = await answer.json()
        if {**again, "links": None} != {**end, "links": None}:
            wrong.append(f"{job.id} ended twice: {end} {again}")
        if end["state"] == "failed" and end["code"] not in _ALLOWED_FAILURES:
            wrong.append(f"{job.id} failed: {end['detail']}")
        if end["state"] == "succeeded" and (seen := await _colour(session, end["url"])) != colour_of(job.seed):
            wrong.append(f"{job.id} has another's picture or none: {seen}")
    # What was half written when the service was killed begins with a dot, and is swept when it is old.
    kept = len(list((service.data / "images").glob("[!.]*")))
    if kept != outcome.ends.get("succeeded", 0):
        wrong.append(f"{kept} images for {outcome.ends.get('succeeded', 0)} successes")


async def _colour(session: aiohttp.ClientSession, url: str) -> object:
    async with session.get(url) as answer:
        if answer.status != 200:
            return answer.status
        with Image.open(io.BytesIO(await answer.read())) as image:
            return image.convert("RGB").getpixel((0, 0))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            outcome = asyncio.run(chaos(seed, options.jobs, options.kills, Path(folder)))
            print(json.dumps(asdict(outcome)), flush=True)
            if outcome.wrong:
                print((Path(folder) / "log").read_text()[-20000:], file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
