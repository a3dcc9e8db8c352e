"""Fake backends in a process of their own, so that they and what is measured do not share an event loop.

As a program it is that process: it prints the URLs, and at the end of its input when each job ran.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.scripted import Scripted

_START_SECONDS = 60.0

Spans = Sequence[Sequence[tuple[float, float]]]
"""Of each backend, when each of its jobs began and ended (seconds, monotonic)."""


@dataclass
class Backends:
    """Their addresses; `stop` ends them and gives what they did."""

    urls: Sequence[str]
    process: asyncio.subprocess.Process

    async def stop(self) -> Spans:
        """When each job ran."""
        out, _ = await asyncio.wait_for(self.process.communicate(b""), _START_SECONDS)
        spans: Spans = json.loads(out)
        return spans


@asynccontextmanager
async def fake_backends(count: int, run_seconds: float = 0.0, steps: int = 0) -> AsyncIterator[Backends]:
    """So many, each of which takes so long for a job. Raises RuntimeError when they do not start."""
    command = [sys.executable, "-m", "benchmarks.backends", str(count), str(run_seconds), str(steps)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**24)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        if not line:
            raise RuntimeError("the fake backends did not start")
        yield Backends(json.loads(line), process)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), _START_SECONDS)


async def _serve(count: int, run_seconds: float, steps: int) -> None:
    async with AsyncExitStack() as stack:
        fakes = [
            await stack.enter_async_context(FakeComfyUI(run_seconds=run_seconds, steps=steps)) for _ in range(count)
        ]
        print(json.dumps([fake.url for fake in fakes]), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        engines = [fake.engine for fake in fakes]
        print(json.dumps([engine.spans for engine in engines if isinstance(engine, Scripted)]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("run_seconds", type=float)
    parser.add_argument("steps", type=int)
    given = parser.parse_args()
    asyncio.run(_serve(given.count, given.run_seconds, given.steps))
