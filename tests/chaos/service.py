"""The service as a process that can be killed and started again on the same port and the same data folder."""

import asyncio
import json
import os
import socket
import sys
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
        self.url = f"http://127.0.0.1:{self.port}"
        self.files_at_start = 0
        self._process: asyncio.subprocess.Process | None = None
        if models is None:
            some_models(data / "models")
        else:
            (data / "models").symlink_to(models)
        listed = [{"url": url, "name": f"fake {n}"} for n, url in enumerate(backends)]
        config = {"backends": listed, "disk_floor_gb": 0, "queue_limit": queue_limit}
        (data / "config.yaml").write_text(json.dumps(config))

    async def start(self) -> None:
        command = [sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(self.port)]
        command += ["--data", str(self.data), "--config", str(self.data / "config.yaml")]
        with (self.data / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stderr=log)
        async with asyncio.timeout(60), aiohttp.ClientSession(self.url) as session:
            while True:
                assert self._process.returncode is None, (self.data / "log").read_text()[-2000:]
                try:
                    async with session.get("/healthz"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        self.files_at_start = self.open_files

    async def kill(self) -> None:
        """As the kernel does it: no last words."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def open_files(self) -> int:
        """File descriptors of the process."""
        assert self._process is not None
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))  # noqa: PTH208
