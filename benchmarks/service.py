"""A service of its own for a measurement: `orchestrator serve` as a child process on a free port."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

_START_SECONDS = 300.0


@asynccontextmanager
async def serving(data: Path, *arguments: str, log: Path | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base URL is the service; it is ready for a job. Raises TimeoutError."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(port), "--data", str(data), *arguments]
    with (log or Path(os.devnull)).open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stderr=output)
        try:
            timeout = aiohttp.ClientTimeout(total=_START_SECONDS)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:
                await _ready(session, process, command)
                yield session
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 30)


async def _ready(session: aiohttp.ClientSession, process: asyncio.subprocess.Process, command: Sequence[str]) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
            try:
                async with session.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.2)
