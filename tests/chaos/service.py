"""The service as a process that can be killed and started again on the same port and the same data folder."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from tests.integration.services import some_models


class Service:
    """`orchestrator serve` with these backends, and with a folder of models or some that are all header."""

    def __init__(self, data: Path, backends: Sequence[str], queue_limit: int, models: Path | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.data = data
        self._tasks_file = data / "tasks"
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None
        if models is None:
            some_models(data / "models")
        else:
            (data / "models").symlink_to(models)
        listed = [{"url": url, "name": f"fake {n}"} for n, url in enumerate(backends)]
        config = {"backends": listed, "disk_floor_gb": 0, "queue_limit": queue_limit, "inputs_gb": 0}
        (data / "config.yaml").write_text(json.dumps(config))

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.watched", "serve", "--port", str(self.port)]
        command += ["--data", str(self.data), "--config", str(self.data / "config.yaml")]
        environment = os.environ | {"TASKS_FILE": str(self._tasks_file)}
        with (self.data / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stderr=log, env=environment)
        async with asyncio.timeout(60), aiohttp.ClientSession(self.url) as session:
            while True:
                assert self._process.returncode is None, (self.data / "log").read_text()[-2000:]
                try:
                    async with session.get("/healthz"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """As the kernel does it: no last words."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self, number: int) -> None:
        """As a supervisor does it, with this signal; returns when the process has ended."""
        assert self._process is not None
        self._process.send_signal(number)
        async with asyncio.timeout(60):
            assert await self._process.wait() == 0

    @property
    def open_files(self) -> Counter[str]:
        """File descriptors of the process: how many to what."""
        assert self._process is not None
        found: Counter[str] = Counter()
        for path in Path(f"/proc/{self._process.pid}/fd").iterdir():
            try:
                found[str(path.readlink()).partition(":[")[0]] += 1
            except FileNotFoundError:
                continue
        return found

    async def tasks(self) -> Counter[str]:
        """Tasks of the process by name; those without a name of their own are `Task`."""
        assert self._process is not None
        self._tasks_file.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(30):
            while not self._tasks_file.exists():
                await asyncio.sleep(0.02)
        return Counter(name.split("-")[0] for name in self._tasks_file.read_text().splitlines())
