"""The whole service as a caller meets it: on the embedded backend as a process, on fake backends in this one."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.comfyui import FakeComfyUI
from tests.integration.pictures import plain, png
from tests.integration.services import Client, Service, some_models, started

_START_SECONDS = 240.0


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that is ready for a job, one for the whole run."""
    folder = tmp_path_factory.mktemp("service")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(port), "--data", str(folder / "data")]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stderr=output, env=os.environ | {"ORCHESTRATOR_DISK_FLOOR_GB": "0", "ORCHESTRATOR_CIVITAI_URL": ""}
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"not ready after {_START_SECONDS} s:\n{log.read_text()}")


@pytest.fixture
async def service(service_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A caller's session with that service."""
    async with aiohttp.ClientSession(service_url, timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield session


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfyUI]:
    """A backend that answers at once."""
    async with FakeComfyUI(result_png=png(plain())) as backend:
        yield backend


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Service]:
    """Starts a service with some models in front of a backend; `settings` override."""
    some_models(tmp_path / "models")
    clients: list[Client] = []

    async def serve(backend_url: str, **settings: object) -> Client:
        backends = [{"url": backend_url, "name": "fake"}]
        clients.append(await started(tmp_path, **{"backends": backends} | settings))
        return clients[-1]

    yield serve
    for client in clients:
        await client.close()
