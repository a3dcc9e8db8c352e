"""Starts the service as a process, as its operator does, on an embedded backend with the demo model."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.comfyui.backends import REPOSITORY, free_port

_START_SECONDS = 240.0


@dataclass(frozen=True)
class Running:
    """A service that is ready for a job."""

    url: str
    """Where the service answers."""
    editor: str
    """Where its embedded backend answers."""
    workflows: Path
    """Its folder of workflows: a copy, which tests may change."""
    data: Path
    log: Path


@contextmanager
def running_service(folder: Path, config: Path | None = None, **environment: str) -> Iterator[Running]:
    """A service with all that it writes below `folder`, stopped at the end; `environment` holds its settings."""
    port, editor_port = free_port(), free_port()
    service = Running(
        f"http://127.0.0.1:{port}",
        f"http://127.0.0.1:{editor_port}",
        folder / "workflows",
        folder / "data",
        folder / "log",
    )
    shutil.copytree(REPOSITORY / "workflows", service.workflows)
    settings = {
        "ORCHESTRATOR_DATA": str(service.data),
        "ORCHESTRATOR_WORKFLOWS": str(service.workflows),
        "ORCHESTRATOR_PORT": str(port),
        "ORCHESTRATOR_EDITOR_PORT": str(editor_port),
        "ORCHESTRATOR_DISK_FLOOR_GB": "0",
        "ORCHESTRATOR_CIVITAI_URL": "",
    }
    with service.log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "serve", *(("--config", str(config)) if config else ())],
            cwd=REPOSITORY,
            stderr=output,
            env=os.environ | settings | environment,
        )
        try:
            _wait_until_ready(service, process)
            yield service
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(service: Running, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, service.log.read_text()
        try:
            with urllib.request.urlopen(f"{service.url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"not ready after {_START_SECONDS} s:\n{service.log.read_text()}")
