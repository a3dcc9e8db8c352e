"""The whole service as a caller meets it: `orchestrator serve` without a config, on the embedded backend."""

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
