"""A service of its own for a measurement: `orchestrator serve` as a child process on a free port."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

_START_SECONDS = 300.0


@dataclass(frozen=True)
class Serving:
    """A service that is ready for a job, and a session whose base URL it is."""

    session: aiohttp.ClientSession
    pid: int

    @property
    def memory(self) -> int:
        """Bytes that are resident."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def processor_seconds(self) -> float:
        """What it has used so far, in all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def serving(data: Path, *arguments: str, log: Path | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base URL is the service; it is ready for a job. Raises TimeoutError."""
    async with started(data, *arguments, log=log) as service:
        yield service.session


@asynccontextmanager
async def started(data: Path, *arguments: str, log: Path | None = None) -> AsyncIterator[Serving]:
    """The service; it is ready for a job. Raises TimeoutError."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(port), "--data", str(data), *arguments]
    with (log or Path(os.devnull)).open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stderr=output)
        try:
            timeout = aiohttp.ClientTimeout(total=_START_SECONDS)
            connector = aiohttp.TCPConnector(limit=0)
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
                await _ready(session, process, command)
                yield Serving(session, process.pid)
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
